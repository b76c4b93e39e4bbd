"""The shell around the machines writes, reads, looks and waits for them, each within its bound."""

from __future__ import annotations

import pytest

from agentclient.access.local_access import NOT_SHOWN
from agentclient.freeze.effects import Resync, Send, Tell
from agentclient.model.events import EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Level, RunState
from agentclient.operations.driver import (
    CLOSE_LOOKS_A_SECOND,
    LONGEST_WAIT_S,
    LOOK_AGAIN_S,
    LOOK_S,
    CloseLooks,
    Driver,
)
from agentclient.protocol.qga_commands import FREEZE, STATUS, THAW
from agentclient.protocol.qga_events import Dropped, Reply, Synced
from tests.unit.driver_stage import SLOWLY, Stage


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A VM without a monitor."""
    return Stage(monkeypatch, monitor=False)


# -- writing --------------------------------------------------------------------------------


def test_what_a_machine_asks_is_told_written_and_answered(stage: Stage) -> None:
    tell = Tell(EventKind.NOTE, Level.INFO, "a word")
    sync, status = stage.session.ticket(), stage.session.ticket()
    stage.driver.perform([tell, Resync(sync), Send(status, STATUS)])
    assert stage.reporter.told == [tell]
    heard = [event for event in stage.round().heard if not isinstance(event, Dropped)]
    assert heard == [Synced(sync), Reply(status, "thawed")]


def test_whoever_thaws_in_our_place_hears_of_our_thaw_before_it_is_written(stage: Stage) -> None:
    stage.ask(FREEZE)
    stage.ask(STATUS)
    assert stage.before_thaw == []
    stage.ask(THAW)
    assert stage.before_thaw == [0]
    assert stage.host.asked(THAW) == 1


def test_arguments_are_written_with_their_command(stage: Stage) -> None:
    mounts = {"mountpoints": ["/a"]}
    stage.driver.perform([Send(stage.session.ticket(), "guest-fsfreeze-freeze-list", mounts)])
    assert b'"mountpoints":["/a"]' in stage.host.sent[-1]


@pytest.mark.parametrize("sync", [True, False])
def test_a_guest_that_does_not_read_is_told_of_and_the_channel_kept(
    stage: Stage, sync: bool
) -> None:
    stage.host.stalled = True
    ticket = stage.session.ticket()
    stage.driver.perform([Resync(ticket) if sync else Send(ticket, THAW)])
    (note,) = stage.reporter.told
    assert note.level is Level.WARNING
    assert ("a sync" if sync else THAW) in note.text
    assert stage.took_s == pytest.approx(2.0), "within the time that a write may take"
    assert stage.driver.connected
    stage.host.stalled = False
    assert stage.round(1.0).ended is None


def test_a_write_that_fails_shows_in_the_next_round(stage: Stage) -> None:
    stage.host.cut()
    stage.ask(STATUS)
    assert not stage.driver.connected
    stage.ask(THAW)
    assert stage.host.asked(THAW) == 0, "nothing is written to what has ended"
    assert stage.round().ended == "broken pipe"


def test_closed_it_closes_the_conversation(stage: Stage) -> None:
    stage.driver.close()
    assert stage.session.fileno() == -1


# -- waiting --------------------------------------------------------------------------------


def test_a_round_ends_when_the_machine_wants_its_tick(stage: Stage) -> None:
    assert stage.round(0.5).heard == []
    assert stage.took_s == pytest.approx(0.5)


def test_a_round_ends_in_a_second_whatever_is_waited_for(blind: Stage) -> None:
    blind.round()
    assert blind.took_s == pytest.approx(LONGEST_WAIT_S)


def test_a_tick_that_is_overdue_does_not_wait(stage: Stage) -> None:
    """After a stop of ours the clock is far beyond it."""
    stage.driver.round(stage.host.now - 100.0, SLOWLY)
    assert stage.took_s == 0.0


@pytest.mark.parametrize("instruction", [Instruction.CANCEL, Instruction.END_HOLD])
def test_what_the_operator_asks_ends_the_wait_at_once(
    stage: Stage, instruction: Instruction
) -> None:
    stage.host.after(0.3, lambda: stage.host.control.add(instruction))
    assert stage.round().instructions == [instruction]
    assert stage.took_s < 0.32
    assert stage.round(0.1).instructions == [], "each is taken once"


def test_an_answer_ends_the_wait_at_once(stage: Stage) -> None:
    stage.host.after(0.4, lambda: stage.ask(STATUS))
    assert stage.round().heard
    assert stage.took_s < 0.43


def test_a_guest_that_floods_is_read_slowly_and_that_is_told(stage: Stage) -> None:
    """Nothing but noise: it must not keep us from anything else (P7)."""
    stage.host.guest.outbox += b"x" * (9 << 20)
    flooded = stage.round()
    assert flooded.flood is not None
    stage.host.guest.outbox += b"more"
    at = stage.host.now
    stage.round(0.04)
    assert stage.host.guest.outbox, "not read before a pause"
    stage.round(0.1)
    stage.round(0.1)
    assert stage.host.guest.outbox == b""
    assert stage.host.now - at < 0.3


def test_an_answer_is_read_before_what_ends_the_pause_of_a_flood(stage: Stage) -> None:
    stage.host.guest.outbox += b"x" * (9 << 20)
    stage.round()
    stage.host.after(0.01, lambda: stage.host.control.add(Instruction.CANCEL))
    stage.host.guest.outbox += b"y"
    assert stage.round(1.0).instructions == [Instruction.CANCEL], "the operator is heard in it"


def test_a_line_that_does_not_end_is_told_once(stage: Stage) -> None:
    stage.host.guest.outbox += b'{"return": '
    stage.round(0.1)
    assert stage.round(0.5).heard == []
    (dropped,) = stage.round(1.0).heard
    assert isinstance(dropped, Dropped)
    assert "a line without an end for 1 s" in dropped.text
    assert stage.round(1.0).heard == []
    stage.round(1.0)
    assert stage.round(1.0).heard == []


def test_a_line_that_ends_in_time_is_not_told(stage: Stage) -> None:
    stage.host.guest.outbox += b'{"return": '
    stage.round(0.1)
    stage.host.guest.outbox += b"1}\n"
    stage.round(0.1)
    stage.host.sleep(2.0)
    assert not any("without an end" in str(event) for event in stage.round(0.5).heard)


# -- looking --------------------------------------------------------------------------------


def test_the_monitor_is_looked_at_as_often_as_is_wanted(stage: Stage) -> None:
    while stage.took_s < 2.0:
        stage.round(1.0, 0.25)
    assert 7 <= len(stage.host.monitor.looks) <= 8


def test_a_conclusion_that_waits_for_a_look_has_one_soon(stage: Stage) -> None:
    shown = stage.round(1.0, SLOWLY, look_now=True)
    assert shown.view is not None
    assert stage.took_s == pytest.approx(LOOK_AGAIN_S)


def test_what_a_look_shows_is_reported(stage: Stage) -> None:
    stage.round(1.0, 0.1)
    assert stage.reporter.run_states == [RunState.RUNNING]
    assert stage.reporter.ports == [True]
    stage.host.unseen = MonitorView(problem="it does not answer")
    stage.round(1.0, 0.1)
    assert (len(stage.reporter.run_states), len(stage.reporter.ports)) == (1, 1)


def test_a_slow_monitor_keeps_the_answer_waiting_for_a_moment_only(stage: Stage) -> None:
    stage.host.monitor.look_s = 60.0
    stage.round(1.0, 0.1)
    assert stage.took_s == pytest.approx(0.1 + LOOK_S)


def test_what_a_held_monitor_tells_is_looked_at_at_once(stage: Stage) -> None:
    stage.host.monitor.held = True
    stage.host.after(0.2, lambda: setattr(stage.host.monitor, "told", True))
    assert stage.round().view is not None
    assert stage.took_s < 0.22


def test_a_monitor_that_does_not_show_our_channel_counts_for_nothing(stage: Stage) -> None:
    """Once the agent has answered us, the monitor must show that we are connected (P10)."""
    stage.host.unseen = MonitorView(RunState.RUNNING, port_open=True, client=False)
    seen = stage.round(1.0, 0.1).view
    assert seen is not None
    assert seen.port_open, "not answered yet in this driver's time: nothing speaks against it"
    stage.ask(STATUS)
    stage.round()
    judged = stage.round(1.0, 0.1).view
    assert judged is not None
    assert (judged.port_open, judged.problem) == (None, NOT_SHOWN)


def test_a_look_beside_an_end_that_is_not_read_yet_is_not_believed(stage: Stage) -> None:
    """What it showed may come after a thaw of the holder's, if we were stopped before it (P3)."""
    stage.host.monitor.look_s = 0.1
    stage.host.after(0.15, stage.host.cut)
    unread = stage.round(1.0, 0.1)
    assert (unread.view, unread.ended) == (None, None)
    assert stage.host.monitor.looks
    assert stage.round().ended is not None


def test_those_that_look_closely_share_what_a_host_can_bear() -> None:
    looks, many = CloseLooks(), [Driver.__new__(Driver) for _ in range(100)]
    assert looks.every_s(many[0], 0.03) == 0.03
    for one in many:
        shared_s = looks.every_s(one, 0.03)
    assert shared_s == pytest.approx(100 / CLOSE_LOOKS_A_SECOND)
    assert looks.every_s(many[0], 0.25) == 0.25
    for one in many[1:90]:
        looks.every_s(one, 1.0)
    assert looks.every_s(many[99], 0.03) == pytest.approx(0.04)
    del one, many[1:]
    assert looks.every_s(many[0], 0.03) == 0.03, "who has ended is not counted"
