"""Threads for operations: one for each, which ends with it.

Not the standard library's pool: its threads stay until the process ends, a thousand of them after
a thaw of the whole fleet, and the memory that the C library caches for each of them grows.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeVar

from agentclient.model.errors import NO_THREAD
from agentclient.model.place import NO_PLACE, Place

T = TypeVar("T")
# By how many of the last ones it is told when a turn comes.
_LAST: Final = 32


class WorkFuture(Future[T]):
    """The future of a piece of work in a `WorkQueue`.

    Attributes:
        number: its number in the order of submission, from 1.
    """

    number = 0


class WorkQueue:
    """Runs each piece of work in a thread of its own, in the order of submission.

    Args:
        most: how many run at once; further ones wait.
        name: the prefix of the threads' names, followed by a number.
        monotonic: the clock by which it is told when a turn comes.
    """

    def __init__(
        self, most: int, name: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._monotonic = monotonic
        self._took: deque[float] = deque(maxlen=_LAST)  # seconds, of those that have ended
        self._names = (f"{name}_{number}" for number in itertools.count())
        self._lock = threading.Lock()
        self._busy = 0
        self._asked = self._begun = 0
        self._waiting: dict[int, tuple[WorkFuture[Any], Callable[[], None]]] = {}  # in order
        self._closed = False

    @property
    def most(self) -> int:
        """How many run at once."""
        return self._most

    def submit(self, work: Callable[[], T]) -> WorkFuture[T]:
        """Queue `work`, and return its future.

        Raises:
            RuntimeError: the queue is closed, or the system has no thread for it.
            MemoryError: the system has no memory for a thread.
        """
        future: WorkFuture[T] = WorkFuture()
        do = partial(_do, work, future)
        with self._lock:
            if self._closed:
                raise RuntimeError("frostwatch is leaving")
            if self._busy < self._most:
                self._start(do)
                self._asked += 1
                self._begun = self._asked
                return future
            self._asked += 1
            future.number = self._asked
            self._waiting[future.number] = (future, do)
        return future

    def place(self, turn: WorkFuture[Any]) -> Place:
        """Return a piece of work's place in the queue, from 1; 0 once it has begun."""
        with self._lock:
            if turn.number not in self._waiting:
                return NO_PLACE
            number = turn.number - self._begun
            if not self._took:
                return Place(number)
            # So many at once, each of which takes as long as the last ones on average.
            return Place(number, number * sum(self._took) / len(self._took) / self._most)

    def withdraw(self, turn: WorkFuture[Any]) -> bool:
        """Take a piece of work out of the queue; return False if it has begun."""
        with self._lock:
            return self._waiting.pop(turn.number, None) is not None

    def close(self) -> None:
        """Begin no further work, and cancel the work that waits."""
        with self._lock:
            self._closed = True
            while self._waiting:
                _, (turn, _do_it) = self._waiting.popitem()
                turn.cancel()

    def _start(self, do: Callable[[], None]) -> None:
        """Start a thread; the lock is held."""
        self._busy += 1
        try:
            threading.Thread(target=self._run, args=(do,), name=next(self._names)).start()
        except BaseException:
            self._busy -= 1
            raise

    def _run(self, do: Callable[[], None] | None) -> None:
        while do is not None:
            began = self._monotonic()
            do()
            with self._lock:
                self._took.append(self._monotonic() - began)
                do = self._next()

    def _next(self) -> Callable[[], None] | None:
        """Start the next work in a new thread; if there is none, return it for this one."""
        self._busy -= 1
        if not self._waiting:
            return None
        number = next(iter(self._waiting))
        _, do = self._waiting.pop(number)
        self._begun = number
        try:
            self._start(do)
        except NO_THREAD:
            self._busy += 1
            return do
        return None


def _do(work: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is for whoever waits for the result
        future.set_exception(error)
