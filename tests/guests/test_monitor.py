"""What a monitor shows of a real guest without a word to it, and what is left where it lacks it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentclient.access.monitor import Monitor
from agentclient.access.stream import UnixEndpoint
from agentclient.freeze.freeze_schedule import WATCH_S
from agentclient.freeze.port_watch import Change, PortWatch
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, OutcomeKind, RunState
from agentclient.model.vm import AgentChannel
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator, evidence
from tests.guests.lab import PATIENCE_S, Guest, RawClient
from tests.guests.lab.shell import wait_until
from tests.guests.qmp_proxy import PoorerMonitor

QUEUES = "x-query-virtio-queue-status"


def monitor_of(guest: Guest, *, path: Path | None = None, ours: bool = False) -> Monitor:
    """The product's eye on a guest."""
    endpoint = UnixEndpoint(path or guest.monitor_socket)
    return Monitor(endpoint, AgentChannel(guest.agent_socket), ours=ours)


@pytest.fixture
def monitor(calm: Guest) -> Iterator[Monitor]:
    """The same on the shared guest."""
    with closing(monitor_of(calm)) as it:
        yield it


@pytest.fixture
def poorer(calm: Guest) -> Iterator[PoorerMonitor]:
    """The shared guest's monitor, as of a QEMU that can't show queues."""
    with PoorerMonitor(calm.monitor_socket, calm.directory / "poorer.sock", QUEUES) as it:
        yield it


def kill_and_wait(guest: Guest) -> None:
    """Kill the agent, and wait until the next one has its port open (respawned at once)."""
    deaths = guest.agent_deaths()
    guest.kill_agent()
    wait_until(lambda: guest.agent_deaths() > deaths, PATIENCE_S, "the agent's end")
    guest.wait_agent()


def saw(watch: PortWatch, view: MonitorView) -> list[Change]:
    """What one more look shows."""
    return watch.on_look(time.monotonic(), view)


def test_a_look_shows_both_ends_and_disturbs_nobody(calm: Guest, monitor: Monitor) -> None:
    idle = monitor.look()
    assert (idle.run_state, idle.port_open, idle.client) == (RunState.RUNNING, True, False)
    assert idle.problem is None
    assert idle.openings is not None
    assert idle.reads is not None
    assert idle.written_bytes is not None
    assert (idle.sole_port, idle.gone, idle.resets) == (True, False, None)
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        assert monitor.look().client is True
        assert somebody.status() == "thawed"
    # The monitor serves one client: it is free again after each look.
    with socket.socket(socket.AF_UNIX) as next_one:
        next_one.settimeout(PATIENCE_S)
        next_one.connect(str(calm.monitor_socket))
        assert "QMP" in json.loads(next_one.recv(65536))


def test_the_port_closes_and_opens_with_its_agent(calm: Guest, monitor: Monitor) -> None:
    before = monitor.look()
    watch = PortWatch(before, time.monotonic())
    calm.kill_agent()
    wait_until(lambda: monitor.look().port_open is False, PATIENCE_S, "the port to close")
    closed = monitor.look()
    assert closed.openings == (before.openings or 0) + 1
    assert saw(watch, closed) == [Change.CLOSED]
    causes = [watch.cause]
    calm.start_agent()
    assert saw(watch, monitor.look()) == [Change.OPENED]
    assert [*causes, watch.cause] == [Cause.AGENT_GONE, Cause.AGENT_RESTARTED]
    assert watch.ever_closed


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.soak)])
def test_every_immediate_respawn_is_counted(calm: Guest, monitor: Monitor, kills: int) -> None:
    calm.set_respawn(0)
    watch = PortWatch(monitor.look(), time.monotonic())
    for _ in range(kills):
        before = monitor.look().openings
        kill_and_wait(calm)
        after = monitor.look()
        assert after.openings == (before or 0) + 2
        # One look before and one after, as far apart as they may be: it is seen all the same.
        assert saw(watch, after) == [Change.RESTARTED]
    assert watch.cause is Cause.AGENT_RESTARTED


def test_was_it_read(calm: Guest, monitor: Monitor) -> None:
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        baseline = monitor.look()
        watch = PortWatch(baseline, time.monotonic())
        calm.stop_agent()
        somebody.send_command("guest-fsfreeze-status")
        calm.shell("sleep 0.5")
        unread = monitor.look()
        assert unread.reads == baseline.reads
        saw(watch, unread)
        assert watch.read is False
        calm.continue_agent()
        assert somebody.read_reply() == {"return": "thawed"}
        read = monitor.look()
        assert read.reads != baseline.reads
        saw(watch, read)
        assert watch.read is True


def test_without_the_guests_own_index_reads_are_unknown(calm: Guest) -> None:
    path = calm.directory / "poorer.sock"
    element = "x-query-virtio-queue-element"
    with (
        PoorerMonitor(calm.monitor_socket, path, element),
        Operator(calm, monitor_path=path) as operator,
    ):
        outcome = operator.freeze().outcome()
    assert evidence(outcome)["read"] == "unknown"
    assert outcome.certified


