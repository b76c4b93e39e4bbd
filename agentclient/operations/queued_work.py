"""What whoever has begun something that waits for its turn holds of it: its place, and its end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Generic, TypeVar

from agentclient.model.place import NO_PLACE, Place

T = TypeVar("T")


class QueuedWork(Generic[T]):
    """Work that waits in a queue, and has an outcome in the end; thread-safe."""

    def __init__(self) -> None:
        self._result: Future[T] = Future()
        self._place: Callable[[], Place] = lambda: NO_PLACE
        self._withdraw: Callable[[], object] = lambda: None

    @property
    def place(self) -> Place:
        """Its place in the queue, from 1; 0 once it has begun."""
        return NO_PLACE if self.done else self._place()

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._result.done()

    def wait(self, timeout_s: float | None = None) -> T | None:
        """Wait for the outcome, and return it.

        Args:
            timeout_s: how long to wait, in seconds; None without a bound.

        Returns:
            The outcome; None if it still runs.
        """
        try:
            return self._result.result(timeout_s)
        except FutureTimeout:
            return None

    def replace_result(self, outcome: T) -> None:
        """Set another outcome, which is returned from now on."""
        replaced: Future[T] = Future()
        replaced.set_result(outcome)
        self._result = replaced

    def queued_by(self, place: Callable[[], Place], withdraw: Callable[[], object]) -> None:
        """Set the functions that return its place in the queue, and take it out of that."""
        self._place, self._withdraw = place, withdraw
