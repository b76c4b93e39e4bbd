"""A guest in the holder's care: when its console is overdue, and how it is thawed in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.presence import GoneCheck, Server
from agentclient.access.stream import ConnectProblem
from agentclient.holder.armed_guest import GRACE_S, State
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState, Transport
from agentclient.model.vm import Peer, Process
from agentclient.protocol.qga_commands import STATUS, THAW
from tests.unit.armed_guest_harness import FREEZE_LINE, ArmedGuestHarness

Make = Callable[..., ArmedGuestHarness]
HOOK_S = 30.0


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda **body: ArmedGuestHarness(monkeypatch, **body)


@pytest.fixture
def harness(make: Make) -> ArmedGuestHarness:
    return make()


def asked(harness: ArmedGuestHarness, command: str) -> int:
    return harness.commands.count(f'"{command}"'.encode())


# -- when it is overdue ---------------------------------------------------------------------


def test_before_a_freeze_nothing_is_overdue(harness: ArmedGuestHarness) -> None:
    assert not harness.armed_guest.overdue(harness.clock.now + 1e9)
    assert harness.armed_guest.wakes_at == float("inf")


def test_a_window_is_overdue_a_moment_after_its_hold(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.armed_guest.hold({"seconds": 10.0}, harness.clock.now)
    ends_at = harness.clock.now + 10.0 + GRACE_S
    assert harness.armed_guest.wakes_at == ends_at
    assert not harness.armed_guest.overdue(ends_at - 0.01)
    assert harness.armed_guest.overdue(ends_at)
    harness.clock.now = ends_at
    assert harness.armed_guest.wakes_at == float("inf"), (
        "past it, it is the console that is waited for"
    )


def test_a_hold_that_is_extended_is_overdue_later(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.armed_guest.hold({"seconds": 10.0}, harness.clock.now)
    harness.armed_guest.hold({"seconds": 60.0}, harness.clock.now)
    assert not harness.armed_guest.overdue(harness.clock.now + 60.0)
    assert harness.armed_guest.overdue(harness.clock.now + 60.0 + GRACE_S)


def test_a_hold_that_lasts_beyond_the_freezes_bound_ends_all_the_same(
    harness: ArmedGuestHarness,
) -> None:
    """It was counted anew at each look, for ever."""
    harness.frozen(bound_s=5.0)
    harness.armed_guest.hold({"seconds": 30.0}, harness.clock.now)
    ends_at = harness.clock.now + 30.0 + GRACE_S
    harness.pass_time(10.0)
    assert not harness.armed_guest.overdue(ends_at - 0.01)
    assert harness.armed_guest.overdue(ends_at)


def test_a_window_that_its_console_has_left_ends_on_time_and_is_thawed(
    harness: ArmedGuestHarness,
) -> None:
    harness.frozen()
    assert harness.armed_guest.keep() == "its window is not open"
    harness.armed_guest.hold({"seconds": 10.0, "most_s": 25.0}, harness.clock.now)
    assert harness.armed_guest.keep() is None
    assert harness.console.closed
    ends_at = harness.clock.now + 10.0
    assert harness.armed_guest.overdue(ends_at), "nobody has to be waited for"
    assert not harness.armed_guest.overdue(ends_at - 0.01)
    assert harness.armed_guest.extend(5.0) == 5.0
    assert harness.armed_guest.extend(60.0) == 10.0
    assert not harness.armed_guest.overdue(ends_at + 14.99)
    harness.clock.now = ends_at + 15.0
    assert harness.armed_guest.overdue(harness.clock.now)
    assert harness.take_over()
    harness.pass_time(1.0)
    assert harness.report.settled
    assert harness.guest.frozen == set()


def test_a_window_whose_console_may_be_thawing_can_not_be_left(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.armed_guest.hold({"seconds": 10.0}, harness.clock.now)
    harness.armed_guest.console_thaws()
    assert harness.armed_guest.keep() is not None


def test_a_freeze_that_is_not_answered_is_overdue_after_its_bound(
    harness: ArmedGuestHarness,
) -> None:
    harness.guest.hook_s = 1e6
    harness.frozen(bound_s=100.0)
    assert not harness.armed_guest.overdue(harness.clock.now + 100.0)
    assert harness.armed_guest.overdue(harness.clock.now + 100.0 + GRACE_S)


def test_a_hold_begins_with_the_answer_that_a_stopped_console_has_not_read(
    harness: ArmedGuestHarness,
) -> None:
    harness.guest.hook_s = HOOK_S
    harness.frozen(bound_s=100.0, hold_s=10.0)
    assert not harness.armed_guest.overdue(harness.clock.now)
    harness.pass_time(HOOK_S + 0.5)
    answered_at = harness.clock.now
    assert not harness.armed_guest.overdue(answered_at)
    assert not harness.armed_guest.overdue(answered_at + 10.0 + GRACE_S - 0.01)
    assert harness.armed_guest.overdue(answered_at + 10.0 + GRACE_S)


def test_an_answer_is_noticed_once(harness: ArmedGuestHarness) -> None:
    """Each look would begin the hold anew, and nobody would ever be overdue."""
    harness.frozen(bound_s=100.0, hold_s=10.0)
    begun_at = harness.clock.now
    for seconds in range(10):
        assert not harness.armed_guest.overdue(begun_at + seconds)
    assert harness.armed_guest.overdue(begun_at + 10.0 + GRACE_S)


def test_what_a_guest_has_said_before_its_freeze_is_no_answer_to_it(
    harness: ArmedGuestHarness,
) -> None:
    harness.guest.hook_s = 1e6
    harness.say(b'{"execute": "guest-fsfreeze-status", "id": "x.0"}\n')
    harness.turn()
    assert harness.console.taken
    harness.frozen(bound_s=100.0, hold_s=1.0)
    assert not harness.armed_guest.overdue(harness.clock.now)
    assert not harness.armed_guest.overdue(harness.clock.now + 99.0)
    assert harness.armed_guest.overdue(harness.clock.now + 100.0 + GRACE_S)


def test_who_is_thawed_or_done_with_is_not_overdue(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.armed_guest.disarm()
    assert not harness.armed_guest.overdue(harness.clock.now + 1e9)
    assert harness.armed_guest.state is State.DONE


# -- taking over ----------------------------------------------------------------------------


def test_taken_over_it_is_thawed_and_its_console_refused(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    assert harness.guest.frozen
    assert harness.take_over()
    assert harness.console.closed
    assert harness.guest.frozen == set()
    assert (harness.report.settled, harness.report.count) == (True, 2)
    assert harness.armed_guest.state is State.DONE
    assert harness.socket.closed
    assert harness.selector.registered == {}


def test_nothing_is_written_to_it_before_its_sync_is_answered(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    before = harness.commands
    harness.armed_guest.take_over(harness.clock.now)
    said = harness.commands.removeprefix(before)
    assert said.startswith(b"\xff")
    assert b"guest-sync-delimited" in said
    assert said.count(b"\n") == 1


@pytest.mark.parametrize("intends", [False, True])
def test_what_was_never_sent_a_freeze_is_let_go(harness: ArmedGuestHarness, intends: bool) -> None:
    if intends:
        harness.say(b'{"execute": "guest-ping"}\n')
        harness.armed_guest.intend({"bound_s": 100.0, "hold_s": 10.0}, harness.clock.now)
    assert not harness.take_over()
    assert (harness.armed_guest.state, harness.reports) == (State.DONE, [])
    assert (harness.socket.closed, harness.console.closed) == (True, True)


def test_half_a_freeze_that_the_guest_took_counts_as_sent(harness: ArmedGuestHarness) -> None:
    harness.socket.room = 5
    harness.frozen()
    harness.socket.room = None
    assert harness.take_over()


def test_what_was_sent_on_a_connection_before_this_counts(make: Make) -> None:
    harness = make(sent=True)
    assert harness.take_over()
    again = make()
    again.armed_guest.intend({"bound_s": 1.0, "hold_s": 1.0, "sent": True}, again.clock.now)
    assert again.take_over()


@pytest.mark.parametrize("how", ["said", "armed so"])
def test_a_guest_that_the_console_has_thawed_already_is_asked_first(
    harness: ArmedGuestHarness, how: str
) -> None:
    """A second thaw would run its hook without its freeze (§3.8)."""
    harness.frozen()
    if how == "said":
        harness.armed_guest.console_thaws()
    else:
        body = {"bound_s": 1.0, "hold_s": 1.0, "sent": True, "thawing": True}
        harness.armed_guest.intend(body, harness.clock.now)
    harness.guest.frozen.clear()
    harness.guest.flag = False
    assert harness.take_over()
    assert (asked(harness, STATUS), asked(harness, THAW)) == (1, 0)
    assert harness.report.settled


def test_a_pending_freeze_is_waited_for_however_long_it_takes(harness: ArmedGuestHarness) -> None:
    harness.guest.hook_s = 5000.0
    harness.frozen(bound_s=100.0)
    assert harness.take_over()
    harness.pass_time(4000.0, 1.0)
    assert harness.reports == []
    harness.pass_time(1100.0, 1.0)
    assert harness.report.settled
    assert harness.guest.frozen == set()


def test_a_thaw_that_outlasts_everybody_is_told_once_and_goes_on(
    harness: ArmedGuestHarness,
) -> None:
    harness.guest.hook_s = 1e6
    harness.frozen(bound_s=100.0)
    late_at = harness.clock.now + 100.0 + 60.0
    assert not harness.armed_guest.late(late_at + 1e6), "it is the console's still"
    assert harness.take_over()
    assert not harness.armed_guest.late(late_at - 0.1)
    assert harness.armed_guest.late(late_at)
    assert not harness.armed_guest.late(late_at + 1e6)
    assert harness.armed_guest.state is State.THAWING


def test_a_channel_that_stays_away_is_told_once_and_tried_more_rarely(
    harness: ArmedGuestHarness,
) -> None:
    """Behind a relay that is gone nothing proves the VM's end (P9), however long that lasts."""
    harness.guest.hook_s = 1e9
    harness.frozen(bound_s=100.0)
    harness.armed_guest._gone_check = GoneCheck(Server(other=True))
    harness.refuse(ConnectProblem.MISSING)
    assert harness.take_over()
    harness.hang_up()
    told: list[str] = []
    for _ in range(6 * 60):
        harness.pass_time(60.0, 5.0)
        told += [late for late in [harness.armed_guest.late(harness.clock.now)] if late]
    assert len(told) == 1
    assert "IT MAY BE FROZEN" in told[0]
    assert f"This holder (pid {os.getpid()}) stays" in told[0]
    assert harness.armed_guest.state is State.THAWING
    last_hour = [at for at in harness.connects if at > harness.clock.now - 3600.0]
    assert 55 <= len(last_hour) <= 70
    harness.refusal = None
    harness.guest.hook_s = 0.0
    harness.pass_time(70.0, 1.0)
    assert harness.socket.taken, "it is asked once it can be reached again"


