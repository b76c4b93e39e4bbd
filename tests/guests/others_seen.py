"""What `frostwatch watch` tells of a real guest while others use its agent, and how soon."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple, Self

from agentclient import Engine
from agentclient.fleet.watch_events import WatchEvent, WatchEventKind, WatchLog
from agentclient.model.clock import now
from agentclient.model.snapshot import VmState
from agentclient.model.states import OthersState
from tests.guests.lab import PATIENCE_S, Guest


class Seen(NamedTuple):
    """An event, and when it was told (monotonic clock)."""

    at: float
    event: WatchEvent


class OthersSeen:
    """Watches a guest as `watch` does, and remembers what that tells.

    Args:
        guest: the guest.
        agent_interval_s: seconds between two questions to its agent.
    """

    def __init__(self, guest: Guest, agent_interval_s: float = 15.0) -> None:
        self.engine = Engine(
            [guest.vm_argument], named_only=True, agent_interval_s=agent_interval_s
        )
        self._told: list[Seen] = []
        self._news = threading.Condition()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._taken = 0

    def __enter__(self) -> Self:
        self.engine.look()
        self.engine.watch()
        self._thread.start()
        self.wait(WatchEventKind.AGENT_ALIVE)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self.engine.close()

    @property
    def state(self) -> VmState:
        """What is known of the guest now."""
        (state,) = self.engine.states()
        return state

    @property
    def others(self) -> OthersState | None:
        """What others have pending now; None if nobody is known to hold the channel."""
        others = self.state.others
        return others.state if others is not None else None

    @property
    def rest(self) -> list[WatchEventKind]:
        """What was told and not waited for."""
        with self._news:
            return [one.event.kind for one in self._told[self._taken :]]

    def wait(self, kind: WatchEventKind, timeout_s: float = PATIENCE_S) -> Seen:
        """Wait for the next event, which has to be of a kind; agents that come and go are skipped.

        Args:
            kind: what has to happen.
            timeout_s: how long it may take, in seconds.
        """
        until = time.monotonic() + timeout_s
        while True:
            with self._news:
                assert self._news.wait_for(
                    lambda: len(self._told) > self._taken, until - time.monotonic()
                ), f"no {kind}; {self.state.agent}, {self.state.others}, {self._told}"
                one = self._told[self._taken]
                self._taken += 1
            if one.event.kind is kind:
                return one
            assert one.event.kind in _PASSING, (kind, one, self._told)

    def _follow(self) -> None:
        log, reader = WatchLog(), self.engine.fleet.reader()
        while not self._ends.wait(0.01):
            changed = reader.changes().changed
            with self._news:
                for state in changed:
                    self._told += [Seen(time.monotonic(), one) for one in log.take(state, now())]
                self._news.notify_all()


_PASSING = {
    WatchEventKind.VM_FOUND,
    WatchEventKind.AGENT_ALIVE,
    WatchEventKind.AGENT_GONE,
    WatchEventKind.AGENT_SILENT,
}
