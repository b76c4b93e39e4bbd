"""The shell around the machines writes, reads, looks and waits for them, each within its bound."""

from __future__ import annotations

import pytest

from agentclient.access.local_access import NOT_SHOWN
from agentclient.freeze.effects import ReportEvent, Resync, Send
from agentclient.model.events import EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Level, RunState
from agentclient.operations.driver import (
    CLOSE_LOOKS_A_SECOND,
    LONGEST_WAIT_S,
    LOOK_AGAIN_S,
    LOOK_S,
    Driver,
    LookRateLimit,
)
from agentclient.protocol.qga_commands import FREEZE, STATUS, THAW
from agentclient.protocol.qga_events import Dropped, Reply, Synced
from tests.unit.driver_harness import SLOWLY, DriverHarness


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> DriverHarness:
    return DriverHarness(monkeypatch)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> DriverHarness:
    """A VM without a monitor."""
    return DriverHarness(monkeypatch, monitor=False)


# -- writing --------------------------------------------------------------------------------


def test_what_a_machine_asks_is_told_written_and_answered(harness: DriverHarness) -> None:
    tell = ReportEvent(EventKind.NOTE, Level.INFO, "a word")
    sync, status = harness.session.ticket(), harness.session.ticket()
    harness.driver.perform([tell, Resync(sync), Send(status, STATUS)])
    assert harness.reporter.told == [tell]
    heard = [event for event in harness.wait().heard if not isinstance(event, Dropped)]
    assert heard == [Synced(sync), Reply(status, "thawed")]


def test_whoever_thaws_in_our_place_hears_of_our_thaw_before_it_is_written(
    harness: DriverHarness,
) -> None:
    harness.ask(FREEZE)
    harness.ask(STATUS)
    assert harness.before_thaw == []
    harness.ask(THAW)
    assert harness.before_thaw == [0]
    assert harness.host.asked(THAW) == 1


def test_arguments_are_written_with_their_command(harness: DriverHarness) -> None:
    mounts = {"mountpoints": ["/a"]}
    harness.driver.perform([Send(harness.session.ticket(), "guest-fsfreeze-freeze-list", mounts)])
    assert b'"mountpoints":["/a"]' in harness.host.sent[-1]


@pytest.mark.parametrize("sync", [True, False])
def test_a_guest_that_does_not_read_is_told_of_and_the_channel_kept(
    harness: DriverHarness, sync: bool
) -> None:
    harness.host.stalled = True
    ticket = harness.session.ticket()
    harness.driver.perform([Resync(ticket) if sync else Send(ticket, THAW)])
    (note,) = harness.reporter.told
    assert note.level is Level.WARNING
    assert ("a sync" if sync else THAW) in note.text
    assert harness.took_s == pytest.approx(2.0), "within the time that a write may take"
    assert harness.driver.connected
    harness.host.stalled = False
    assert harness.wait(1.0).ended is None


def test_a_write_that_fails_shows_in_the_next_round(harness: DriverHarness) -> None:
    harness.host.cut()
    harness.ask(STATUS)
    assert not harness.driver.connected
    harness.ask(THAW)
    assert harness.host.asked(THAW) == 0, "nothing is written to what has ended"
    assert harness.wait().ended == "broken pipe"


def test_closed_it_closes_the_conversation(harness: DriverHarness) -> None:
    harness.driver.close()
    assert harness.session.fileno() == -1


# -- waiting --------------------------------------------------------------------------------


def test_a_round_ends_when_the_machine_wants_its_tick(harness: DriverHarness) -> None:
    assert harness.wait(0.5).heard == []
    assert harness.took_s == pytest.approx(0.5)


def test_a_round_ends_in_a_second_whatever_is_waited_for(blind: DriverHarness) -> None:
    blind.wait()
    assert blind.took_s == pytest.approx(LONGEST_WAIT_S)


def test_a_tick_that_is_overdue_does_not_wait(harness: DriverHarness) -> None:
    """After a stop of ours the clock is far beyond it."""
    harness.driver.wait(harness.host.now - 100.0, SLOWLY)
    assert harness.took_s == 0.0


@pytest.mark.parametrize("instruction", [Instruction.CANCEL, Instruction.END_HOLD])
def test_what_the_operator_asks_ends_the_wait_at_once(
    harness: DriverHarness, instruction: Instruction
) -> None:
    harness.host.after(0.3, lambda: harness.host.control.add(instruction))
    assert harness.wait().instructions == [instruction]
    assert harness.took_s < 0.32
    assert harness.wait(0.1).instructions == [], "each is taken once"


def test_an_answer_ends_the_wait_at_once(harness: DriverHarness) -> None:
    harness.host.after(0.4, lambda: harness.ask(STATUS))
    assert harness.wait().heard
    assert harness.took_s < 0.43


