"""A thaw on its own in virtual time: what it refuses, waits for, sends and tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from agentclient.access import local_access
from agentclient.access.host.socket_clients import Client
from agentclient.access.local_access import LocalAccess
from agentclient.access.stream import ConnectProblem
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.other_holder import NotAsked
from agentclient.model.events import Ended, EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.outcome import ThawOutcome
from agentclient.model.policy import DEFAULT_POLICY
from agentclient.model.snapshot import HeldBy, MonitorView
from agentclient.model.states import FreezeState, Level, Phase, RunState, Stuck
from agentclient.model.vm import Process
from agentclient.operations import driver, operation, thaw
from agentclient.operations.context import OperationContext
from agentclient.operations.thaw import ThawOperation
from agentclient.protocol.qga_commands import THAW
from tests.unit.virtual_guest import VirtualGuest
from tests.unit.virtual_host import VirtualAccess, VirtualHost, VirtualReporter

DEAD = Process(2**22 + 1, 1)  # a pid that Linux gives to nobody


class Harness:
    """A guest, frozen by somebody, and a thaw of it that has not begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = VirtualHost(VirtualGuest(frozen={"vda", "vdb"}, flag=True))
        self.host.live_in(monkeypatch, driver, operation, thaw)
        self.guest = self.host.guest
        self.reporter = VirtualReporter()
        self.access = VirtualAccess(self.host)
        self.clients: list[Client] = []
        self.knows_journal = False
        self.patch = monkeypatch
        monkeypatch.setattr(local_access, "clients", lambda _: self.clients)
        self.began_at = self.host.now

    def operation(self, *, read_only: bool = False, **more: Any) -> ThawOperation:
        vm, control = self.access.vm, self.host.control
        journal = cast(Any, self) if self.knows_journal else None
        context = OperationContext(
            vm, self.access, self.reporter, control, journal=journal, read_only=read_only
        )
        return ThawOperation(context, **{"ours": True, **more})

    def run(self, **more: Any) -> ThawOutcome:
        outcome = self.operation(**more).run()
        assert not self.access.channel_lock.locked()
        return outcome

    @property
    def took_s(self) -> float:
        return self.host.now - self.began_at


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)


# -- what it does ---------------------------------------------------------------------------


@pytest.mark.parametrize("whose", [{"ours": True}, {"ours": False, "foreign": True}])
def test_what_is_ours_or_what_a_person_has_decided_on_is_thawed(
    harness: Harness, whose: dict[str, bool]
) -> None:
    outcome = harness.run(**whose)
    assert (outcome.ok, outcome.thawed, outcome.refused) == (True, 2, False)
    assert harness.guest.frozen == set()
    assert harness.reporter.states[-1] == (FreezeState.THAWED, False)
    last = harness.reporter.told[-1]
    assert (last.kind, last.level, last.details) == (
        EventKind.OUTCOME,
        Level.GOOD,
        Ended(outcome),
    )
    assert harness.host.served is not None
    assert harness.host.served.closed


def test_what_is_somebody_elses_is_left_frozen_and_a_person_asked(harness: Harness) -> None:
    outcome = harness.run(ours=False)
    assert (outcome.refused, outcome.ok, outcome.stuck) == (True, False, None)
    assert outcome.state is FreezeState.FROZEN
    assert harness.host.asked(THAW) == 0
    assert "--foreign" in str(outcome.next)
    assert harness.reporter.states[-1] == (FreezeState.FROZEN, True)


def test_what_is_thawed_already_is_sent_no_thaw(harness: Harness) -> None:
    """Its hook would run without that of a freeze (§3.8)."""
    harness.guest.frozen.clear()
    harness.guest.flag = False
    outcome = harness.run()
    assert (outcome.ok, outcome.thawed) == (True, 0)
    assert harness.host.asked(THAW) == 0


def test_a_thaw_that_does_not_ask_is_sent_whatever_the_agent_says(harness: Harness) -> None:
    harness.guest.flag = False
    assert harness.run(ask=False).ok
    assert harness.host.asked(THAW) == 1


