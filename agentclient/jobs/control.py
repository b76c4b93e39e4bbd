"""Cancels a job from another thread, and limits its speed."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agentclient.jobs.errors import JobCancelled


class JobControl:
    """The operator's instructions to a job that runs; thread-safe.

    Attributes:
        cancelled: is set once, by `cancel`.
        left: is set once, by `leave`; a job that was left can't be cancelled any more.
        can_be_left: QEMU goes on without us with what the job has begun.
    """

    def __init__(self, limit: int = 0) -> None:
        self.cancelled = threading.Event()
        self.left = threading.Event()
        self.can_be_left = False
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []
        self._limit = limit

    @property
    def limit(self) -> int:
        """The most bytes a second that it may copy; 0 without a limit."""
        with self._lock:
            return self._limit

    def set_limit(self, limit: int) -> None:
        """Change the limit; it counts from the job's next look at QEMU on."""
        with self._lock:
            self._limit = limit

    def cancel(self) -> None:
        """Stop the job; doing it again changes nothing."""
        with self._lock:
            if self.left.is_set():
                return
            callbacks = [] if self.cancelled.is_set() else list(self._callbacks)
            self.cancelled.set()
        for callback in callbacks:
            callback()

    def leave(self) -> bool:
        """Have QEMU go on alone with what the job has begun; return whether it can."""
        with self._lock:
            if self.can_be_left and not self.cancelled.is_set():
                self.left.set()
            return self.left.is_set()

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the job is cancelled; at once if it is already."""
        with self._lock:
            late = self.cancelled.is_set()
            if not late:
                self._callbacks.append(callback)
        if late:
            callback()

    def check(self) -> None:
        """End the job if it was cancelled.

        Raises:
            JobCancelled: it was.
        """
        if self.cancelled.is_set():
            raise JobCancelled("stopped by the operator")

    def wait(self, seconds: float) -> None:
        """Wait; a cancellation ends it at once.

        Raises:
            JobCancelled: it was cancelled.
        """
        self.cancelled.wait(seconds)
        self.check()
