"""A channel that ends and is had again: what is told, what is proven, and by when."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentclient.access.presence import NOBODY_S
from agentclient.access.stream import ConnectProblem
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.operations.driver import (
    LEAVING_S,
)
from tests.unit.driver_stage import Stage


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A VM without a monitor."""
    return Stage(monkeypatch, monitor=False)


# -- the end of the channel -----------------------------------------------------------------


def test_an_end_is_told_once_with_what_is_seen_of_the_vm(stage: Stage) -> None:
    broken = stage.breaks()
    assert broken.ended == "the other side has closed the connection"
    assert broken.view is not None
    assert broken.view.gone is None
    assert stage.took_s == pytest.approx(LEAVING_S, abs=0.15), "a QEMU may be about to leave"
    assert stage.round(0.1).ended is None


def test_a_qemu_that_leaves_a_moment_later_is_seen_gone(stage: Stage) -> None:
    stage.host.after(0.2, lambda: setattr(stage.host, "process_gone", True))
    broken = stage.breaks()
    assert broken.view is not None
    assert (broken.view.gone, broken.view.run_state) == (True, RunState.GONE)
    assert stage.took_s < 0.35


def test_an_end_of_the_holders_needs_no_look_for_a_death(stage: Stage) -> None:
    holder = stage.guarded()
    holder.die()
    broken = stage.round()
    assert broken.ended
    assert stage.took_s < 0.1
    assert len(stage.host.monitor.looks) == 1


def test_the_guests_end_behind_a_holder_waits_for_a_death_as_well(stage: Stage) -> None:
    stage.guarded().guests_end()
    assert stage.round().ended
    assert not stage.driver.connected
    assert stage.took_s == pytest.approx(LEAVING_S, abs=0.15)


# -- connecting again -----------------------------------------------------------------------


def test_a_new_channel_is_a_strangers(stage: Stage) -> None:
    stage.breaks()
    assert stage.driver.reconnect().connected
    assert stage.driver.connected
    assert not stage.session.wire.owned, "nothing is proven to be ours on it"
    assert stage.round(0.1).ended is None


def test_without_an_agent_channel_there_is_nothing_to_connect_to(
    stage: Stage,
) -> None:
    stage.breaks()
    stage.access.agent = None
    tried = stage.driver.reconnect()
    assert (tried.connected, tried.gone) == (False, None)
    assert "no agent channel" in tried.why


def test_it_never_connects_behind_another_client(stage: Stage) -> None:
    stage.breaks()
    stage.host.other_client = True
    tried = stage.driver.reconnect()
    assert (tried.connected, tried.gone) == (False, False)
    assert "another client" in tried.why
    assert len(stage.host.connects) == 1


def known_gone(stage: Stage) -> None:
    stage.host.process_gone = True


def seen_gone(stage: Stage) -> None:
    stage.host.unseen = MonitorView(RunState.GONE, gone=True)


@pytest.mark.parametrize("proof", [known_gone, seen_gone])
def test_a_channel_that_can_not_be_had_says_whether_the_vm_has_gone(
    stage: Stage, proof: Callable[[Stage], None]
) -> None:
    stage.breaks()
    stage.host.refuse()
    tried = stage.driver.reconnect()
    assert (tried.connected, tried.gone) == (False, None), "a refused connection proves nothing"
    proof(stage)
    assert stage.driver.reconnect().gone is True


@pytest.mark.parametrize("there", [False, None])
def test_nobody_listening_for_seconds_is_a_proof_where_there_is_no_better_one(
    stage: Stage, there: bool | None
) -> None:
    stage.breaks()
    stage.host.refuse(ConnectProblem.MISSING)
    stage.host.process_gone = there
    assert stage.driver.reconnect().gone is there
    stage.host.sleep(NOBODY_S + 0.1)
    assert stage.driver.reconnect().gone is (True if there is None else there)


def test_somebody_who_listens_in_between_begins_that_anew(stage: Stage) -> None:
    stage.breaks()
    stage.host.refuse(ConnectProblem.MISSING)
    stage.driver.reconnect()
    stage.host.sleep(NOBODY_S - 0.1)
    stage.host.refuse(ConnectProblem.QUEUE_FULL)
    stage.driver.reconnect()
    stage.host.refuse(ConnectProblem.MISSING)
    stage.host.sleep(0.2)
    assert stage.driver.reconnect().gone is None


def test_each_channel_that_breaks_is_told(stage: Stage) -> None:
    for _ in range(3):
        assert stage.breaks().ended
        assert stage.driver.reconnect().connected


def test_with_a_dead_holder_it_goes_on_through_the_connection_itself(stage: Stage) -> None:
    holder = stage.guarded()
    holder.die()
    stage.round()
    assert stage.driver.reconnect().connected
    assert len(stage.host.connects) == 1
    assert holder.words()[2:] == ["forget", "arm", "intend"]


def test_without_a_monitor_it_connects_all_the_same(blind: Stage) -> None:
    assert blind.breaks().ended
    assert blind.driver.reconnect().connected


def test_without_a_monitor_no_time_is_spent_on_looks(blind: Stage) -> None:
    assert blind.round(0.5, 0.05).view is None
    assert blind.took_s == pytest.approx(0.5)
