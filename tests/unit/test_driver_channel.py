"""A channel that ends and is had again: what is told, what is proven, and by when."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentclient.access.presence import NOBODY_S
from agentclient.access.stream import ConnectProblem, StreamEnded
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, RunState
from agentclient.operations.driver import (
    LEAVING_S,
)
from agentclient.protocol.qga_events import WireEvent
from tests.unit.driver_harness import DriverHarness


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> DriverHarness:
    return DriverHarness(monkeypatch)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> DriverHarness:
    """A VM without a monitor."""
    return DriverHarness(monkeypatch, monitor=False)


# -- the end of the channel -----------------------------------------------------------------


def test_an_end_is_told_once_with_what_is_seen_of_the_vm(harness: DriverHarness) -> None:
    broken = harness.breaks()
    assert broken.ended == "the other side has closed the connection"
    assert broken.view is not None
    assert broken.view.gone is None
    assert harness.took_s == pytest.approx(LEAVING_S, abs=0.15), "a QEMU may be about to leave"
    assert harness.wait(0.1).ended is None


def test_where_the_cause_was_told_nothing_is_waited_for(
    harness: DriverHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> list[WireEvent]:
        raise StreamEnded("it has disappeared", Cause.AGENT_GONE)

    monkeypatch.setattr(harness.session, "receive", gone)
    harness.host.cut()
    broken = harness.wait()
    assert (broken.ended, broken.cause) == ("it has disappeared", Cause.AGENT_GONE)
    assert harness.took_s < LEAVING_S / 10


def test_a_qemu_that_leaves_a_moment_later_is_seen_gone(harness: DriverHarness) -> None:
    harness.host.after(0.2, lambda: setattr(harness.host, "process_gone", True))
    broken = harness.breaks()
    assert broken.view is not None
    assert (broken.view.gone, broken.view.run_state) == (True, RunState.GONE)
    assert harness.took_s < 0.35


def test_an_end_of_the_holders_needs_no_look_for_a_death(harness: DriverHarness) -> None:
    holder = harness.guarded()
    holder.die()
    broken = harness.wait()
    assert broken.ended
    assert harness.took_s < 0.1
    assert len(harness.host.monitor.looks) == 1


def test_the_guests_end_behind_a_holder_waits_for_a_death_as_well(harness: DriverHarness) -> None:
    harness.guarded().guests_end()
    assert harness.wait().ended
    assert not harness.driver.connected
    assert harness.took_s == pytest.approx(LEAVING_S, abs=0.15)


# -- connecting again -----------------------------------------------------------------------


def test_a_new_channel_is_a_strangers(harness: DriverHarness) -> None:
    harness.breaks()
    assert harness.driver.reconnect().connected
    assert harness.driver.connected
    assert not harness.session.wire.owned, "nothing is proven to be ours on it"
    assert harness.wait(0.1).ended is None


def test_without_an_agent_channel_there_is_nothing_to_connect_to(
    harness: DriverHarness,
) -> None:
    harness.breaks()
    harness.access.agent = None
    tried = harness.driver.reconnect()
    assert (tried.connected, tried.gone) == (False, None)
    assert "no agent channel" in tried.why


def test_it_never_connects_behind_another_client(harness: DriverHarness) -> None:
    harness.breaks()
    harness.host.other_client = True
    tried = harness.driver.reconnect()
    assert (tried.connected, tried.gone) == (False, False)
    assert "another client" in tried.why
    assert len(harness.host.connects) == 1


def known_gone(harness: DriverHarness) -> None:
    harness.host.process_gone = True


def seen_gone(harness: DriverHarness) -> None:
    harness.host.unseen = MonitorView(RunState.GONE, gone=True)


@pytest.mark.parametrize("proof", [known_gone, seen_gone])
def test_a_channel_that_can_not_be_had_says_whether_the_vm_has_gone(
    harness: DriverHarness, proof: Callable[[DriverHarness], None]
) -> None:
    harness.breaks()
    harness.host.refuse()
    tried = harness.driver.reconnect()
    assert (tried.connected, tried.gone) == (False, None), "a refused connection proves nothing"
    proof(harness)
    assert harness.driver.reconnect().gone is True


@pytest.mark.parametrize("there", [False, None])
def test_nobody_listening_for_seconds_is_a_proof_where_there_is_no_better_one(
    harness: DriverHarness, there: bool | None
) -> None:
    harness.breaks()
    harness.host.refuse(ConnectProblem.MISSING)
    harness.host.process_gone = there
    assert harness.driver.reconnect().gone is there
    harness.host.sleep(NOBODY_S + 0.1)
    assert harness.driver.reconnect().gone is (True if there is None else there)


def test_somebody_who_listens_in_between_begins_that_anew(harness: DriverHarness) -> None:
    harness.breaks()
    harness.host.refuse(ConnectProblem.MISSING)
    harness.driver.reconnect()
    harness.host.sleep(NOBODY_S - 0.1)
    harness.host.refuse(ConnectProblem.QUEUE_FULL)
    harness.driver.reconnect()
    harness.host.refuse(ConnectProblem.MISSING)
    harness.host.sleep(0.2)
    assert harness.driver.reconnect().gone is None


def test_each_channel_that_breaks_is_told(harness: DriverHarness) -> None:
    for _ in range(3):
        assert harness.breaks().ended
        assert harness.driver.reconnect().connected


def test_with_a_dead_holder_it_goes_on_through_the_connection_itself(
    harness: DriverHarness,
) -> None:
    holder = harness.guarded()
    holder.die()
    harness.wait()
    assert harness.driver.reconnect().connected
    assert len(harness.host.connects) == 1
    assert holder.words()[2:] == ["forget", "arm", "intend"]


def test_without_a_monitor_it_connects_all_the_same(blind: DriverHarness) -> None:
    assert blind.breaks().ended
    assert blind.driver.reconnect().connected


def test_without_a_monitor_no_time_is_spent_on_looks(blind: DriverHarness) -> None:
    assert blind.wait(0.5, 0.05).view is None
    assert blind.took_s == pytest.approx(0.5)
