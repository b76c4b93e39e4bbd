"""What whoever has begun a job holds of it: its place, its end, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import ClassVar

from agentclient.jobs.context import JobContext
from agentclient.model.job import JobKind, JobOutcome
from agentclient.model.vm import Vm


class JobHandle:
    """One job on one VM, as its caller sees it; thread-safe.

    Args:
        context: its collaborators.

    Attributes:
        kind: what it does.
    """

    kind: ClassVar[JobKind]

    def __init__(self, context: JobContext) -> None:
        self.context = context
        self._result: Future[JobOutcome] = Future()
        self._place: Callable[[], int] = lambda: 0
        self._withdraw: Callable[[], object] = lambda: None

    @property
    def vm(self) -> Vm:
        """The VM as it was when the job was asked for."""
        return self.context.vm

    @property
    def place(self) -> int:
        """Its place in the queue, from 1; 0 once it has begun."""
        return 0 if self.done else self._place()

    def cancel(self) -> None:
        """Stop it, thaw the guest, and undo what was begun; doing it again changes nothing."""
        self.context.control.cancel()
        self._withdraw()

    def leave(self) -> None:
        """Leave it to QEMU if it can go on without us, since the guest is thawed; else stop it.

        The next frostwatch finds what QEMU goes on with (`agentclient.jobs.left`).
        """
        if not self.context.control.leave():
            self.cancel()

    def set_limit(self, limit: int) -> None:
        """Limit its speed to so many bytes a second; 0 for no limit."""
        self.context.control.set_limit(limit)

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._result.done()

    def wait(self, timeout_s: float | None = None) -> JobOutcome | None:
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

    def queued_by(self, place: Callable[[], int], withdraw: Callable[[], object]) -> None:
        """Set the functions that return its place in the queue, and take it out of that."""
        self._place, self._withdraw = place, withdraw

    def settle(self, outcome: JobOutcome) -> None:
        """Set the outcome, and report it."""
        self.context.reporter.ended(outcome)
        self._result.set_result(outcome)
