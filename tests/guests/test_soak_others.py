"""How soon it is told what others have pending and lost, and that they are never disturbed.

Two kinds of others: one that keeps its connection, as libvirt does, and a worker that connects for
each command, as Proxmox's does.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient import Engine
from agentclient.fleet.watch_events import WatchEventKind
from agentclient.model.states import AgentState, OthersState
from tests.guests.forward import Forward
from tests.guests.lab import Guest, RawClient
from tests.guests.lab.shell import wait_until
from tests.guests.others_seen import OthersSeen
from tests.guests.worker import Worker

pytestmark = [pytest.mark.soak, pytest.mark.alone]

K = WatchEventKind
TIMES = 20
ROUNDS, BLOCKS = 20, 10  # with us, and as many without us in between
PATIENCE_S = 20.0
# The targets, and what a machine that runs other guests as well is allowed.
PENDING_S, LOST_MEDIAN_S, LOST_WORST_S, GENEROUS = 2.0, 0.5, 1.0, 2.0
MOST_TIMES_ALONE = 1.05


def _told(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    print(f"{name}: median {statistics.median(ordered):.2f} s, worst {ordered[-1]:.2f} s")


def _within(pending: list[float], lost: list[float], who: str) -> None:
    _told(f"{who}: sent to pending", pending)
    _told(f"{who}: killed to lost", lost)
    assert (len(pending), len(lost)) == (TIMES, TIMES)
    assert max(pending) < PENDING_S * GENEROUS
    assert statistics.median(lost) < LOST_MEDIAN_S * GENEROUS
    assert max(lost) < LOST_WORST_S * GENEROUS


def _next(guest: Guest, seen: OthersSeen) -> None:
    """Have an agent again, and nobody at its channel."""
    guest.clear_hook()
    guest.start_agent()
    wait_until(lambda: seen.others is None, PATIENCE_S, "they are gone")
    wait_until(lambda: seen.state.agent.state is AgentState.ALIVE, PATIENCE_S, "an agent")


def test_what_one_who_stays_has_pending_and_lost_is_told_soon(guest: Guest) -> None:
    pending, lost = [], []
    with OthersSeen(guest) as seen:
        for _ in range(TIMES):
            guest.hanging_hook()
            with RawClient(guest.agent_socket) as client:
                client.sync()
                wait_until(lambda: seen.others is not None, PATIENCE_S, "they are seen")
                client.send_command("guest-fsfreeze-freeze")
                sent = time.monotonic()
                pending.append(seen.wait(K.OTHERS_PENDING).at - sent)
                guest.kill_agent()
                killed = time.monotonic()
                lost.append(seen.wait(K.OTHERS_LOST).at - killed)
            _next(guest, seen)
    _within(pending, lost, "one who stays")


def test_what_a_worker_has_pending_and_lost_is_told_soon(guest: Guest) -> None:
    pending, lost = [], []
    with OthersSeen(guest) as seen:
        for _ in range(TIMES):
            guest.hanging_hook()
            with Worker(guest.agent_socket) as worker:
                sent = worker.freeze()
                pending.append(seen.wait(K.OTHERS_PENDING).at - sent)
                guest.kill_agent()
                killed = time.monotonic()
                lost.append(seen.wait(K.OTHERS_LOST).at - killed)
            _next(guest, seen)
    _within(pending, lost, "a worker")


class Counted(Forward):
    """Counts who connects through it."""

    count = 0

    def _pass_on(self, client: socket.socket) -> None:
        self.count += 1
        super()._pass_on(client)


@pytest.fixture
def counted(guest: Guest, tmp_path: Path) -> Iterator[Counted]:
    """Our own way to the guest's agent: others go past it."""
    with Counted(guest.agent_socket, tmp_path / "qga.sock") as made:
        yield made


def _engine(guest: Guest, counted: Counted) -> Engine:
    argument = f"name={guest.name},agent={counted.path},monitor={guest.monitor_socket}"
    return Engine([argument], named_only=True, agent_interval_s=1)


def _rounds(client: RawClient) -> list[float]:
    """Freeze and thaw, as a client of its own that holds the channel; none may fail."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        assert client.freeze() == 2
        assert client.thaw() == 2
        seconds.append(time.monotonic() - began)
    return seconds


def _compared(alone: list[float], watched: list[float], ratios: list[float]) -> None:
    _told("alone", alone)
    _told("watched", watched)
    ratio = statistics.median(watched) / statistics.median(alone)
    print(f"ratio of the medians {ratio:.3f}, of the blocks' {statistics.median(ratios):.3f}")
    assert min(ratio, statistics.median(ratios)) < MOST_TIMES_ALONE


@pytest.mark.timeout(1200)
def test_one_who_stays_is_never_disturbed(guest: Guest, counted: Counted) -> None:
    """In blocks by turns, so that what else the machine does slows down both."""
    alone: list[float] = []
    watched: list[float] = []
    ratios = []
    with RawClient(guest.agent_socket) as client:
        client.sync()
        for _ in range(BLOCKS):
            without = _rounds(client)
            with _engine(guest, counted) as engine:
                engine.look()
                engine.watch()
                wait_until(lambda: _state(engine) is not None, PATIENCE_S, "they are seen")
                time.sleep(1.0)
                within = _rounds(client)
            ratios.append(statistics.median(within) / statistics.median(without))
            alone += without
            watched += within
    assert counted.count == 0, "we have connected to the agent"
    _compared(alone, watched, ratios)


def _state(engine: Engine) -> OthersState | None:
    (state,) = engine.states()
    return state.others.state if state.others is not None else None


@pytest.mark.timeout(1200)
def test_a_worker_never_fails_for_us(guest: Guest, counted: Counted) -> None:
    """Its channel is free between two commands: then we may ask, and it waits that long at most."""
    alone: list[float] = []
    watched: list[float] = []
    ratios = []
    with Worker(guest.agent_socket) as worker:
        for _ in range(BLOCKS):
            failed, without = worker.rounds(ROUNDS)
            assert failed == 0
            with _engine(guest, counted) as engine:
                engine.look()
                engine.watch()
                time.sleep(1.0)
                failed, within = worker.rounds(ROUNDS)
            assert failed == 0
            ratios.append(statistics.median(within) / statistics.median(without))
            alone += without
            watched += within
    print(f"we have asked {counted.count} times")
    _told("alone", alone)
    _told("watched", watched)
    print(f"median ratio of the blocks {statistics.median(ratios):.3f}")