def test_an_agent_that_does_not_answer_is_given_up_within_the_bound(harness: Harness) -> None:
    harness.guest.alive = False
    outcome = harness.run(timeout_s=30.0)
    assert (outcome.ok, outcome.state, outcome.stuck) == (False, None, Stuck.NO_AGENT)
    assert 30.0 <= harness.took_s < 31.0
    assert "frostwatch thaw" in str(outcome.next)
    assert harness.reporter.told[-1].level is Level.ERROR
    assert harness.reporter.states[-1] == (None, False)
    assert all(one.phase is Phase.THAWING for one in harness.reporter.shown)
    assert harness.reporter.shown[-1].ends_at == pytest.approx(harness.began_at + 30.0)


@pytest.mark.parametrize("instruction", [Instruction.CANCEL, Instruction.GIVE_UP])
def test_whoever_is_in_a_hurry_waits_for_no_silent_agent(
    harness: Harness, instruction: Instruction
) -> None:
    harness.guest.alive = False
    harness.host.after(5.0, lambda: harness.host.control.add(instruction))
    assert not harness.run().ok
    assert 5.0 <= harness.took_s < 6.5


def test_an_agent_that_comes_back_is_asked_at_once(harness: Harness) -> None:
    harness.guest.kill(lose_unread=True)
    harness.host.after(20.0, harness.guest.respawn)
    outcome = harness.run()
    assert outcome.ok
    assert 20.0 <= harness.took_s < 22.0


def test_a_channel_that_breaks_is_opened_anew(harness: Harness) -> None:
    harness.host.after(0.005, harness.host.cut)
    assert harness.run().ok
    assert len(harness.host.connects) == 2
    assert harness.guest.frozen == set()


def test_a_vm_that_ends_meanwhile_is_frozen_no_more(harness: Harness) -> None:
    harness.guest.alive = False
    harness.host.after(3.0, harness.host.leave)
    outcome = harness.run()
    assert outcome.ok
    assert harness.took_s < 5.0


def test_a_bug_closes_the_channel_and_gives_back_the_lock(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(driver.Driver, "thaw", bug)
    with pytest.raises(ZeroDivisionError):
        harness.operation().run()
    assert not harness.access.channel_lock.locked()
    assert harness.host.served is not None
    assert harness.host.served.closed


# -- what it refuses ------------------------------------------------------------------------


def refused(harness: Harness, **more: Any) -> ThawOutcome:
    """Run what is refused, and see that it was told so and nothing done."""
    outcome = harness.run(**more)
    assert (outcome.refused, outcome.ok, outcome.thawed) == (True, False, None)
    assert harness.reporter.told[-1].details == Ended(outcome)
    assert harness.reporter.told[-1].text == f"thaw: {outcome.reason}"
    assert harness.guest.frozen, "nothing was done"
    return outcome


def test_read_only_sends_nothing(harness: Harness) -> None:
    assert "read-only" in refused(harness, read_only=True).reason
    assert (harness.host.connects, harness.host.monitor.looks) == ([], [])


def test_another_vm_in_its_place_is_not_touched(harness: Harness) -> None:
    harness.access.vm = harness.access.vm._replace(process=DEAD)
    assert "the VM that was meant has gone" in refused(harness).reason
    assert harness.host.connects == []


@pytest.mark.parametrize(("told_as", "is_refused"), [("outcome", True), ("note", False)])
def test_other_sockets_are_another_vm_only_for_who_asks_now(
    harness: Harness, told_as: str, is_refused: bool
) -> None:
    """A part of something longer goes on: what passes on its sockets may have been restarted."""
    harness.patch.setattr(local_access, "is_another", lambda _: True)
    assert harness.run(told_as=EventKind(told_as)).refused is is_refused


def test_without_an_agent_channel_there_is_nothing_to_send(harness: Harness) -> None:
    harness.access.agent = None
    assert "no agent channel" in refused(harness).reason


class TakenLock:
    def acquire(self, timeout: float) -> bool:
        return False

    def locked(self) -> bool:
        return False


def test_who_talks_to_the_same_agent_already_is_not_joined(harness: Harness) -> None:
    harness.access.channel_lock = cast(Any, TakenLock())
    assert "itself is talking" in refused(harness).reason
    assert harness.host.connects == []


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.IO_ERROR, RunState.SUSPENDED])
def test_a_vm_that_can_not_answer_is_not_asked(harness: Harness, state: RunState) -> None:
    harness.guest.run_state = state
    outcome = refused(harness)
    assert f"the VM is {state}" in outcome.reason
    assert outcome.next
    assert harness.host.connects == []


