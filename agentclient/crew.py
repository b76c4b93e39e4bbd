"""Threads for operations: one for each, and none that stays behind.

Not the standard library's pool: its threads stay until the process ends, a thousand of them once a
fleet was thawed with one key, and each keeps what the C library has cached for it, which grows.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

NO_THREAD: Final = (RuntimeError, MemoryError)
"""What is raised where work can't begin."""


class Crew:
    """Runs each piece of work in a thread of its own, in the order in which it came.

    Args:
        most: so many at once; further ones wait their turn.
        name: what the threads are called, with a number behind it.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._names = (f"{name}_{number}" for number in itertools.count())
        self._lock = threading.Lock()
        self._busy = 0
        self._waiting: deque[tuple[Future[Any], Callable[[], None]]] = deque()
        self._closed = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` as soon as it is its turn.

        Raises:
            RuntimeError: the crew is closed, or the system has no thread for it.
            MemoryError: the system has no memory for a thread.
        """
        future: Future[T] = Future()
        do = partial(_do, work, future)
        with self._lock:
            if self._closed:
                raise RuntimeError("frostwatch is leaving")
            if self._busy < self._most:
                self._start(do)
            else:
                self._waiting.append((future, do))
        return future

    def close(self) -> None:
        """Begin nothing any more, and cancel what waits."""
        with self._lock:
            self._closed = True
            while self._waiting:
                self._waiting.popleft()[0].cancel()

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
            do()
            with self._lock:
                do = self._next()

    def _next(self) -> Callable[[], None] | None:
        """Pass the place on; return what this thread has to do itself, as there is no other."""
        self._busy -= 1
        if not self._waiting:
            return None
        _, do = self._waiting.popleft()
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
