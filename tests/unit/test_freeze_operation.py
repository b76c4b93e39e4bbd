"""The ways out of a freeze in virtual time: who thaws, by when, and who is told (P4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from agentclient.access.agent_session import StreamSession
from agentclient.freeze.procedure import FreezeProcedure
from agentclient.holder.guest_standby import AskedFor
from agentclient.journal.entry import Entry
from agentclient.model.events import EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.request import FreezeRequest
from agentclient.model.states import FreezeState, Level, OutcomeKind, Phase, Refusal, Stuck
from agentclient.model.vm import Process
from agentclient.operations import freeze_end
from agentclient.operations.driver import Driver
from agentclient.operations.freeze import FreezeOperation
from agentclient.protocol.qga_commands import FREEZE
from tests.unit.freeze_harness import FreezeHarness
from tests.unit.virtual_holder import PID


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> FreezeHarness:
    return FreezeHarness(monkeypatch)


# -- as it should ---------------------------------------------------------------------------


def test_a_freeze_is_held_for_as_long_as_was_asked_thawed_and_certified(
    harness: FreezeHarness,
) -> None:
    outcome = harness.run()
    assert outcome.certified
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True)
    assert 5.0 <= harness.took_s < 5.5
    assert (harness.guest.freeze_runs, harness.guest.thaw_runs, harness.guest.frozen) == (
        1,
        1,
        set(),
    )
    phases = [one.phase for one in harness.reporter.shown]
    assert phases[0] is Phase.PREPARING
    assert [one for one in phases if one is Phase.HELD]
    assert (FreezeState.FROZEN, False) in harness.reporter.states
    assert harness.reporter.states[-1] == (FreezeState.THAWED, False)


def test_its_holder_is_told_each_step_before_it_is_taken(harness: FreezeHarness) -> None:
    harness.run()
    assert harness.holder.words() == ["arm", "intend", "hold", "thaws", "disarm"]
    bounds = harness.holder.said[1][2]
    assert (bounds["bound_s"], bounds["hold_s"]) == (3600.0, 5.0)
    assert float(str(harness.holder.said[2][2]["seconds"])) == pytest.approx(5.0, abs=0.1)
    assert harness.holder.armed_as == [{"thaw_s": 180.0, "window": None, "sent": False}]


def test_its_window_is_written_down_before_it_is_sent_and_who_can_not_says_so(
    harness: FreezeHarness,
) -> None:
    class Journal:
        unrecorded = "the disk is full; without a journal it will be foreign"

        def armed(self, process: object, uuid: str | None) -> str:
            assert harness.host.asked(FREEZE) == 0
            return "its window"

        def made_with(self, **versions: str | None) -> None:
            assert harness.host.asked(FREEZE) == 0

    harness.entry = cast(Entry, Journal())
    assert harness.run().certified
    assert harness.holder.armed_as[0]["window"] == "its window"
    assert harness.reporter.texts()[0] == Journal.unrecorded
    assert harness.at(EventKind.NOTE) < harness.at(EventKind.SENT)


def test_the_operator_ends_extends_and_cancels_the_hold(harness: FreezeHarness) -> None:
    harness.when_held(2.0, lambda: harness.host.control.extend(4.0))
    harness.when_held(7.0, lambda: harness.host.control.add(Instruction.END_HOLD))
    outcome = harness.run()
    assert outcome.certified
    assert 7.0 <= harness.took_s < 7.5
    seconds = [one["seconds"] for word, _, one in harness.holder.said if word == "hold"]
    assert seconds == [pytest.approx(5.0, abs=0.1), pytest.approx(7.0, abs=0.1), 0.0]


def test_another_process_extends_and_ends_the_hold_and_is_named(harness: FreezeHarness) -> None:
    def ask(longer_s: float | None) -> None:
        harness.holder.armed.on_asked(AskedFor("bob (pid 77)", longer_s))

    harness.when_held(2.0, lambda: ask(4.0))
    harness.when_held(7.0, lambda: ask(None))
    outcome = harness.run()
    assert 7.0 <= harness.took_s < 7.5
    assert (outcome.settled, outcome.thawed) == (True, 2)
    assert outcome.reason.endswith("; ended early: bob (pid 77) has asked for it")
    told = [text for text in harness.reporter.texts() if text.startswith("bob (pid 77) has asked")]
    assert [text.rpartition(", ")[2] for text in told] == [
        "to hold it for 4 s more",
        "to thaw it now",
    ]
    assert harness.holder.armed.thawed == 2


@pytest.mark.parametrize("asked_for", [True, False])
def test_a_verified_window_is_left_to_the_holder(harness: FreezeHarness, asked_for: bool) -> None:
    kept: list[Process] = []

    class Journal:
        unrecorded = None

        def armed(self, process: object, uuid: str | None) -> str:
            return "its window"

        def made_with(self, **versions: str | None) -> None:
            pass

        def keep(self, holder: Process) -> None:
            kept.append(holder)

    harness.entry = cast(Entry, Journal())
    patch = pytest.MonkeyPatch()
    patch.setattr(freeze_end, "process_of", lambda pid: Process(pid, 1))
    if not asked_for:
        harness.when_held(2.0, lambda: harness.host.control.add(Instruction.KEEP))
    with patch.context():
        outcome = harness.run(keep=asked_for)
    patch.undo()
    assert (outcome.kind, outcome.kept, outcome.settled) == (OutcomeKind.VERIFIED, True, False)
    assert (outcome.holder, outcome.certified) == (PID, False)
    assert harness.guest.frozen == {"vda", "vdb"}
    assert kept == [Process(PID, 1)]
    assert harness.holder.words() == ["arm", "intend", "hold", "keep"]


def test_what_is_not_held_can_not_be_left_and_is_thawed_as_ever(harness: FreezeHarness) -> None:
    harness.holder.never_acknowledges = True
    harness.when_held(1.0, lambda: harness.host.control.add(Instruction.KEEP))
    outcome = harness.run()
    assert (outcome.kept, outcome.certified) == (False, True)
    assert "not left to its holder: its holder has not taken it" in harness.reporter.texts()


def test_what_is_cancelled_is_thawed_at_once(harness: FreezeHarness) -> None:
    harness.when_held(2.0, lambda: harness.host.control.add(Instruction.CANCEL))
    assert harness.run().settled
    assert harness.took_s < 2.5
    assert harness.guest.frozen == set()


def test_the_group_of_a_freeze_is_heard_of_from_another_thread(harness: FreezeHarness) -> None:
    harness.when_held(
        1.0, lambda: setattr(harness.host.control, "group_error", "db2 was not frozen")
    )
    outcome = harness.run()
    assert outcome.not_together
    assert not outcome.certified
    levels = [one.level for one in harness.reporter.told if one.kind is EventKind.OUTCOME]
    assert levels == [Level.WARNING], "it is not well, whatever it is by itself"


def test_a_group_that_fails_while_the_last_answer_comes_leaves_nothing_certified(
    harness: FreezeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its members end at about the same time: none is certified that could have known better."""
    read = harness.guest.read

    def last_answer() -> bytes:
        data = read()
        if harness.guest.thaw_runs and b'"thawed"' in data:
            harness.host.control.group_error = "db2 was written to"
        return data

    monkeypatch.setattr(harness.guest, "read", last_answer)
    outcome = harness.run()
    assert (outcome.not_together, outcome.certified) == (True, False)
    assert "db2 was written to" in outcome.reason


