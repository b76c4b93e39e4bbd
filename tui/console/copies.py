"""The copies of this console, behind what begins them: imported when the first one is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from agentclient.model.errors import NO_THREAD, FrostwatchError, why_no_thread
from agentclient.model.vm import VmId
from tui.console.ports import JobPort, JobsPort

T = TypeVar("T")


def no_jobs() -> JobsPort:
    """Refuse: nothing in this process copies anything.

    Raises:
        FrostwatchError: always.
    """
    raise FrostwatchError("nothing is copied here")


class Copies:
    """The copies that this console has begun.

    Args:
        open_jobs: returns what begins copies; imports it, and so takes a moment.
        folder: where copies go if nobody says otherwise; None if nothing is set.
    """

    def __init__(self, open_jobs: Callable[[], JobsPort], folder: Path | None = None) -> None:
        self._open_jobs = open_jobs
        self.folder = folder
        self._jobs: JobsPort | None = None

    @property
    def jobs(self) -> JobsPort:
        """What begins copies."""
        if self._jobs is None:
            self._jobs = self._open_jobs()
        return self._jobs

    def active(self) -> Sequence[JobPort]:
        """Return the copies that run or wait."""
        return self._jobs.active() if self._jobs is not None else ()

    def on(self, vm_id: VmId) -> JobPort | None:
        """Return the copy that runs or waits on a VM."""
        return self._jobs.on(vm_id) if self._jobs is not None else None

    def unended(self) -> Sequence[JobPort]:
        """Return the copies that were to end, and that QEMU goes on with."""
        return self._jobs.unended() if self._jobs is not None else ()

    def cancel_all(self) -> None:
        """Stop all copies; what was begun is undone."""
        if self._jobs is not None:
            self._jobs.cancel_all()

    def leave_all(self) -> None:
        """Leave to QEMU what can go on alone, and stop all other copies."""
        if self._jobs is not None:
            self._jobs.leave_all()

    def ask(self, question: Callable[[JobsPort], T]) -> Future[T]:
        """Ask in a thread of its own, since a monitor or a storage may hang; returns at once."""
        return in_thread(lambda: question(self.jobs))


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Do `work` in a thread of its own, which ends with the process."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is told by whoever looks at the future
            future.set_exception(error)

    try:
        threading.Thread(target=run, name="copies", daemon=True).start()
    except NO_THREAD as error:
        future.set_exception(FrostwatchError(f"there is no thread: {why_no_thread(error)}"))
    return future