def test_a_held_monitor_tells_events(calm: Guest) -> None:
    with closing(monitor_of(calm, ours=True)) as monitor:
        first = monitor.look()
        assert first.resets == 0
        fd = monitor.event_fd()
        assert fd is not None
        calm.reset(wait=False)
        wait_until(lambda: (monitor.look().resets or 0) > 0, PATIENCE_S, "the reset to be told")
        assert monitor.event_fd() == fd, "the session is held"
        calm.wait_reset()


@pytest.mark.parametrize("ours", [False, True], ids=["polled", "held"])
def test_a_reset_is_proven_by_its_event_alone(calm: Guest, ours: bool) -> None:
    with closing(monitor_of(calm, ours=ours)) as monitor:
        watch = PortWatch(monitor.look(), time.monotonic())
        calm.reset(wait=False)
        changes = saw(watch, monitor.look())
        deadline = time.monotonic() + PATIENCE_S
        while Change.OPENED not in changes and time.monotonic() < deadline:
            time.sleep(WATCH_S)
            changes += saw(watch, monitor.look())
        calm.wait_reset()
    assert (Change.RESET in changes, Change.DEVICE_RESET in changes) == (ours, not ours)
    assert Change.RESTARTED not in changes
    assert watch.cause is (Cause.GUEST_RESET if ours else Cause.UNKNOWN)
    assert watch.reset is ours


def test_waking_up_is_no_reset(boot: Boot) -> None:
    guest = boot(name="sleeps", suspendable=True, mounts=("a",))
    with closing(monitor_of(guest)) as monitor:
        watch = PortWatch(monitor.look(), time.monotonic())
        guest.suspend()
        asleep = monitor.look()
        assert (asleep.run_state, asleep.port_open) == (RunState.SUSPENDED, False)
        assert set(saw(watch, asleep)) == {Change.CLOSED, Change.BLOCKED}
        assert watch.cause is Cause.GUEST_SUSPENDED
        guest.wake()
        guest.wait_agent()
        assert set(saw(watch, monitor.look())) == {Change.OPENED, Change.RELEASED}
        assert not watch.reset
        assert watch.cause is Cause.GUEST_SUSPENDED


def test_without_queues_the_port_is_polled(calm: Guest, poorer: PoorerMonitor) -> None:
    with closing(monitor_of(calm, path=poorer.path)) as monitor:
        view = monitor.look()
        assert (view.port_open, view.openings, view.reads) == (True, None, None)
        assert view.problem is None
        assert view.written_bytes is not None
        watch = PortWatch(view, time.monotonic())
        calm.kill_agent()
        wait_until(lambda: monitor.look().port_open is False, PATIENCE_S, "the port to close")
        assert saw(watch, monitor.look()) == [Change.CLOSED]
        assert watch.read is None


def test_without_queues_events_count_the_restarts(calm: Guest, poorer: PoorerMonitor) -> None:
    with closing(monitor_of(calm, path=poorer.path, ours=True)) as monitor:
        watch = PortWatch(monitor.look(), time.monotonic())
        calm.set_respawn(0)
        kill_and_wait(calm)
        changes: list[Change] = []

        def restarted() -> bool:
            changes.extend(saw(watch, monitor.look()))
            return Change.RESTARTED in changes

        # QEMU sends one such event a second at the most.
        wait_until(restarted, PATIENCE_S, "the restart")
    assert Change.RESTARTED in changes
    assert watch.ever_closed


def test_without_queues_a_freeze_is_verified_all_the_same(
    calm: Guest, poorer: PoorerMonitor
) -> None:
    with Operator(calm, monitor_path=poorer.path) as operator:
        outcome = operator.freeze().outcome()
    assert outcome.kind is OutcomeKind.VERIFIED
    found = evidence(outcome)
    assert (found["port"], found["read"]) == ("for", "unknown")
    assert outcome.certified
    calm.assert_thawed()


def test_a_busy_monitor_means_less_evidence(calm: Guest) -> None:
    with socket.socket(socket.AF_UNIX) as somebody, Operator(calm) as operator:
        somebody.connect(str(calm.monitor_socket))
        view = operator.accesses.of(operator.vm).observe()
        assert view.port_open is None
        assert "another client holds it" in (view.problem or "")
        outcome = operator.freeze().outcome()
    assert outcome.kind is OutcomeKind.UNVERIFIED
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True)
    assert evidence(outcome)["port"] == "unknown"
    assert "can't be seen (monitor: " in outcome.reason
    calm.assert_thawed()


def test_a_vm_that_has_gone(boot: Boot) -> None:
    guest = boot(name="gone", mounts=("a",))
    with closing(monitor_of(guest)) as monitor:
        assert not monitor.look().gone
        guest.kill_qemu()
        view = monitor.look()
    assert (view.gone, view.run_state) == (True, RunState.GONE)


def test_run_states(calm: Guest, monitor: Monitor) -> None:
    calm.pause()
    assert monitor.look().run_state is RunState.PAUSED
    assert monitor.look().port_open is True, "a paused guest keeps its port open"
    calm.resume()
    assert monitor.look().run_state is RunState.RUNNING


def test_written_bytes_rise_with_the_guests_writes(calm: Guest, monitor: Monitor) -> None:
    before = monitor.look().written_bytes
    calm.shell("dd if=/dev/zero of=/mnt/a/some bs=64k count=4 conv=fsync 2>/dev/null")
    after = monitor.look().written_bytes
    assert before is not None
    assert after is not None
    assert after - before >= 4 * 65536