# -- nothing is sent ------------------------------------------------------------------------


def test_who_has_no_holder_sends_nothing(harness: FreezeHarness) -> None:
    harness.holder.refusal = "the holder can't be started: no memory"
    outcome = harness.run()
    assert outcome.refusal is Refusal.HOLDER
    assert "no memory" in outcome.reason
    assert harness.host.asked(FREEZE) == 0


def test_who_is_not_heard_by_its_holder_sends_nothing_and_takes_it_back(
    harness: FreezeHarness,
) -> None:
    harness.holder.ignores_intent = True
    outcome = harness.run()
    assert outcome.refusal is Refusal.HOLDER
    assert harness.host.asked(FREEZE) == 0
    assert harness.holder.words() == ["arm", "intend", "disarm"]


class TakenLock:
    def acquire(self, timeout: float) -> bool:
        return False

    def release(self) -> None:
        raise AssertionError("who has not got it does not give it back")


def test_who_talks_to_the_same_agent_already_is_not_joined(harness: FreezeHarness) -> None:
    harness.access.channel_lock = cast(Any, TakenLock())
    operation = FreezeOperation(harness.context(), FreezeRequest())
    assert operation.run().refusal is Refusal.BUSY
    assert (harness.host.connects, harness.holder.said) == ([], [])


def test_a_refusal_is_told_as_verdict_and_as_last_word(harness: FreezeHarness) -> None:
    operation = FreezeOperation(replace(harness.context(), read_only=True), FreezeRequest())
    outcome = operation.run()
    assert outcome.refusal is Refusal.READ_ONLY
    assert harness.host.connects == []
    assert harness.reporter.kinds()[-2:] == [EventKind.VERDICT, EventKind.OUTCOME]
    assert all("read-only" in tell.text for tell in harness.reporter.told[-2:])
    assert not harness.access.channel_lock.locked()


# -- a bug of ours --------------------------------------------------------------------------