def test_a_vm_that_does_not_run_is_thawed(harness: Harness) -> None:
    harness.guest.gone = True
    outcome = harness.run()
    assert (outcome.ok, outcome.thawed, outcome.refused) == (True, 0, False)
    assert harness.host.connects == []


def test_a_channel_that_can_not_be_had_is_told_with_its_reason(harness: Harness) -> None:
    harness.host.refuse(ConnectProblem.NO_PERMISSION)
    outcome = refused(harness)
    assert "can't be opened: nobody listens" in outcome.reason
    assert "frostwatch thaw" in str(outcome.next)


# -- who else is there ----------------------------------------------------------------------


def test_it_waits_for_another_client_to_leave_and_never_connects_behind_it(
    harness: Harness,
) -> None:
    harness.host.other_client = True
    harness.host.after(10.0, lambda: setattr(harness.host, "other_client", False))
    assert harness.run().ok
    assert harness.host.connects[0] >= harness.began_at + 10.0
    waiting, *_, last = harness.reporter.shown
    assert waiting.waiting_for == "a free channel"
    bound = harness.began_at + DEFAULT_POLICY.thaw_timeout_s
    assert waiting.ends_at == bound
    assert last.ends_at == pytest.approx(bound, abs=0.6)
    assert len(harness.host.monitor.looks) < 60


@pytest.mark.parametrize("hurried", [True, False])
def test_who_keeps_the_channel_beyond_the_bound_is_named(harness: Harness, hurried: bool) -> None:
    harness.host.other_client = True
    harness.clients = [Client(77, "socat", waiting=False)]
    if hurried:
        harness.host.after(5.0, lambda: harness.host.control.add(Instruction.CANCEL))
    outcome = refused(harness, timeout_s=30.0)
    assert "another client has held the agent's channel for " in outcome.reason
    assert "socat" in outcome.reason
    assert "once it has left: frostwatch thaw" in str(outcome.next)
    bound_s = 5.0 if hurried else 30.0
    assert bound_s <= harness.took_s < bound_s + 0.6
    assert outcome.seconds == pytest.approx(harness.took_s, abs=0.01)
    assert f"for {bound_s:g} s" in outcome.reason


def test_a_keeper_that_can_not_be_told_is_not_named(harness: Harness) -> None:
    harness.host.other_client = True
    assert refused(harness, timeout_s=1.0).reason.endswith(" s")


@pytest.mark.parametrize(("waited_for", "seconds"), [(True, 8.0), (False, 0.0)])
def test_another_frostwatch_is_left_its_guest_unless_it_is_about_to_thaw(
    harness: Harness, waited_for: bool, seconds: float
) -> None:
    held = HeldBy(77, "bob", FreezeState.FROZEN, ended=waited_for, holder=78)
    harness.host.other_client = True
    harness.patch.setattr(local_access, "seen_among", lambda _: held)
    harness.host.after(8.0, lambda: setattr(harness.host, "other_client", False))
    outcome = harness.run()
    assert outcome.ok is waited_for
    assert harness.took_s == pytest.approx(seconds, abs=0.5)
    if not waited_for:
        assert "another frostwatch is at work on it: frozen by bob (pid 77)" in outcome.reason


HELD = HeldBy(77, "bob", FreezeState.FROZEN, window=3, holder=78)


