"""The ways out of a freeze in virtual time: who thaws, by when, and who is told (P4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from agentclient.freeze.procedure import FreezeProcedure
from agentclient.journal.entry import Entry
from agentclient.model.events import EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.request import FreezeRequest
from agentclient.model.states import FreezeState, Level, OutcomeKind, Phase, Refusal, Stuck
from agentclient.operations.driver import Driver
from agentclient.operations.freeze import FreezeOperation
from agentclient.protocol.qga_commands import FREEZE
from tests.unit.freeze_stage import Stage
from tests.unit.virtual_holder import PID


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


# -- as it should ---------------------------------------------------------------------------


def test_a_freeze_is_held_for_as_long_as_was_asked_thawed_and_certified(stage: Stage) -> None:
    outcome = stage.run()
    assert outcome.certified
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True)
    assert 5.0 <= stage.took_s < 5.5
    assert (stage.guest.freeze_runs, stage.guest.thaw_runs, stage.guest.frozen) == (1, 1, set())
    phases = [one.phase for one in stage.reporter.shown]
    assert phases[0] is Phase.PREPARING
    assert [one for one in phases if one is Phase.HELD]
    assert (FreezeState.FROZEN, False) in stage.reporter.states
    assert stage.reporter.states[-1] == (FreezeState.THAWED, False)


def test_its_holder_is_told_each_step_before_it_is_taken(stage: Stage) -> None:
    stage.run()
    assert stage.holder.words() == ["arm", "intend", "hold", "thaws", "disarm"]
    bounds = stage.holder.said[1][2]
    assert (bounds["bound_s"], bounds["hold_s"]) == (3600.0, 5.0)
    assert float(str(stage.holder.said[2][2]["seconds"])) == pytest.approx(5.0, abs=0.1)
    assert stage.holder.armed_as == [{"thaw_s": 180.0, "window": None, "sent": False}]


def test_its_window_is_written_down_before_it_is_sent_and_who_can_not_says_so(
    stage: Stage,
) -> None:
    class Journal:
        unrecorded = "the disk is full; without a journal it will be foreign"

        def armed(self, process: object, uuid: str | None) -> str:
            assert stage.host.asked(FREEZE) == 0
            return "its window"

    stage.entry = cast(Entry, Journal())
    assert stage.run().certified
    assert stage.holder.armed_as[0]["window"] == "its window"
    assert stage.reporter.texts()[0] == Journal.unrecorded
    assert stage.at(EventKind.NOTE) < stage.at(EventKind.SENT)


def test_the_operator_ends_extends_and_cancels_the_hold(stage: Stage) -> None:
    stage.when_held(2.0, lambda: stage.host.control.extend(4.0))
    stage.when_held(7.0, lambda: stage.host.control.add(Instruction.END_HOLD))
    outcome = stage.run()
    assert outcome.certified
    assert 7.0 <= stage.took_s < 7.5
    seconds = [one["seconds"] for word, _, one in stage.holder.said if word == "hold"]
    assert seconds == [pytest.approx(5.0, abs=0.1), pytest.approx(7.0, abs=0.1), 0.0]


def test_what_is_cancelled_is_thawed_at_once(stage: Stage) -> None:
    stage.when_held(2.0, lambda: stage.host.control.add(Instruction.CANCEL))
    assert stage.run().settled
    assert stage.took_s < 2.5
    assert stage.guest.frozen == set()


def test_the_group_of_a_freeze_is_heard_of_from_another_thread(stage: Stage) -> None:
    stage.when_held(1.0, lambda: setattr(stage.host.control, "apart", "db2 was not frozen"))
    outcome = stage.run()
    assert outcome.apart
    assert not outcome.certified


def test_a_group_that_fails_while_the_last_answer_comes_leaves_nothing_certified(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its members end at about the same time: none is certified that could have known better."""
    read = stage.guest.read

    def last_answer() -> bytes:
        data = read()
        if stage.guest.thaw_runs and b'"thawed"' in data:
            stage.host.control.apart = "db2 was written to"
        return data

    monkeypatch.setattr(stage.guest, "read", last_answer)
    outcome = stage.run()
    assert (outcome.apart, outcome.certified) == (True, False)
    assert "db2 was written to" in outcome.reason


# -- nothing is sent ------------------------------------------------------------------------


def test_who_has_no_holder_sends_nothing(stage: Stage) -> None:
    stage.holder.refusal = "the holder can't be started: no memory"
    outcome = stage.run()
    assert outcome.refusal is Refusal.HOLDER
    assert "no memory" in outcome.reason
    assert stage.host.asked(FREEZE) == 0


def test_who_is_not_heard_by_its_holder_sends_nothing_and_takes_it_back(stage: Stage) -> None:
    stage.holder.deaf = True
    outcome = stage.run()
    assert outcome.refusal is Refusal.HOLDER
    assert stage.host.asked(FREEZE) == 0
    assert stage.holder.words() == ["arm", "intend", "disarm"]