def bug(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("where", ["on_look", "on_tick", "progress"])
def test_a_bug_in_the_middle_is_followed_by_a_thaw(
    harness: FreezeHarness, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    harness.when_held(1.0, lambda: monkeypatch.setattr(FreezeProcedure, where, bug))
    outcome = harness.run()
    assert (outcome.kind, outcome.settled, outcome.thawed) == (OutcomeKind.FAILED, True, 2)
    assert "ZeroDivisionError('a bug')" in outcome.reason
    assert harness.took_s < 3.0, "at once, not at the hold's end"
    assert harness.guest.frozen == set()
    assert harness.holder.words()[-2:] == ["thaws", "disarm"]
    assert any("a bug" in text and "thawing" in text for text in harness.reporter.texts())
    assert harness.reporter.states[-1] == (FreezeState.THAWED, False)
    assert harness.reporter.kinds()[-1] is EventKind.OUTCOME


def test_a_bug_behind_a_channel_that_broke_is_followed_by_a_thaw_on_a_new_one(
    harness: FreezeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The procedure can't take the channel's end: the thaw has to open another one."""
    monkeypatch.setattr(FreezeProcedure, "on_stream_ended", bug)
    harness.when_held(1.0, harness.holder.guests_end)
    outcome = harness.run()
    assert (outcome.kind, outcome.settled) == (OutcomeKind.FAILED, True)
    assert harness.guest.frozen == set()
    assert len(harness.host.connects) == 2
    assert harness.took_s < 3.0, "at once"


def test_a_bug_in_that_thaw_leaves_it_to_the_holder(
    harness: FreezeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Driver, "thaw", bug)
    harness.when_held(1.0, lambda: monkeypatch.setattr(FreezeProcedure, "on_tick", bug))
    outcome = harness.run()
    assert (outcome.kind, outcome.settled, outcome.holder) == (OutcomeKind.FAILED, False, PID)
    assert "its thaw failed as well" in outcome.reason
    assert str(outcome.next).startswith("frostwatch thaw --vm ")
    assert "--foreign" not in str(outcome.next), "it is ours"
    assert outcome.stuck is Stuck.SILENT
    assert harness.holder.words()[-1] == "take"
    assert harness.holder.words().count("take") == 1, "it is handed over once"
    assert harness.reporter.states[-1] == (None, False), "nothing is known of it any more"


def test_nobody_stands_by_is_said_loudly(
    harness: FreezeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.holder.never_acknowledges = True
    monkeypatch.setattr(Driver, "thaw", bug)

    def die_out() -> None:
        harness.holder.refusal = "no process can be started"
        monkeypatch.setattr(FreezeProcedure, "on_tick", bug)

    harness.when_held(1.0, die_out)
    outcome = harness.run()
    assert (outcome.settled, outcome.holder) == (False, None)
    (loud,) = [text for text in harness.reporter.texts() if "NOBODY STANDS BY" in text]
    assert "NEXT: frostwatch thaw" in loud
    assert loud.endswith(" socket:db1")
    assert [tell.level for tell in harness.reporter.told if tell.text == loud] == [Level.ERROR]


def test_a_bug_before_it_is_sent_leaves_the_channel_to_others(
    harness: FreezeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[StreamSession] = []
    connect = harness.host.session

    def session() -> StreamSession:
        sessions.append(connect())
        return sessions[-1]

    monkeypatch.setattr(harness.host, "session", session)
    monkeypatch.setattr(harness.access, "uuid", bug)
    with pytest.raises(ZeroDivisionError):
        harness.run()
    assert [one.fileno() for one in sessions] == [-1], "QEMU serves one client"
    assert not harness.access.channel_lock.locked()


def test_what_no_handler_takes_leaves_it_to_the_holder_on_its_way_out(
    harness: FreezeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    harness.when_held(1.0, lambda: monkeypatch.setattr(FreezeProcedure, "on_tick", interrupt))
    with pytest.raises(KeyboardInterrupt):
        harness.run()
    assert harness.holder.words()[-1] == "take"
    assert not harness.access.channel_lock.locked()


def test_without_a_descriptor_to_wait_on_it_is_left_to_the_holder(harness: FreezeHarness) -> None:
    harness.when_held(1.0, lambda: setattr(harness.host.control, "no_descriptor", True))
    outcome = harness.run()
    assert (outcome.settled, outcome.holder) == (False, PID)
    assert "no descriptor is left" in outcome.reason


# -- in a group --------------------------------------------------------------------------------


def test_a_group_that_fails_later_takes_back_what_was_certified(harness: FreezeHarness) -> None:
    outcome = harness.run()
    assert outcome.certified
    operation = harness.operation
    operation.settle(outcome)
    assert operation.wait() is outcome
    operation.fail_together("web1 broken")
    operation.fail_together("web1 broken")
    after = operation.wait()
    assert after is not None
    assert (after.certified, after.not_together, after.word) == (False, True, "no group")
    assert after.reason.endswith("its group was not frozen together: web1 broken")
    assert [(one[0] is outcome, one[1]) for one in harness.reporter.revised] == [(True, after)]


def test_a_group_that_fails_while_it_ends_is_not_missed(harness: FreezeHarness) -> None:
    outcome = harness.run()
    harness.operation.fail_together("web1 broken")  # it is concluded, and not told yet
    harness.operation.settle(outcome)
    after = harness.operation.wait()
    assert after is not None
    assert after.not_together


def test_what_was_not_good_by_itself_is_left_as_it_is(harness: FreezeHarness) -> None:
    outcome = harness.run()._replace(kind=OutcomeKind.BROKEN, certified=False)
    harness.operation.settle(outcome)
    harness.operation.fail_together("web1 lost")
    assert harness.operation.wait() is outcome
