"""How soon it is told what others have pending and lost, and that they are never disturbed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

from agentclient import Engine
from agentclient.model.others import Others
from agentclient.model.states import OthersState
from tests.guests.lab import Guest, RawClient
from tests.guests.lab.shell import wait_until

pytestmark = pytest.mark.soak

TIMES = 20
ROUNDS = 200
PATIENCE_S = 20.0


def _others(engine: Engine) -> Others | None:
    (state,) = engine.states()
    return state.others


def _until(engine: Engine, *wanted: OthersState) -> float:
    """Return how long it takes until others are seen in one of these states, in seconds."""
    began = time.monotonic()
    while (found := _others(engine)) is None or found.state not in wanted:
        assert time.monotonic() - began < PATIENCE_S, found
        time.sleep(0.005)
    return time.monotonic() - began


def _told(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    print(f"{name}: median {statistics.median(ordered):.2f} s, worst {ordered[-1]:.2f} s")


def test_what_is_pending_and_what_is_lost_is_told_soon(guest: Guest) -> None:
    pending, lost = [], []
    with Engine([guest.vm_argument], named_only=True) as engine:
        engine.look()
        engine.watch()
        for _ in range(TIMES):
            guest.hanging_hook()
            with RawClient(guest.agent_socket) as client:
                client.sync()
                _until(engine, OthersState.IDLE, OthersState.TALKING, OthersState.UNKNOWN)
                client.send_command("guest-fsfreeze-freeze")
                pending.append(_until(engine, OthersState.PENDING))
                guest.kill_agent()
                lost.append(_until(engine, OthersState.LOST))
            guest.clear_hook()
            guest.start_agent()
            guest.wait_agent()
            wait_until(lambda: _others(engine) is None, PATIENCE_S, "they are gone")
    _told("sent to pending", pending)
    _told("killed to lost", lost)
    assert len(lost) == TIMES


def test_others_are_never_disturbed(guest: Guest) -> None:
    alone = _rounds(guest)
    with Engine([guest.vm_argument], named_only=True, agent_interval_s=1) as engine:
        engine.look()
        engine.watch()
        watched = _rounds(guest, lambda: _others(engine))
    _told("alone", alone)
    _told("watched", watched)
    ratio = statistics.median(watched) / statistics.median(alone)
    print(f"ratio of the medians: {ratio:.2f}")


def _rounds(guest: Guest, look: Callable[[], object] = lambda: None) -> list[float]:
    """Freeze and thaw, as a client of its own that holds the channel; none may fail."""
    seconds = []
    with RawClient(guest.agent_socket) as client:
        client.sync()
        time.sleep(3)  # whoever watches has seen by now that the channel is held
        for _ in range(ROUNDS):
            began = time.monotonic()
            assert client.freeze() == 2
            assert client.thaw() == 2
            seconds.append(time.monotonic() - began)
            look()
    return seconds