def held_by(harness: Harness, held: HeldBy, found: Any) -> list[HeldBy]:
    """Another frostwatch holds it; asked to thaw it, this is what its holder says."""
    asked: list[HeldBy] = []

    def ask(context: object, held: HeldBy, until: float, waiting: Callable[[str], None]) -> Any:
        asked.append(held)
        assert until > harness.host.now
        waiting("its thaw")
        if isinstance(found, Exception):
            raise found
        harness.guest.frozen.clear()
        harness.guest.flag = False
        return found

    harness.patch.setattr(thaw, "held_by", lambda _: held)
    harness.patch.setattr(thaw, "looked_at", lambda held, _: held)
    harness.patch.setattr(thaw, "thaw_through_holder", ask)
    return asked


@pytest.mark.parametrize("known", [True, False])
def test_another_frostwatch_is_asked_where_a_person_has_decided_so(
    harness: Harness, known: bool
) -> None:
    """Its window is its console's, whether our journal knows it or not."""
    harness.knows_journal = known
    harness.patch.setattr(thaw, "is_provably_ours", lambda _: False)
    asked = held_by(harness, HELD, (None, 2))
    outcome = harness.run(ours=None)
    assert outcome.refused
    assert asked == []
    outcome = harness.run(ours=None, foreign=True)
    assert (outcome.ok, outcome.thawed) == (True, 2)
    assert outcome.reason.startswith("thawed by bob (pid 77), who was asked; ")
    assert asked == [HELD]
    assert harness.host.asked(THAW) == 0


@pytest.mark.parametrize("settled", [True, False])
def test_what_was_left_to_its_holder_is_ours_and_that_one_thaws_it(
    harness: Harness, settled: bool
) -> None:
    report = ThawReport(None, 2, None, settled, "thawed 2", None if settled else "look")
    kept = HELD._replace(kept=True, ended=True)
    asked = held_by(harness, kept, (report, None))
    harness.patch.setattr(thaw, "is_provably_ours", lambda _: False)
    harness.knows_journal = True
    outcome = harness.run(ours=None)
    assert (outcome.ok, outcome.next) == (settled, None if settled else "look")
    assert "thawed by the holder of bob (pid 77), which was asked: thawed 2" in outcome.reason
    assert asked == [kept]
    assert harness.host.connects == []
    assert harness.reporter.states[-1] == (FreezeState.THAWED if settled else None, False)


def test_without_a_journal_what_was_left_is_not_known_to_be_ours(harness: Harness) -> None:
    asked = held_by(harness, HELD._replace(kept=True, ended=True), (None, 2))
    harness.patch.setattr(thaw, "is_provably_ours", lambda _: False)
    assert harness.run(ours=None).refused
    assert asked == []


@pytest.mark.parametrize("more", [{"attached": 79}, {"window": None}])
def test_what_was_left_and_is_somebodys_now_is_thawed_only_where_a_person_has_decided_so(
    harness: Harness, more: dict[str, Any]
) -> None:
    """Another console has attached to it; or the journal, another user's, proves nothing."""
    report = ThawReport(None, 2, None, True, "thawed 2", None)
    held = HELD._replace(kept=True, ended=True, **more)
    asked = held_by(harness, held, (report, None))
    harness.patch.setattr(thaw, "is_provably_ours", lambda _: False)
    harness.knows_journal = True
    outcome = harness.run(ours=None)
    assert outcome.refused
    assert "frostwatch thaw --vm name=db1,agent=" in str(outcome.next)
    assert "--foreign" in str(outcome.next)
    assert asked == []
    assert harness.run(ours=None, foreign=True).ok


def test_a_holder_that_can_not_be_asked_is_told_of_and_how_to_end_it_else(
    harness: Harness,
) -> None:
    held_by(harness, HELD, NotAsked("its holder (pid 78) takes no requests"))
    outcome = harness.run(ours=None, foreign=True)
    assert outcome.refused
    assert outcome.reason.endswith("; its holder (pid 78) takes no requests")
    assert "kill 77 (it thaws first)" in str(outcome.next)