def test_a_simulated_guest_ends_with_the_process_that_serves_it(make: Make) -> None:
    """Whatever program that is, there is nothing else of it: so a killed drill's end is proven."""
    harness = make(simulated=True)
    harness.guest.hook_s = 1e6
    harness.frozen()
    assert harness.take_over()
    harness.refuse(ConnectProblem.MISSING)
    harness.gone = True
    harness.hang_up()
    harness.pass_time(1.0)
    assert harness.report.settled


def test_an_answered_freeze_whose_thaw_is_not_answered_is_given_up(
    harness: ArmedGuestHarness,
) -> None:
    harness.frozen()
    harness.guest.alive = False
    assert harness.take_over()
    harness.pass_time(70.0)
    assert not harness.report.settled
    assert harness.report.next == "thaw db1"
    assert harness.socket.closed


def test_a_closed_port_ends_the_wait_for_a_freeze_that_no_agent_has(make: Make) -> None:
    """What no agent has read goes with the connection: the bound counts from there (§1.8)."""
    harness = make(monitor="/monitor")
    harness.guest.hook_s = 1e6
    harness.frozen()
    assert harness.take_over()
    harness.guest.kill(lose_unread=True)
    harness.pass_time(65.0)
    assert not harness.report.settled


def test_a_bug_in_its_care_is_told_like_a_thaw_in_vain(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.armed_guest.fail("ZeroDivisionError()")
    assert (harness.report.settled, harness.report.next) == (False, "thaw db1")
    assert "ZeroDivisionError" in harness.report.reason
    assert (harness.armed_guest.state, harness.socket.closed) == (State.DONE, True)


def test_done_it_does_nothing_any_more(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.take_over()
    written = harness.commands
    harness.armed_guest.tick(harness.clock.now + 1e6)
    harness.armed_guest._saw(MonitorView(RunState.GONE, gone=True))
    harness.armed_guest.disarm()
    assert (harness.commands, len(harness.reports)) == (written, 1)


def test_disarmed_in_the_middle_of_its_thaw_it_hangs_up(harness: ArmedGuestHarness) -> None:
    harness.guest.hook_s = HOOK_S
    harness.frozen()
    harness.take_over()
    harness.armed_guest.disarm()
    assert (harness.socket.closed, harness.reports, harness.selector.registered) == (True, [], {})


# -- what the console said of it ------------------------------------------------------------


def test_it_looks_at_the_monitor_that_the_console_described(make: Make) -> None:
    harness = make(
        monitor="/monitor",
        label="qga0",
        transport="virtio-serial",
        vm_pid=12,
        vm_ticks=34,
        monitor_peer=[[12, 34], 0],
    )
    monitor: Any = harness.monitor
    assert (monitor.path, monitor.peer) == (Path("/monitor"), Peer(Process(12, 34), 0))
    channel = monitor.channel
    assert (channel.path, channel.label) == (Path("/agent"), "qga0")
    assert channel.transport is Transport.VIRTIO_SERIAL
    assert monitor.process == Process(12, 34)


def test_what_it_does_not_understand_of_the_monitor_is_not_known(make: Make) -> None:
    harness = make(monitor="/monitor", label="", transport="pigeons", vm_pid="x")
    monitor: Any = harness.monitor
    assert (monitor.channel.label, monitor.channel.transport) == (None, Transport.UNKNOWN)
    assert monitor.process is None
    assert make().monitor is None


def test_a_thaw_looks_at_the_monitor_each_quarter_of_a_second(make: Make) -> None:
    harness = make(monitor="/monitor")
    harness.guest.hook_s = HOOK_S
    harness.frozen()
    harness.take_over()
    harness.pass_time(2.0)
    assert 7 <= len(harness.looks) <= 9
    assert harness.armed_guest.wakes_at <= harness.clock.now + 0.25


def test_after_a_long_while_it_looks_at_the_monitor_as_rarely_as_a_visit_does(make: Make) -> None:
    harness = make(monitor="/monitor")
    harness.guest.hook_s = 1e6
    harness.frozen()
    harness.take_over()
    harness.pass_time(700.0, 1.0)
    harness.looks.clear()
    harness.pass_time(60.0)
    assert 28 <= len(harness.looks) <= 31


def test_a_vm_that_ends_meanwhile_is_frozen_no_more(make: Make) -> None:
    harness = make(monitor="/monitor")
    harness.guest.hook_s = HOOK_S
    harness.frozen()
    harness.take_over()
    harness.guest.leave()
    harness.pass_time(0.5)
    assert harness.report.settled
    assert asked(harness, THAW) == 0


@pytest.mark.parametrize("busy", [True, False])
def test_a_monitor_that_can_not_be_asked_just_now_ends_nothing(make: Make, busy: bool) -> None:
    harness = make(monitor="/monitor")
    harness.guest.hook_s = HOOK_S
    harness.monitor_busy = busy
    if not busy:
        harness.refuse()
        harness.monitor_refusal = harness.refusal
    harness.frozen()
    harness.take_over()
    harness.pass_time(HOOK_S + 1.0)
    assert harness.report.settled
    assert harness.guest.frozen == set()


def test_a_freeze_line_is_passed_on_as_it_is(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    assert harness.commands == FREEZE_LINE
    assert b'"return": 2' in harness.console.taken
