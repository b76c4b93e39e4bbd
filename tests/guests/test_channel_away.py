"""Paths that are away, and channels that break, say nothing of a guest that may be frozen (P9)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentclient.model.events import EventKind
from agentclient.model.states import Cause, OutcomeKind, RunState
from agentclient.model.vm import AgentChannel, MonitorChannel, Vm, VmId
from tests.guests.command import Frostwatch, holders_of
from tests.guests.forward import Forward
from tests.guests.freezing import Operator
from tests.guests.lab import PATIENCE_S, Guest, RawClient
from tests.guests.lab.shell import wait_until
from tests.guests.others_seen import OthersSeen

# So long a look at the monitor takes at the most, and a little more; and how often it is looked at.
LATE_ONCE_S = 0.8
LOOK_EVERY_S = 2.2


@pytest.fixture
def frostwatch(calm: Guest) -> Iterator[Frostwatch]:
    started = Frostwatch(calm)
    yield started
    started.close()


@pytest.fixture
def forward(calm: Guest, tmp_path: Path) -> Iterator[Forward]:
    """A forward with the same name as the agent's socket, so that the monitor knows its chardev."""
    with Forward(calm.agent_socket, tmp_path / calm.agent_socket.name) as made:
        yield made


@contextmanager
def moved_away(path: Path) -> Iterator[None]:
    """As a cleaner of temporary files does it, or a second QEMU with the same command line."""
    elsewhere = path.with_suffix(".elsewhere")
    path.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(path)


class Through(Operator):
    """Somebody who reaches the agent through a forward."""

    def __init__(self, guest: Guest, forward: Forward, *, monitor: bool) -> None:
        super().__init__(guest, monitor=monitor)
        channel = MonitorChannel(guest.monitor_socket) if monitor else None
        self.vm = Vm(VmId("socket", guest.name), AgentChannel(forward.path), channel)
        self.fleet.set_vms("socket", [self.vm])


def holder_ends(holder: int) -> None:
    def gone() -> bool:
        try:
            return b") Z " in Path(f"/proc/{holder}/stat").read_bytes()
        except OSError:
            return True

    wait_until(gone, PATIENCE_S, "the holder's end")


# -- the monitor's path --------------------------------------------------------------------------


def test_a_monitor_that_is_away_while_it_is_held_changes_nothing_for_the_guest(
    calm: Guest, operator: Operator
) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    with moved_away(calm.monitor_socket):
        time.sleep(1.0)
        assert calm.frozen_mounts() == {"a", "b"}
        running.operation.end_hold()
        outcome = running.outcome()
        calm.assert_thawed()
    assert (outcome.kind, outcome.frozen, outcome.thawed) == (OutcomeKind.VERIFIED, 2, 2)
    assert (outcome.settled, outcome.cause) == (True, None)
    assert not outcome.certified, "nobody has seen the port until the end"
    assert "gone" not in running.texts


def test_without_its_monitor_the_holder_thaws_as_well(calm: Guest, frostwatch: Frostwatch) -> None:
    child = frostwatch.freeze_until("held", "--hold", "100")
    (holder,) = holders_of(child.pid)
    with moved_away(calm.monitor_socket):
        child.kill()
        holder_ends(holder)
        calm.assert_thawed()


def test_a_thaw_without_the_monitor_asks_the_agent(calm: Guest, operator: Operator) -> None:
    with RawClient(calm.agent_socket) as somebody:
        somebody.sync()
        assert somebody.freeze() == 2
    with moved_away(calm.monitor_socket):
        outcome = operator.thaw(foreign=True).thaw_outcome()
    assert (outcome.ok, outcome.thawed) == (True, 2)
    calm.assert_thawed()


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """As a host stops a QEMU that it has no time for."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_qemu_that_is_late_once_is_told_as_before_and_one_that_hangs_is_unknown(
    calm: Guest,
) -> None:
    with OthersSeen(calm) as seen:
        for _ in range(3):
            with stopped(calm.qemu_pid):
                time.sleep(LATE_ONCE_S)
            until = time.monotonic() + LOOK_EVERY_S
            while time.monotonic() < until:
                assert (seen.state.run_state, seen.state.trouble) == (RunState.RUNNING, None)
                time.sleep(0.02)
        with stopped(calm.qemu_pid):
            wait_until(lambda: seen.state.run_state is RunState.UNKNOWN, PATIENCE_S, "unknown")
            assert str(seen.state.trouble).startswith("monitor: ")
        wait_until(lambda: seen.state.run_state is RunState.RUNNING, PATIENCE_S, "running")
        assert seen.state.trouble is None


# -- the agent's channel -------------------------------------------------------------------------


@pytest.mark.parametrize("monitor", [False, True], ids=["no-monitor", "monitor"])
@pytest.mark.parametrize("away_s", [5.0])
def test_a_channel_that_breaks_while_it_is_held_is_had_again(
    calm: Guest, forward: Forward, monitor: bool, away_s: float
) -> None:
    with Through(calm, forward, monitor=monitor) as operator:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        forward.away(away_s)
        outcome = running.outcome()
        calm.assert_thawed()
    assert (outcome.thawed, outcome.settled) == (2, True)
    assert not outcome.certified


def test_a_channel_that_breaks_while_the_freeze_is_pending_is_had_again(
    calm: Guest, forward: Forward
) -> None:
    calm.held_hook()
    with Through(calm, forward, monitor=True) as operator:
        running = operator.freeze()
        running.wait_progress(lambda progress: progress.read is True)
        forward.away(1.0)
        calm.release_hook()
        outcome = running.outcome()
        calm.assert_thawed()
    assert (outcome.kind, outcome.cause) == (OutcomeKind.PARTIAL, Cause.CHANNEL_BROKEN)
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 2, True)
    assert calm.hook_log()[-2:] == ["freeze", "thaw"]


@pytest.mark.parametrize("broken_first", [False, True], ids=["then-broken", "broken-first"])
def test_the_holder_of_a_dead_console_has_a_broken_channel_again(
    calm: Guest, forward: Forward, broken_first: bool
) -> None:
    frostwatch = Frostwatch(calm)
    through = calm.vm_argument.replace(str(calm.agent_socket), str(forward.path))
    frostwatch.known[1] = through  # the guest, by another way
    try:
        child = frostwatch.freeze_until("held", "--hold", "100")
        (holder,) = holders_of(child.pid)
        if broken_first:
            forward.end()
            time.sleep(0.3)
            child.kill()
        else:
            child.send_signal(signal.SIGSTOP)
            forward.end()
            child.kill()
        time.sleep(1.0)
        forward.begin()
        holder_ends(holder)
        calm.assert_thawed()
    finally:
        frostwatch.close()


def test_a_thaw_waits_for_a_channel_that_is_away_for_a_moment(
    calm: Guest, forward: Forward
) -> None:
    with Through(calm, forward, monitor=True) as operator:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        forward.end()
        running.wait_progress(lambda progress: "channel" in progress.waiting_for)
        time.sleep(2.0)
        assert not running.operation.done
        forward.begin()
        assert running.outcome().settled
    calm.assert_thawed()
