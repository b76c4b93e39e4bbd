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
from typing import Any, TypeVar

T = TypeVar("T")


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
            RuntimeError: nothing is begun any more, or the system has no thread for it.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("nothing is begun any more")
            self._waiting.append((future, partial(_do, work, future)))
            try:
                self._begin()
            except RuntimeError:
                if not self._busy:  # nobody would come to it
                    self._waiting.clear()
                    raise
        return future

    def close(self) -> None:
        """Begin nothing any more, and cancel what waits."""
        with self._lock:
            self._closed = True
            while self._waiting:
                self._waiting.popleft()[0].cancel()

    def _begin(self) -> None:
        """Give those whose turn it is a thread; the lock is held."""
        while self._waiting and self._busy < self._most:
            _, do = self._waiting[0]
            threading.Thread(target=self._run, args=(do,), name=next(self._names)).start()
            self._waiting.popleft()
            self._busy += 1

    def _run(self, do: Callable[[], None]) -> None:
        while True:
            do()
            with self._lock:
                self._busy -= 1
                try:
                    self._begin()
                except RuntimeError:  # no thread for the next one: this one is
                    _, do = self._waiting.popleft()
                    self._busy += 1
                else:
                    return


def _do(work: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is for whoever waits for the result
        future.set_exception(error)
