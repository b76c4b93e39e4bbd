"""Somebody else on the channel: a foreign freeze, a second client, what dead clients left."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from agentclient.access.host.socket_clients import clients
from agentclient.backends.explicit import ExplicitBackend
from agentclient.fleet.watcher import Watcher
from agentclient.model.events import EventKind
from agentclient.model.states import FreezeState, OutcomeKind, Refusal
from tests.guests.freezing import Operator, agent_cpu_s, all_read, assert_certified, bytes_read
from tests.guests.lab import PATIENCE_S, Guest, RawClient
from tests.guests.lab.raw import command, half_command, leave
from tests.guests.lab.shell import wait_until

FREEZE = command("guest-fsfreeze-freeze")


def freeze_foreign(guest: Guest) -> None:
    """Somebody else freezes everything, and leaves."""
    with RawClient(guest.agent_socket) as somebody:
        somebody.sync()
        assert somebody.freeze() == 2


def visit(operator: Operator) -> None:
    """One round of a watcher."""
    watcher = Watcher(operator.fleet, operator.accesses, [ExplicitBackend([operator.vm])])
    watcher.visit_all(PATIENCE_S)
    watcher.stop()


def assert_refused_as_foreign(guest: Guest, operator: Operator) -> None:
    """Assert that our freeze is refused, and that the other's stands; then thaw it on request."""
    running = operator.freeze(hold_s=5.0)
    outcome = running.outcome()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.ALREADY_FROZEN)
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
    assert outcome.next is not None
    assert "--foreign" in outcome.next
    assert not {EventKind.SENT, EventKind.THAW_SENT} & set(running.kinds)
    freeze = operator.fleet.get(operator.vm.id).freeze
    assert (freeze.state, freeze.foreign) == (FreezeState.FROZEN, True)
    assert guest.frozen_mounts() == {"a", "b"}, "a refused freeze thaws nothing"
    refused = operator.thaw().thaw_outcome()
    assert (refused.refused, refused.ok, refused.thawed) == (True, False, None)
    assert guest.frozen_mounts() == {"a", "b"}
    thaw = operator.thaw(foreign=True).thaw_outcome()
    assert (thaw.ok, thaw.thawed, thaw.refused) == (True, 2, False)
    guest.assert_thawed()


def test_a_foreign_freeze_is_found_shown_and_thawed_on_request_only(
    calm: Guest, operator: Operator
) -> None:
    visit(operator)
    assert operator.fleet.get(operator.vm.id).freeze.state is FreezeState.THAWED
    freeze_foreign(calm)
    visit(operator)
    state = operator.fleet.get(operator.vm.id)
    assert (state.freeze.state, state.freeze.foreign) == (FreezeState.FROZEN, True)
    log = " ".join(line.text for line in operator.fleet.log_since(operator.vm.id))
    assert "foreign" in log
    assert_refused_as_foreign(calm, operator)


def test_a_foreign_freeze_in_its_hook_is_waited_for_and_refused(
    calm: Guest, operator: Operator
) -> None:
    calm.slow_hook(0.7)
    leave(calm.agent_socket, FREEZE)
    assert_refused_as_foreign(calm, operator)


def test_a_client_that_asks_one_thing_and_leaves_is_waited_for(
    calm: Guest, operator: Operator
) -> None:
    """As another console's visit does, or a page of Proxmox that shows the guest's addresses."""
    somebody = RawClient(calm.agent_socket)
    somebody.sync()
    leaves = threading.Timer(1.0, somebody.close)
    leaves.start()
    running = operator.freeze()
    assert_certified(running.outcome())
    leaves.join()
    calm.assert_thawed()


def test_a_second_client_is_seen_and_nothing_is_sent(calm: Guest, operator: Operator) -> None:
    hooks = calm.hook_log()
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        before = all_read(calm)
        running = operator.freeze()
        outcome = running.outcome()
        assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.BUSY)
        assert "another client" in outcome.reason
        assert f"(pid {os.getpid()})" in outcome.reason
        assert EventKind.SENT not in running.kinds
        assert somebody.buffer == b""
        with RawClient(calm.agent_socket):
            found = clients(calm.agent_socket)
            assert [one.waiting for one in found] == [False, True]
            assert {one.pid for one in found} == {os.getpid()}
    time.sleep(0.5)
    assert bytes_read(calm) == before, "nothing waited for the other client to leave"
    assert calm.hook_log() == hooks
    assert_certified(operator.freeze().outcome())
    calm.assert_thawed()