def test_a_guest_that_floods_is_read_slowly_and_that_is_told(harness: DriverHarness) -> None:
    """Nothing but noise: it must not keep us from anything else (P7)."""
    harness.host.guest.outbox += b"x" * (9 << 20)
    flooded = harness.wait()
    assert flooded.flood is not None
    harness.host.guest.outbox += b"more"
    at = harness.host.now
    harness.wait(0.04)
    assert harness.host.guest.outbox, "not read before a pause"
    harness.wait(0.1)
    harness.wait(0.1)
    assert harness.host.guest.outbox == b""
    assert harness.host.now - at < 0.3


def test_an_answer_is_read_before_what_ends_the_pause_of_a_flood(harness: DriverHarness) -> None:
    harness.host.guest.outbox += b"x" * (9 << 20)
    harness.wait()
    harness.host.after(0.01, lambda: harness.host.control.add(Instruction.CANCEL))
    harness.host.guest.outbox += b"y"
    assert harness.wait(1.0).instructions == [Instruction.CANCEL], "the operator is heard in it"


def test_a_line_that_does_not_end_is_told_once(harness: DriverHarness) -> None:
    harness.host.guest.outbox += b'{"return": '
    harness.wait(0.1)
    assert harness.wait(0.5).heard == []
    (dropped,) = harness.wait(1.0).heard
    assert isinstance(dropped, Dropped)
    assert "a line without an end for 1 s" in dropped.text
    assert harness.wait(1.0).heard == []
    harness.wait(1.0)
    assert harness.wait(1.0).heard == []


def test_a_line_that_ends_in_time_is_not_told(harness: DriverHarness) -> None:
    harness.host.guest.outbox += b'{"return": '
    harness.wait(0.1)
    harness.host.guest.outbox += b"1}\n"
    harness.wait(0.1)
    harness.host.sleep(2.0)
    assert not any("without an end" in str(event) for event in harness.wait(0.5).heard)


# -- looking --------------------------------------------------------------------------------


def test_the_monitor_is_looked_at_as_often_as_is_wanted(harness: DriverHarness) -> None:
    while harness.took_s < 2.0:
        harness.wait(1.0, 0.25)
    assert 7 <= len(harness.host.monitor.looks) <= 8


def test_a_conclusion_that_begins_to_wait_for_a_look_has_one_at_once(
    harness: DriverHarness,
) -> None:
    for _ in range(2):
        harness.wait(0.1)
        before_s = harness.took_s
        assert harness.wait(1.0, SLOWLY, look_now=True).view is not None
        assert harness.took_s == pytest.approx(before_s)


def test_a_look_that_showed_nothing_is_repeated_a_moment_later(harness: DriverHarness) -> None:
    harness.wait(1.0, SLOWLY, look_now=True)
    for turn in range(1, 4):
        assert harness.wait(1.0, SLOWLY, look_now=True).view is not None
        assert harness.took_s == pytest.approx(turn * LOOK_AGAIN_S)


def test_what_a_look_shows_is_reported(harness: DriverHarness) -> None:
    harness.wait(1.0, 0.1)
    assert harness.reporter.run_states == [RunState.RUNNING]
    assert harness.reporter.ports == [True]
    harness.host.unseen = MonitorView(problem="it does not answer")
    harness.wait(1.0, 0.1)
    assert (len(harness.reporter.run_states), len(harness.reporter.ports)) == (1, 1)


def test_a_slow_monitor_keeps_the_answer_waiting_for_a_moment_only(harness: DriverHarness) -> None:
    harness.host.monitor.look_s = 60.0
    harness.wait(1.0, 0.1)
    assert harness.took_s == pytest.approx(0.1 + LOOK_S)


def test_what_a_held_monitor_tells_is_looked_at_at_once(harness: DriverHarness) -> None:
    harness.host.monitor.held = True
    harness.host.after(0.2, lambda: setattr(harness.host.monitor, "told", True))
    assert harness.wait().view is not None
    assert harness.took_s < 0.22


def test_a_monitor_that_does_not_show_our_channel_counts_for_nothing(
    harness: DriverHarness,
) -> None:
    """Once the agent has answered us, the monitor must show that we are connected (P10)."""
    harness.host.unseen = MonitorView(RunState.RUNNING, port_open=True, client=False)
    seen = harness.wait(1.0, 0.1).view
    assert seen is not None
    assert seen.port_open, "not answered yet in this driver's time: nothing speaks against it"
    harness.ask(STATUS)
    harness.wait()
    judged = harness.wait(1.0, 0.1).view
    assert judged is not None
    assert (judged.port_open, judged.problem) == (None, NOT_SHOWN)


def test_a_look_beside_an_end_that_is_not_read_yet_is_not_believed(harness: DriverHarness) -> None:
    """What it showed may come after a thaw of the holder's, if we were stopped before it (P3)."""
    harness.host.monitor.look_s = 0.1
    harness.host.after(0.15, harness.host.cut)
    unread = harness.wait(1.0, 0.1)
    assert (unread.view, unread.ended) == (None, None)
    assert harness.host.monitor.looks
    assert harness.wait().ended is not None


def test_those_that_look_closely_share_what_a_host_can_bear() -> None:
    looks, many = LookRateLimit(), [Driver.__new__(Driver) for _ in range(100)]
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
