"""Agents behind other ports: one without a state, one with a name, one with a neighbour."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentclient.model.events import EventKind
from agentclient.model.states import Cause, OutcomeKind, Transport
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator, assert_certified, evidence, value
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until

NEIGHBOUR = "/dev/virtio-ports/org.example.other"


@pytest.fixture(scope="module")
def old(module_boot: Boot) -> Guest:
    """A guest with its agent on an ISA serial port."""
    return module_boot(name="old", agent="isa", mounts=("a", "b"))


@pytest.fixture(scope="module")
def beside(module_boot: Boot) -> Guest:
    """A guest with another port on the controller of its agent's port."""
    return module_boot(name="beside", extra_port=True, port_id="channel0", mounts=("a", "b"))


@pytest.fixture
def serial(old: Guest) -> Iterator[Guest]:
    """The first, put back to how it was after each test."""
    yield old
    old.calm_down()


@pytest.fixture
def neighboured(beside: Guest) -> Iterator[Guest]:
    """The second, likewise."""
    yield beside
    beside.calm_down()


@pytest.mark.parametrize("transport", [Transport.UNKNOWN, Transport.ISA_SERIAL])
def test_a_serial_port_has_no_state(serial: Guest, transport: Transport) -> None:
    with Operator(serial, transport=transport) as operator:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        assert serial.frozen_mounts() == {"a", "b"}
        running.operation.end_hold()
        outcome = running.outcome()
    assert outcome.kind is OutcomeKind.UNVERIFIED
    assert (outcome.frozen, outcome.thawed, outcome.certified) == (2, 2, False)
    assert outcome.settled
    found = evidence(outcome)
    assert (found["port"], found["read"]) == ("unknown", "unknown")
    assert (found["reply"], found["coverage"], found["status"]) == ("for", "for", "for")
    assert "can't be seen" in outcome.reason
    assert value(outcome, "writes") == 0, "the monitor shows that all the same"
    serial.assert_thawed()


def test_on_a_serial_port_the_order_of_replies_tells(serial: Guest) -> None:
    serial.set_respawn(0)
    serial.slow_hook(30.0)
    hooks = len(serial.hook_log())
    with Operator(serial) as operator:
        running = operator.freeze(first_timeout_s=2.0, probe_timeout_s=2.0, probes=40)
        # Nothing else shows that the agent has read it.
        wait_until(lambda: len(serial.hook_log()) > hooks, PATIENCE_S, "the hook")
        serial.kill_agent()
        outcome = running.outcome()
    assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.UNKNOWN)
    assert "a later command was answered" in outcome.reason
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
    assert EventKind.PORT not in running.kinds
    running.assert_order(
        EventKind.SENT, EventKind.STEP, EventKind.REPLY, EventKind.VERDICT, EventKind.THAWED
    )
    serial.assert_thawed()


def test_a_serial_agent_that_is_gone_times_out(serial: Guest) -> None:
    serial.slow_hook(30.0)
    hooks = len(serial.hook_log())
    with Operator(serial) as operator:
        running = operator.freeze(
            first_timeout_s=1.5, probe_timeout_s=0.5, probes=1, thaw_timeout_s=1.0
        )
        wait_until(lambda: len(serial.hook_log()) > hooks, PATIENCE_S, "the hook")
        serial.kill_agent()
        outcome = running.outcome()
        assert (outcome.kind, outcome.cause) == (OutcomeKind.TIMEOUT, None)
        assert (outcome.thawed, outcome.settled) == (None, False)
        assert outcome.next is not None
        serial.start_agent()
        assert operator.thaw().thaw_outcome().ok
    serial.assert_thawed()


def test_a_held_monitor_and_a_named_port(neighboured: Guest) -> None:
    with Operator(neighboured, ours=True) as operator:
        assert_certified(operator.freeze(hold_s=0.5).outcome())
        neighboured.slow_hook(30.0)
        neighboured.set_respawn(0)
        running = operator.freeze()
        running.wait_progress(lambda progress: progress.read is True)
        neighboured.kill_agent()
        outcome = running.outcome()
    assert outcome.kind is OutcomeKind.LOST
    assert outcome.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
    assert (outcome.thawed, outcome.settled) == (0, True)
    neighboured.assert_thawed()


def test_another_port_that_moves_is_a_hint_and_no_loss(neighboured: Guest) -> None:
    neighboured.held_hook()
    with Operator(neighboured) as operator:
        running = operator.freeze(hold_s=100.0)
        running.wait_progress(lambda progress: progress.read is True)
        neighboured.shell(f"(exec 3<>{NEIGHBOUR}; sleep 0.2)")
        hint = running.wait_event(EventKind.PORT)
        assert "perhaps the agent's" in hint.event.text
        neighboured.release_hook()
        running.wait_event(EventKind.HELD)
        neighboured.shell(f"(exec 3<>{NEIGHBOUR}; sleep 0.2)")
        running.operation.end_hold()
        outcome = running.outcome()
        assert_certified(outcome)
    assert not {EventKind.REVISED, EventKind.AT_RISK} & set(running.kinds)
    neighboured.assert_thawed()


def test_beside_another_port_a_hidden_restart_is_found_all_the_same(neighboured: Guest) -> None:
    """By polling alone: the device's counter may be another port's, the sync's answer is not."""
    neighboured.slow_hook(30.0)
    neighboured.set_respawn(0)
    with Operator(neighboured) as operator:
        running = operator.freeze()
        running.wait_progress(lambda progress: progress.read is True)
        neighboured.kill_agent()
        outcome = running.outcome()
    assert outcome.kind is OutcomeKind.LOST
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
    neighboured.assert_thawed()