class TakenLock:
    def acquire(self, timeout: float) -> bool:
        return False

    def release(self) -> None:
        raise AssertionError("who has not got it does not give it back")


def test_who_talks_to_the_same_agent_already_is_not_joined(stage: Stage) -> None:
    stage.access.channel_lock = cast(Any, TakenLock())
    operation = FreezeOperation(stage.context(), FreezeRequest())
    assert operation.run().refusal is Refusal.BUSY
    assert (stage.host.connects, stage.holder.said) == ([], [])


def test_a_refusal_is_told_as_verdict_and_as_last_word(stage: Stage) -> None:
    operation = FreezeOperation(replace(stage.context(), read_only=True), FreezeRequest())
    outcome = operation.run()
    assert outcome.refusal is Refusal.READ_ONLY
    assert stage.host.connects == []
    assert stage.reporter.kinds()[-2:] == [EventKind.VERDICT, EventKind.OUTCOME]
    assert all("read-only" in tell.text for tell in stage.reporter.told[-2:])
    assert not stage.access.channel_lock.locked()


# -- a bug of ours --------------------------------------------------------------------------


def bug(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("where", ["on_look", "on_tick", "progress"])
def test_a_bug_in_the_middle_is_followed_by_a_thaw(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    stage.when_held(1.0, lambda: monkeypatch.setattr(FreezeProcedure, where, bug))
    outcome = stage.run()
    assert (outcome.kind, outcome.settled, outcome.thawed) == (OutcomeKind.FAILED, True, 2)
    assert "ZeroDivisionError('a bug')" in outcome.reason
    assert stage.took_s < 3.0, "at once, not at the hold's end"
    assert stage.guest.frozen == set()
    assert stage.holder.words()[-2:] == ["thaws", "disarm"]
    assert any("a bug" in text and "thawing" in text for text in stage.reporter.texts())
    assert stage.reporter.states[-1] == (FreezeState.THAWED, False)
    assert stage.reporter.kinds()[-1] is EventKind.OUTCOME


def test_a_bug_behind_a_channel_that_broke_is_followed_by_a_thaw_on_a_new_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The procedure can't take the channel's end: the thaw has to open another one."""
    monkeypatch.setattr(FreezeProcedure, "on_stream_ended", bug)
    stage.when_held(1.0, stage.holder.guests_end)
    outcome = stage.run()
    assert (outcome.kind, outcome.settled) == (OutcomeKind.FAILED, True)
    assert stage.guest.frozen == set()
    assert len(stage.host.connects) == 2


def test_a_bug_in_that_thaw_leaves_it_to_the_holder(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Driver, "thaw", bug)
    stage.when_held(1.0, lambda: monkeypatch.setattr(FreezeProcedure, "on_tick", bug))
    outcome = stage.run()
    assert (outcome.kind, outcome.settled, outcome.holder) == (OutcomeKind.FAILED, False, PID)
    assert "its thaw failed as well" in outcome.reason
    assert outcome.next
    assert outcome.stuck is Stuck.SILENT
    assert stage.holder.words()[-1] == "take"
    assert stage.holder.words().count("take") == 1, "it is handed over once"
    assert stage.reporter.states[-1] == (None, False), "nothing is known of it any more"


def test_nobody_stands_by_is_said_loudly(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.holder.keeps_nothing = True
    monkeypatch.setattr(Driver, "thaw", bug)

    def die_out() -> None:
        stage.holder.refusal = "no process can be started"
        monkeypatch.setattr(FreezeProcedure, "on_tick", bug)

    stage.when_held(1.0, die_out)
    outcome = stage.run()
    assert (outcome.settled, outcome.holder) == (False, None)
    (loud,) = [text for text in stage.reporter.texts() if "NOBODY STANDS BY" in text]
    assert "NEXT: frostwatch thaw" in loud
    assert loud.endswith(" socket:db1")
    assert [tell.level for tell in stage.reporter.told if tell.text == loud] == [Level.ERROR]


def test_what_no_handler_takes_leaves_it_to_the_holder_on_its_way_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    stage.when_held(1.0, lambda: monkeypatch.setattr(FreezeProcedure, "on_tick", interrupt))
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    assert stage.holder.words()[-1] == "take"
    assert not stage.access.channel_lock.locked()


def test_without_a_descriptor_to_wait_on_it_is_left_to_the_holder(stage: Stage) -> None:
    stage.when_held(1.0, lambda: setattr(stage.host.control, "no_descriptor", True))
    outcome = stage.run()
    assert (outcome.settled, outcome.holder) == (False, PID)
    assert "no descriptor is left" in outcome.reason