def test_a_thaw_waits_for_a_second_client_to_leave(calm: Guest, operator: Operator) -> None:
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        assert somebody.freeze() == 2
        thaw = operator.thaw(foreign=True)
        assert "channel" in thaw.wait_progress(lambda progress: progress.what == "thaw").waiting_for
        assert somebody.status() == "frozen", "nobody came between"
        assert not thaw.operation.done
    outcome = thaw.thaw_outcome()
    assert (outcome.ok, outcome.thawed) == (True, 2)
    calm.assert_thawed()


def test_a_second_client_is_told_by_the_kernel_where_the_monitor_does_not_answer(
    calm: Guest, operator: Operator
) -> None:
    with RawClient(calm.agent_socket) as somebody, socket.socket(socket.AF_UNIX) as taken:
        somebody.sync()
        taken.connect(str(calm.monitor_socket))  # it serves one client at a time
        assert taken.recv(1 << 16), "its greeting"
        outcome = operator.freeze().outcome()
        assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.BUSY)
        assert f"pid {os.getpid()}" in outcome.reason
        assert [one.waiting for one in clients(calm.agent_socket)] == [False], "nobody waits"
    assert_certified(operator.freeze().outcome())
    calm.assert_thawed()


def test_without_a_monitor_a_second_client_is_a_silent_agent(calm: Guest) -> None:
    hooks = calm.hook_log()
    with Operator(calm, monitor=False) as operator:
        with RawClient(calm.agent_socket) as somebody:
            somebody.sync()
            running = operator.freeze()
            outcome = running.outcome()
            assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.SILENT)
            assert "look alike" in outcome.reason
            assert EventKind.SENT not in running.kinds
            # The kernel keeps our closed connection in its queue: one more, and that is full.
            with RawClient(calm.agent_socket):
                full = operator.freeze().outcome()
            assert (full.kind, full.refusal) == (OutcomeKind.REFUSED, Refusal.BUSY)
        # Our sync is read when the other has left, but no freeze stands behind it.
        time.sleep(0.5)
        assert calm.hook_log() == hooks
        calm.assert_thawed()
        assert operator.freeze().outcome().frozen == 2
    calm.assert_thawed()


@pytest.mark.parametrize(
    "left",
    [
        half_command(),
        b"\xff" + command("guest-sync-delimited", id=41) + command("guest-fsfreeze-status"),
        command("guest-info") * 3 + half_command(),
        b"}{]\xff\x00 no JSON at all \n",
        b'{"execute": "guest-sync", "arguments": {"id": ' + b"[" * 100,
    ],
    ids=["half", "stale-sync", "stale-replies", "noise", "deep"],
)
def test_what_a_dead_client_left_is_skipped(calm: Guest, operator: Operator, left: bytes) -> None:
    leave(calm.agent_socket, left)
    assert_certified(operator.freeze().outcome())
    calm.assert_thawed()


def test_a_dead_clients_queued_freeze_is_foreign_and_its_agent_is_released(
    calm: Guest, operator: Operator
) -> None:
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        leave(calm.agent_socket, FREEZE)
        assert calm.frozen_mounts() == set()
    # It runs now that the channel is free, and nobody takes its answer: the agent spins.
    wait_until(lambda: calm.frozen_mounts() == {"a", "b"}, PATIENCE_S, "a freeze without owner")
    wait_until(lambda: agent_cpu_s(calm, 0.5) > 0.2, PATIENCE_S, "the agent to spin")
    visit(operator)
    freeze = operator.fleet.get(operator.vm.id).freeze
    assert (freeze.state, freeze.foreign) == (FreezeState.FROZEN, True)
    wait_until(lambda: agent_cpu_s(calm, 0.5) < 0.2, PATIENCE_S, "the agent to rest")
    assert_refused_as_foreign(calm, operator)


def test_a_freeze_queued_behind_ours_is_found_when_we_leave(
    calm: Guest, operator: Operator
) -> None:
    watcher = Watcher(
        operator.fleet,
        operator.accesses,
        [ExplicitBackend([operator.vm])],
        port_interval_s=0.3,
        agent_interval_s=600.0,
    )
    watcher.start()
    try:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        leave(calm.agent_socket, FREEZE)
        running.operation.end_hold()
        assert_certified(running.outcome())
        wait_until(lambda: calm.frozen_mounts() == {"a", "b"}, PATIENCE_S, "a freeze without owner")
        # The channel that we released is looked at once more, long before the agent's turn.
        wait_until(
            lambda: operator.fleet.get(operator.vm.id).freeze.foreign, PATIENCE_S, "it to be found"
        )
    finally:
        watcher.stop()
    assert_refused_as_foreign(calm, operator)
