"""A guest in the holder's care whose channel breaks, floods, does not read, or is another's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.access.stream import ConnectProblem
from agentclient.holder.armed_guest import State
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from tests.unit.armed_guest_harness import FREEZE_LINE, ArmedGuestHarness

Make = Callable[..., ArmedGuestHarness]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda **body: ArmedGuestHarness(monkeypatch, **body)


@pytest.fixture
def harness(make: Make) -> ArmedGuestHarness:
    return make()


# -- the guest's end, while the console talks -----------------------------------------------


def test_a_guest_that_may_be_frozen_stays_in_care_when_its_end_closes(
    harness: ArmedGuestHarness,
) -> None:
    harness.frozen()
    harness.hang_up()
    assert harness.armed_guest.state is State.BROKEN
    assert harness.told_broken == [harness.armed_guest]
    assert (harness.socket.closed, harness.console.closed) == (True, True)
    harness.armed_guest.hold({"seconds": 1.0}, harness.clock.now)
    assert harness.armed_guest.overdue(harness.clock.now + 2.0), "it is taken over like any other"
    assert harness.take_over()
    harness.pass_time(0.2)
    assert harness.report.settled
    assert len(harness.connects) == 1
    assert harness.guest.frozen == set()


@pytest.mark.parametrize("gone", [True, False])
def test_a_guest_that_can_not_be_frozen_is_let_go_with_its_end(
    harness: ArmedGuestHarness, gone: bool
) -> None:
    """It was never sent a freeze, or its QEMU has ended with the connection."""
    if gone:
        harness.frozen()
        harness.gone = True
    harness.hang_up()
    assert harness.armed_guest.state is State.DONE
    assert harness.told_broken == [harness.armed_guest]
    assert harness.reports == []


def test_the_consoles_end_alone_says_nothing_of_the_guest(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.console.incoming.append(b"")
    harness.turn()
    assert (harness.armed_guest.state, harness.told_broken) == (State.RELAYED, [])
    assert not harness.socket.closed
    assert harness.take_over()
    assert harness.report.settled


def test_who_was_thawed_by_the_console_elsewhere_is_forgotten(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.hang_up()
    harness.armed_guest.disarm()
    assert harness.armed_guest.state is State.DONE
    assert harness.connects == []


# -- in its own thaw ------------------------------------------------------------------------


def test_a_channel_that_breaks_in_its_thaw_is_opened_anew(harness: ArmedGuestHarness) -> None:
    harness.guest.hook_s = 5.0
    harness.frozen()
    harness.take_over()
    harness.hang_up()
    harness.pass_time(10.0)
    assert harness.report.settled
    assert len(harness.connects) == 1
    assert harness.guest.frozen == set()


def test_it_is_tried_again_and_again_where_it_can_not_be_had(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.refuse()
    harness.armed_guest.take_over(harness.clock.now)
    harness.hang_up()
    harness.pass_time(10.0)
    assert len(harness.connects) >= 10
    assert harness.reports == []
    harness.refusal = None
    harness.pass_time(1.5)
    assert harness.report.settled


def test_a_qemu_that_has_ended_ends_it(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.armed_guest.take_over(harness.clock.now)
    harness.gone = True
    harness.hang_up()
    assert harness.report.settled
    assert harness.connects == []


def test_a_qemu_that_is_found_ended_when_it_is_connected_to_ends_it(
    harness: ArmedGuestHarness,
) -> None:
    harness.frozen()
    harness.refuse()
    harness.armed_guest.take_over(harness.clock.now)
    harness.hang_up()
    harness.gone = True
    harness.pass_time(0.3)
    assert harness.report.settled


def test_nobody_who_listens_for_seconds_proves_the_end_where_nothing_better_is_known(
    harness: ArmedGuestHarness,
) -> None:
    harness.frozen()
    harness.refuse(ConnectProblem.MISSING)
    harness.armed_guest.take_over(harness.clock.now)
    harness.hang_up()
    harness.pass_time(2.5)
    assert harness.reports == []
    harness.pass_time(2.0)
    assert harness.report.settled


def test_a_process_that_is_there_outweighs_a_socket_that_is_away(
    harness: ArmedGuestHarness,
) -> None:
    harness.frozen()
    harness.refuse(ConnectProblem.MISSING)
    harness.gone = False
    harness.armed_guest.take_over(harness.clock.now)
    harness.hang_up()
    harness.pass_time(20.0)
    assert harness.reports == []
    assert harness.armed_guest.state is State.THAWING


def test_it_never_connects_behind_another_client(make: Make) -> None:
    harness = make(monitor="/monitor")
    harness.frozen()
    harness.view = MonitorView(RunState.RUNNING, port_open=True, client=True)
    harness.hang_up()
    harness.take_over()
    harness.pass_time(5.0)
    early = [at for at in harness.connects if at > harness.clock.now - 4.5]
    assert early == []
    harness.view = harness.view._replace(client=False)
    harness.pass_time(2.0)
    assert harness.report.settled


def test_a_guest_that_takes_no_bytes_is_sent_them_again(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.socket.room = 0
    harness.armed_guest.take_over(harness.clock.now)
    assert harness.armed_guest.state is State.THAWING
    harness.socket.room = None
    harness.pass_time(8.0)
    assert harness.report.settled
    assert harness.guest.frozen == set()


def test_a_write_that_fails_is_a_channel_that_broke(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.break_pipe()
    broken = harness.socket
    harness.armed_guest.take_over(harness.clock.now)
    assert broken.closed
    harness.pass_time(0.5)
    assert len(harness.connects) == 1
    assert harness.report.settled


def test_a_guest_that_floods_is_read_slowly(harness: ArmedGuestHarness) -> None:
    """It must not keep the holder from its other guests (P7)."""
    harness.frozen()
    harness.guest.alive = False
    harness.armed_guest.take_over(harness.clock.now)
    harness.socket.incoming += [b"x" * 65536] * 1000
    harness.turn()
    for _ in range(300):
        harness.selector.turn(harness.socket)
    left = len(harness.socket.incoming)
    assert left > 800, "it is not read any more"
    assert harness.selector.events(harness.socket) == 0
    assert harness.armed_guest.wakes_at <= harness.clock.now + 0.1
    harness.pass_time(0.5)
    assert left - 20 < len(harness.socket.incoming) < left


def test_disarmed_while_it_is_not_read_it_hangs_up(harness: ArmedGuestHarness) -> None:
    harness.frozen()
    harness.armed_guest.take_over(harness.clock.now)
    harness.socket.incoming += [b"x" * 65536] * 200
    for _ in range(200):
        harness.selector.turn(harness.socket)
    harness.armed_guest.disarm()
    assert (harness.socket.closed, harness.selector.registered) == (True, {})


# -- whatever happens -----------------------------------------------------------------------

STEPS = ["freeze", "hold", "thawing", "hang up", "console ends", "wait", "overdue", "kill agent"]


@given(
    st.lists(st.sampled_from(STEPS), max_size=8),
    st.sampled_from([0.0, 0.3, 3.0]),
)
def test_what_may_be_frozen_is_thawed_in_whatever_order_things_happen(
    steps: list[str], hook_s: float
) -> None:
    """Taken over after any of it, the guest ends thawed, and that is told once."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        harness = ArmedGuestHarness(monkeypatch, monitor="/monitor")
        harness.guest.hook_s = hook_s
        sent = False
        for step in steps:
            if step == "freeze" and not sent and harness.armed_guest.state is State.RELAYED:
                if not harness.console.closed and harness.selector.events(harness.console):
                    harness.frozen()
                    sent = FREEZE_LINE in harness.commands
            elif step == "hold":
                harness.armed_guest.hold({"seconds": 1.0}, harness.clock.now)
            elif step == "thawing":
                harness.armed_guest.console_thaws()
            elif step == "hang up" and not harness.socket.closed:
                harness.hang_up()
            elif step == "console ends" and not harness.console.closed:
                harness.console.incoming.append(b"")
                harness.turn()
            elif step == "wait":
                harness.pass_time(0.5)
            elif step == "overdue":
                harness.armed_guest.overdue(harness.clock.now)
            elif step == "kill agent":
                harness.guest.kill(lose_unread=True)
                harness.guest.respawn()
        was_done = harness.armed_guest.state is State.DONE
        taken = not was_done and harness.take_over()
        assert taken is (sent and not was_done)
        harness.pass_time(10.0)
        assert len(harness.reports) == int(taken)
        if taken:
            assert harness.report.settled
        assert harness.armed_guest.state is State.DONE
        assert not harness.guest.frozen
        assert harness.selector.registered == {}
        assert harness.socket.closed
