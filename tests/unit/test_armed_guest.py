"""A guest in the holder's care: when its console is overdue, and how it is thawed in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentclient.holder.armed_guest import GRACE_S, State
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState, Transport
from agentclient.model.vm import Peer, Process
from agentclient.protocol.qga_commands import STATUS, THAW
from tests.unit.armed_guest_stage import FREEZE_LINE, ArmedGuestStage

Make = Callable[..., ArmedGuestStage]
HOOK_S = 30.0


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda **body: ArmedGuestStage(monkeypatch, **body)


@pytest.fixture
def stage(make: Make) -> ArmedGuestStage:
    return make()


def asked(stage: ArmedGuestStage, command: str) -> int:
    return stage.commands.count(f'"{command}"'.encode())


# -- when it is overdue ---------------------------------------------------------------------


def test_before_a_freeze_nothing_is_overdue(stage: ArmedGuestStage) -> None:
    assert not stage.ward.overdue(stage.clock.now + 1e9)
    assert stage.ward.wakes_at == float("inf")


def test_a_window_is_overdue_a_moment_after_its_hold(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.ward.hold({"seconds": 10.0}, stage.clock.now)
    ends_at = stage.clock.now + 10.0 + GRACE_S
    assert stage.ward.wakes_at == ends_at
    assert not stage.ward.overdue(ends_at - 0.01)
    assert stage.ward.overdue(ends_at)
    stage.clock.now = ends_at
    assert stage.ward.wakes_at == float("inf"), "past it, it is the console that is waited for"


def test_a_hold_that_is_extended_is_overdue_later(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.ward.hold({"seconds": 10.0}, stage.clock.now)
    stage.ward.hold({"seconds": 60.0}, stage.clock.now)
    assert not stage.ward.overdue(stage.clock.now + 60.0)
    assert stage.ward.overdue(stage.clock.now + 60.0 + GRACE_S)


def test_a_freeze_that_is_not_answered_is_overdue_after_its_bound(stage: ArmedGuestStage) -> None:
    stage.guest.hook_s = 1e6
    stage.frozen(bound_s=100.0)
    assert not stage.ward.overdue(stage.clock.now + 100.0)
    assert stage.ward.overdue(stage.clock.now + 100.0 + GRACE_S)


def test_a_hold_begins_with_the_answer_that_a_stopped_console_has_not_read(
    stage: ArmedGuestStage,
) -> None:
    stage.guest.hook_s = HOOK_S
    stage.frozen(bound_s=100.0, hold_s=10.0)
    assert not stage.ward.overdue(stage.clock.now)
    stage.pass_time(HOOK_S + 0.5)
    answered_at = stage.clock.now
    assert not stage.ward.overdue(answered_at)
    assert stage.ward.overdue(answered_at + 10.0 + GRACE_S)


def test_an_answer_is_noticed_once(stage: ArmedGuestStage) -> None:
    """Each look would begin the hold anew, and nobody would ever be overdue."""
    stage.frozen(bound_s=100.0, hold_s=10.0)
    begun_at = stage.clock.now
    for seconds in range(10):
        assert not stage.ward.overdue(begun_at + seconds)
    assert stage.ward.overdue(begun_at + 10.0 + GRACE_S)


def test_what_a_guest_has_said_before_its_freeze_is_no_answer_to_it(stage: ArmedGuestStage) -> None:
    stage.guest.hook_s = 1e6
    stage.say(b'{"execute": "guest-fsfreeze-status", "id": "x.0"}\n')
    stage.turn()
    assert stage.console.taken
    stage.frozen(bound_s=100.0, hold_s=1.0)
    assert not stage.ward.overdue(stage.clock.now)
    assert not stage.ward.overdue(stage.clock.now + 99.0)
    assert stage.ward.overdue(stage.clock.now + 100.0 + GRACE_S)


def test_who_is_thawed_or_done_with_is_not_overdue(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.ward.disarm()
    assert not stage.ward.overdue(stage.clock.now + 1e9)
    assert stage.ward.state is State.DONE


# -- taking over ----------------------------------------------------------------------------


def test_taken_over_it_is_thawed_and_its_console_refused(stage: ArmedGuestStage) -> None:
    stage.frozen()
    assert stage.guest.frozen
    assert stage.take_over()
    assert stage.console.closed
    assert stage.guest.frozen == set()
    assert (stage.report.settled, stage.report.count) == (True, 2)
    assert stage.ward.state is State.DONE
    assert stage.socket.closed
    assert stage.selector.registered == {}


def test_nothing_is_written_to_it_before_its_sync_is_answered(stage: ArmedGuestStage) -> None:
    stage.frozen()
    before = stage.commands
    stage.ward.take_over(stage.clock.now)
    said = stage.commands.removeprefix(before)
    assert said.startswith(b"\xff")
    assert b"guest-sync-delimited" in said
    assert said.count(b"\n") == 1


@pytest.mark.parametrize("intends", [False, True])
def test_what_was_never_sent_a_freeze_is_let_go(stage: ArmedGuestStage, intends: bool) -> None:
    if intends:
        stage.say(b'{"execute": "guest-ping"}\n')
        stage.ward.intend({"bound_s": 100.0, "hold_s": 10.0}, stage.clock.now)
    assert not stage.take_over()
    assert (stage.ward.state, stage.reports) == (State.DONE, [])
    assert (stage.socket.closed, stage.console.closed) == (True, True)


def test_half_a_freeze_that_the_guest_took_counts_as_sent(stage: ArmedGuestStage) -> None:
    stage.socket.room = 5
    stage.frozen()
    stage.socket.room = None
    assert stage.take_over()


def test_what_was_sent_on_a_connection_before_this_counts(make: Make) -> None:
    stage = make(sent=True)
    assert stage.take_over()
    again = make()
    again.ward.intend({"bound_s": 1.0, "hold_s": 1.0, "sent": True}, again.clock.now)
    assert again.take_over()


@pytest.mark.parametrize("how", ["said", "armed so"])
def test_a_guest_that_the_console_has_thawed_already_is_asked_first(
    stage: ArmedGuestStage, how: str
) -> None:
    """A second thaw would run its hook without its freeze (§3.8)."""
    stage.frozen()
    if how == "said":
        stage.ward.console_thaws()
    else:
        body = {"bound_s": 1.0, "hold_s": 1.0, "sent": True, "thawing": True}
        stage.ward.intend(body, stage.clock.now)
    stage.guest.frozen.clear()
    stage.guest.flag = False
    assert stage.take_over()
    assert (asked(stage, STATUS), asked(stage, THAW)) == (1, 0)
    assert stage.report.settled


def test_a_pending_freeze_is_waited_for_however_long_it_takes(stage: ArmedGuestStage) -> None:
    stage.guest.hook_s = 5000.0
    stage.frozen(bound_s=100.0)
    assert stage.take_over()
    stage.pass_time(4000.0, 1.0)
    assert stage.reports == []
    stage.pass_time(1100.0, 1.0)
    assert stage.report.settled
    assert stage.guest.frozen == set()


def test_a_thaw_that_outlasts_everybody_is_told_once_and_goes_on(stage: ArmedGuestStage) -> None:
    stage.guest.hook_s = 1e6
    stage.frozen(bound_s=100.0)
    late_at = stage.clock.now + 100.0 + 60.0
    assert not stage.ward.late(late_at + 1e6), "it is the console's still"
    assert stage.take_over()
    assert not stage.ward.late(late_at - 0.1)
    assert stage.ward.late(late_at)
    assert not stage.ward.late(late_at + 1e6)
    assert stage.ward.state is State.THAWING


def test_an_answered_freeze_whose_thaw_is_not_answered_is_given_up(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.guest.alive = False
    assert stage.take_over()
    stage.pass_time(70.0)
    assert not stage.report.settled
    assert stage.report.next == "thaw db1"
    assert stage.socket.closed


def test_a_closed_port_ends_the_wait_for_a_freeze_that_no_agent_has(make: Make) -> None:
    """What no agent has read goes with the connection: the bound counts from there (§1.8)."""
    stage = make(monitor="/monitor")
    stage.guest.hook_s = 1e6
    stage.frozen()
    assert stage.take_over()
    stage.guest.kill(lose_unread=True)
    stage.pass_time(65.0)
    assert not stage.report.settled


def test_a_bug_in_its_care_is_told_like_a_thaw_in_vain(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.ward.fail("ZeroDivisionError()")
    assert (stage.report.settled, stage.report.next) == (False, "thaw db1")
    assert "ZeroDivisionError" in stage.report.reason
    assert (stage.ward.state, stage.socket.closed) == (State.DONE, True)


def test_done_it_does_nothing_any_more(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.take_over()
    written = stage.commands
    stage.ward.tick(stage.clock.now + 1e6)
    stage.ward._saw(MonitorView(RunState.GONE, gone=True))
    stage.ward.disarm()
    assert (stage.commands, len(stage.reports)) == (written, 1)


def test_disarmed_in_the_middle_of_its_thaw_it_hangs_up(stage: ArmedGuestStage) -> None:
    stage.guest.hook_s = HOOK_S
    stage.frozen()
    stage.take_over()
    stage.ward.disarm()
    assert (stage.socket.closed, stage.reports, stage.selector.registered) == (True, [], {})


# -- what the console said of it ------------------------------------------------------------


def test_it_looks_at_the_monitor_that_the_console_described(make: Make) -> None:
    stage = make(
        monitor="/monitor",
        label="qga0",
        transport="virtio-serial",
        vm_pid=12,
        vm_ticks=34,
        monitor_peer=[[12, 34], 0],
    )
    monitor: Any = stage.monitor
    assert (monitor.path, monitor.peer) == (Path("/monitor"), Peer(Process(12, 34), 0))
    channel = monitor.channel
    assert (channel.path, channel.label) == (Path("/agent"), "qga0")
    assert channel.transport is Transport.VIRTIO_SERIAL
    assert monitor.process == Process(12, 34)


def test_what_it_does_not_understand_of_the_monitor_is_not_known(make: Make) -> None:
    stage = make(monitor="/monitor", label="", transport="pigeons", vm_pid="x")
    monitor: Any = stage.monitor
    assert (monitor.channel.label, monitor.channel.transport) == (None, Transport.UNKNOWN)
    assert monitor.process is None
    assert make().monitor is None


def test_a_thaw_looks_at_the_monitor_each_quarter_of_a_second(make: Make) -> None:
    stage = make(monitor="/monitor")
    stage.guest.hook_s = HOOK_S
    stage.frozen()
    stage.take_over()
    stage.pass_time(2.0)
    assert 7 <= len(stage.looks) <= 9
    assert stage.ward.wakes_at <= stage.clock.now + 0.25


def test_a_vm_that_ends_meanwhile_is_frozen_no_more(make: Make) -> None:
    stage = make(monitor="/monitor")
    stage.guest.hook_s = HOOK_S
    stage.frozen()
    stage.take_over()
    stage.guest.leave()
    stage.pass_time(0.5)
    assert stage.report.settled
    assert asked(stage, THAW) == 0


@pytest.mark.parametrize("busy", [True, False])
def test_a_monitor_that_can_not_be_asked_just_now_ends_nothing(make: Make, busy: bool) -> None:
    stage = make(monitor="/monitor")
    stage.guest.hook_s = HOOK_S
    stage.monitor_busy = busy
    if not busy:
        stage.refuse()
        stage.monitor_refusal = stage.refusal
    stage.frozen()
    stage.take_over()
    stage.pass_time(HOOK_S + 1.0)
    assert stage.report.settled
    assert stage.guest.frozen == set()


def test_a_freeze_line_is_passed_on_as_it_is(stage: ArmedGuestStage) -> None:
    stage.frozen()
    assert stage.commands == FREEZE_LINE
    assert b'"return": 2' in stage.console.taken
