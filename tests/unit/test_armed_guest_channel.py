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
from tests.unit.armed_guest_stage import FREEZE_LINE, ArmedGuestStage

Make = Callable[..., ArmedGuestStage]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda **body: ArmedGuestStage(monkeypatch, **body)


@pytest.fixture
def stage(make: Make) -> ArmedGuestStage:
    return make()


# -- the guest's end, while the console talks -----------------------------------------------


def test_a_guest_that_may_be_frozen_stays_in_care_when_its_end_closes(
    stage: ArmedGuestStage,
) -> None:
    stage.frozen()
    stage.hang_up()
    assert stage.ward.state is State.BROKEN
    assert stage.told_broken == [stage.ward]
    assert (stage.socket.closed, stage.console.closed) == (True, True)
    stage.ward.hold({"seconds": 1.0}, stage.clock.now)
    assert stage.ward.overdue(stage.clock.now + 2.0), "it is taken over like any other"
    assert stage.take_over()
    stage.pass_time(0.2)
    assert stage.report.settled
    assert len(stage.connects) == 1
    assert stage.guest.frozen == set()


@pytest.mark.parametrize("gone", [True, False])
def test_a_guest_that_can_not_be_frozen_is_let_go_with_its_end(
    stage: ArmedGuestStage, gone: bool
) -> None:
    """It was never sent a freeze, or its QEMU has ended with the connection."""
    if gone:
        stage.frozen()
        stage.gone = True
    stage.hang_up()
    assert stage.ward.state is State.DONE
    assert stage.told_broken == [stage.ward]
    assert stage.reports == []


def test_the_consoles_end_alone_says_nothing_of_the_guest(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.console.incoming.append(b"")
    stage.turn()
    assert (stage.ward.state, stage.told_broken) == (State.RELAYED, [])
    assert not stage.socket.closed
    assert stage.take_over()
    assert stage.report.settled


def test_who_was_thawed_by_the_console_elsewhere_is_forgotten(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.hang_up()
    stage.ward.disarm()
    assert stage.ward.state is State.DONE
    assert stage.connects == []


# -- in its own thaw ------------------------------------------------------------------------


def test_a_channel_that_breaks_in_its_thaw_is_opened_anew(stage: ArmedGuestStage) -> None:
    stage.guest.hook_s = 5.0
    stage.frozen()
    stage.take_over()
    stage.hang_up()
    stage.pass_time(10.0)
    assert stage.report.settled
    assert len(stage.connects) == 1
    assert stage.guest.frozen == set()


def test_it_is_tried_again_and_again_where_it_can_not_be_had(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.refuse()
    stage.ward.take_over(stage.clock.now)
    stage.hang_up()
    stage.pass_time(10.0)
    assert len(stage.connects) >= 10
    assert stage.reports == []
    stage.refusal = None
    stage.pass_time(1.5)
    assert stage.report.settled


def test_a_qemu_that_has_ended_ends_it(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.ward.take_over(stage.clock.now)
    stage.gone = True
    stage.hang_up()
    assert stage.report.settled
    assert stage.connects == []


def test_a_qemu_that_is_found_ended_when_it_is_connected_to_ends_it(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.refuse()
    stage.ward.take_over(stage.clock.now)
    stage.hang_up()
    stage.gone = True
    stage.pass_time(0.3)
    assert stage.report.settled


def test_nobody_who_listens_for_seconds_proves_the_end_where_nothing_better_is_known(
    stage: ArmedGuestStage,
) -> None:
    stage.frozen()
    stage.refuse(ConnectProblem.MISSING)
    stage.ward.take_over(stage.clock.now)
    stage.hang_up()
    stage.pass_time(2.5)
    assert stage.reports == []
    stage.pass_time(2.0)
    assert stage.report.settled


def test_a_process_that_is_there_outweighs_a_socket_that_is_away(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.refuse(ConnectProblem.MISSING)
    stage.gone = False
    stage.ward.take_over(stage.clock.now)
    stage.hang_up()
    stage.pass_time(20.0)
    assert stage.reports == []
    assert stage.ward.state is State.THAWING


def test_it_never_connects_behind_another_client(make: Make) -> None:
    stage = make(monitor="/monitor")
    stage.frozen()
    stage.view = MonitorView(RunState.RUNNING, port_open=True, client=True)
    stage.hang_up()
    stage.take_over()
    stage.pass_time(5.0)
    early = [at for at in stage.connects if at > stage.clock.now - 4.5]
    assert early == []
    stage.view = stage.view._replace(client=False)
    stage.pass_time(2.0)
    assert stage.report.settled


def test_a_guest_that_takes_no_bytes_is_sent_them_again(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.socket.room = 0
    stage.ward.take_over(stage.clock.now)
    assert stage.ward.state is State.THAWING
    stage.socket.room = None
    stage.pass_time(8.0)
    assert stage.report.settled
    assert stage.guest.frozen == set()


def test_a_write_that_fails_is_a_channel_that_broke(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.break_pipe()
    broken = stage.socket
    stage.ward.take_over(stage.clock.now)
    assert broken.closed
    stage.pass_time(0.5)
    assert len(stage.connects) == 1
    assert stage.report.settled


def test_a_guest_that_floods_is_read_slowly(stage: ArmedGuestStage) -> None:
    """It must not keep the holder from its other guests (P7)."""
    stage.frozen()
    stage.guest.alive = False
    stage.ward.take_over(stage.clock.now)
    stage.socket.incoming += [b"x" * 65536] * 1000
    stage.turn()
    for _ in range(300):
        stage.selector.turn(stage.socket)
    left = len(stage.socket.incoming)
    assert left > 800, "it is not read any more"
    assert stage.selector.events(stage.socket) == 0
    assert stage.ward.wakes_at <= stage.clock.now + 0.1
    stage.pass_time(0.5)
    assert left - 20 < len(stage.socket.incoming) < left


def test_disarmed_while_it_is_not_read_it_hangs_up(stage: ArmedGuestStage) -> None:
    stage.frozen()
    stage.ward.take_over(stage.clock.now)
    stage.socket.incoming += [b"x" * 65536] * 200
    for _ in range(200):
        stage.selector.turn(stage.socket)
    stage.ward.disarm()
    assert (stage.socket.closed, stage.selector.registered) == (True, {})


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
        stage = ArmedGuestStage(monkeypatch, monitor="/monitor")
        stage.guest.hook_s = hook_s
        sent = False
        for step in steps:
            if step == "freeze" and not sent and stage.ward.state is State.RELAYED:
                if not stage.console.closed and stage.selector.events(stage.console):
                    stage.frozen()
                    sent = FREEZE_LINE in stage.commands
            elif step == "hold":
                stage.ward.hold({"seconds": 1.0}, stage.clock.now)
            elif step == "thawing":
                stage.ward.console_thaws()
            elif step == "hang up" and not stage.socket.closed:
                stage.hang_up()
            elif step == "console ends" and not stage.console.closed:
                stage.console.incoming.append(b"")
                stage.turn()
            elif step == "wait":
                stage.pass_time(0.5)
            elif step == "overdue":
                stage.ward.overdue(stage.clock.now)
            elif step == "kill agent":
                stage.guest.kill(lose_unread=True)
                stage.guest.respawn()
        was_done = stage.ward.state is State.DONE
        taken = not was_done and stage.take_over()
        assert taken is (sent and not was_done)
        stage.pass_time(10.0)
        assert len(stage.reports) == int(taken)
        if taken:
            assert stage.report.settled
        assert stage.ward.state is State.DONE
        assert not stage.guest.frozen
        assert stage.selector.registered == {}
        assert stage.socket.closed