def test_a_guest_whose_holder_ends_when_it_is_asked_is_thawed_as_ours(harness: Harness) -> None:
    kept = HELD._replace(kept=True, ended=True)
    held_by(harness, kept, NotAsked("its holder (pid 78) has ended meanwhile"))
    looks: list[HeldBy | None] = [kept, None]
    harness.patch.setattr(thaw, "held_by", lambda _: looks.pop(0))
    harness.patch.setattr(thaw, "is_provably_ours", lambda _: not looks)
    harness.knows_journal = True
    outcome = harness.run(ours=None)
    assert (outcome.ok, outcome.thawed) == (True, 2)


# -- migration ------------------------------------------------------------------------------


@pytest.fixture
def there(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> VirtualHost:
    """Where the guest of a VM runs that has migrated away."""
    there = VirtualHost(VirtualGuest(frozen={"vda"}, flag=True))
    there.path = Path("/run/there.qga")
    there.live_in(monkeypatch, driver, thaw)
    harness.host.monitor.uuid = "ab-cd"
    harness.host.unseen = MonitorView(RunState.MIGRATED)
    there.control = harness.host.control
    return there


def test_a_guest_that_has_migrated_on_this_host_is_thawed_there(
    harness: Harness, there: VirtualHost
) -> None:
    asked: list[str | None] = []

    def find(uuid: str | None) -> LocalAccess:
        asked.append(uuid)
        return VirtualAccess(there)

    harness.patch.setattr(harness.access, "successor", find)
    outcome = harness.run(ours=False, foreign=True)
    assert (outcome.ok, outcome.thawed, outcome.vm) == (True, 1, harness.access.vm.id)
    assert outcome.reason.startswith("it has migrated: it runs on this host now, as socket:db1")
    assert asked == ["ab-cd"]
    assert there.guest.frozen == set()
    assert harness.host.connects == []
    assert harness.reporter.kinds().count(EventKind.OUTCOME) == 1, "there it is a note"


def test_a_thaw_there_asks_and_may_do_no_more_than_one_here(
    harness: Harness, there: VirtualHost
) -> None:
    harness.patch.setattr(harness.access, "successor", lambda _: VirtualAccess(there))
    outcome = harness.run(ours=False)
    assert outcome.refused
    assert there.guest.frozen


def test_a_guest_that_has_migrated_nobody_knows_where_to_is_told(
    harness: Harness, there: VirtualHost
) -> None:
    harness.patch.setattr(harness.access, "successor", lambda _: None)
    outcome = harness.run()
    assert (outcome.ok, outcome.refused, outcome.stuck) == (False, False, Stuck.MIGRATED)
    assert "has migrated away" in outcome.reason


@pytest.mark.parametrize("answers", [True, False])
def test_a_freeze_whose_guest_has_migrated_is_thawed_where_it_went(
    harness: Harness, there: VirtualHost, answers: bool
) -> None:
    context = harness.operation().context
    harness.patch.setattr(harness.access, "successor", lambda _: VirtualAccess(there))
    there.guest.alive, began_at = answers, there.now
    report = thaw.thaw_where_it_went(context, "ab-cd", 5.0, awaited=True)
    assert report is not None
    assert (report.settled, report.count, report.sent) == (answers, 1 if answers else None, True)
    assert report.stuck is (None if answers else Stuck.NO_AGENT)
    assert EventKind.OUTCOME not in harness.reporter.kinds()
    assert "it runs on this host now" in harness.reporter.texts()[0]
    assert there.now - began_at < (1.0 if answers else 6.0), "it is not looked for any more"


@pytest.mark.parametrize("awaited", [True, False])
def test_only_one_that_is_known_to_have_migrated_is_looked_for_again(
    harness: Harness, awaited: bool
) -> None:
    looks: list[str | None] = []
    harness.patch.setattr(harness.access, "successor", looks.append)
    context = harness.operation().context
    assert thaw.thaw_where_it_went(context, "ab-cd", 5.0, awaited=awaited) is None
    assert (len(looks) > 1) is awaited
    assert harness.took_s == pytest.approx(thaw.TARGET_S if awaited else 0.0, abs=0.6)
