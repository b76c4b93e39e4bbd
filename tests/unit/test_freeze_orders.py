"""A freeze to which anything happens, in any order: in the end somebody has thawed, or is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.freeze.procedure import FreezeProcedure
from agentclient.model.events import EventKind
from agentclient.model.instruction import Instruction
from tests.unit.freeze_harness import FreezeHarness
from tests.unit.virtual_guest import VirtualGuest

THINGS = [
    "holder dies",
    "holder takes over",
    "no holder for a while",
    "channel breaks",
    "another client for a while",
    "agent is killed",
    "agent is restarted",
    "guest is reset",
    "console is stopped",
    "a bug",
    "cancel",
    "end hold",
    "give up",
    "extend",
]


class Trouble:
    """Makes things happen to one freeze."""

    def __init__(self, harness: FreezeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        self.harness, self.patch = harness, monkeypatch
        self.happened: list[str] = []

    def plan(self, at_s: float, thing: str) -> None:
        self.harness.host.after(at_s, lambda: self._happen(thing))

    def _happen(self, thing: str) -> None:
        host, holder, guest = self.harness.host, self.harness.holder, self.harness.guest
        stands_by = bool(holder.all_armed) and not (holder.armed.lost or holder.armed.taken)
        if thing.startswith("holder") and not stands_by:
            return
        self.happened.append(thing)
        match thing:
            case "holder dies":
                holder.die()
            case "holder takes over":
                holder.take("it was told to")
            case "no holder for a while":
                holder.refusal = "no process can be started"
                host.after(4.0, lambda: setattr(holder, "refusal", None))
            case "channel breaks":
                host.cut()
            case "another client for a while":
                host.other_client = True
                host.after(2.0, lambda: setattr(host, "other_client", False))
            case "agent is killed":
                guest.kill(lose_unread=True)
                host.after(5.0, guest.respawn)
            case "agent is restarted":
                guest.kill(lose_unread=False)
                guest.respawn()
            case "guest is reset":
                guest.reset()
                host.after(3.0, guest.respawn)
            case "console is stopped":
                host.sleep(7.0)
            case "a bug":
                self._fail_once()
            case "extend":
                host.control.extend(3.0)
            case _:
                host.control.add(Instruction(thing))

    def _fail_once(self) -> None:
        on_tick = FreezeProcedure.on_tick

        def fail(*_: object) -> list[object]:
            self.patch.setattr(FreezeProcedure, "on_tick", on_tick)
            raise ZeroDivisionError("a bug")

        self.patch.setattr(FreezeProcedure, "on_tick", fail)


@given(
    st.lists(st.tuples(st.sampled_from([0.05, 0.3, 1.0, 2.5, 6.0]), st.sampled_from(THINGS)),
             max_size=4),
    st.sampled_from([0.0, 0.5, 3.0]),
)  # fmt: skip
def test_whatever_happens_what_is_called_settled_is_thawed_and_the_rest_is_somebodys(
    things: list[tuple[float, str]], hook_s: float
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        harness = FreezeHarness(monkeypatch, VirtualGuest(hook_s=hook_s))
        harness.thaw_s = 60.0
        trouble = Trouble(harness, monkeypatch)
        for at_s, thing in things:
            trouble.plan(at_s, thing)
        outcome = harness.run()
        harness.guest.respawn()
        harness.guest.advance(60.0)
        assert harness.reporter.kinds().count(EventKind.OUTCOME) == 1
        assert harness.reporter.kinds()[-1] is EventKind.OUTCOME or not outcome.settled
        if outcome.settled:
            assert not harness.guest.frozen, "settled, and frozen"
        else:
            loud = any("NOBODY STANDS BY" in text for text in harness.reporter.texts())
            assert outcome.holder or loud
            assert outcome.next
        if outcome.certified:
            assert harness.guest.freeze_runs == harness.guest.thaw_runs == 1
            assert not harness.guest.ever_closed_since_freeze
        assert not harness.access.channel_lock.locked()
