"""Copies that QEMU could not end in time: they are tried again until their storage answers.

Each try is short, and they come ever more rarely: nobody is in a hurry any more, and QEMU serves
its guest meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final

from agentclient.jobs.job import CopyJob
from agentclient.model.errors import NO_THREAD, why_no_thread
from agentclient.model.job import JobOutcome, JobResult, UnendedCopy
from agentclient.model.states import Level
from agentclient.model.vm import VmId

FIRST_S: Final = 5.0
MOST_S: Final = 60.0
GROWS: Final = 1.5
# How long one try waits for QEMU.
TRY_S: Final = 2.0


class LateEnds:
    """The copies of this process that QEMU goes on with, though they have ended for their callers.

    Args:
        wall: returns the wall clock's time.
    """

    def __init__(self, wall: Callable[[], datetime]) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._jobs: dict[VmId, tuple[CopyJob, UnendedCopy]] = {}
        self._stopped = threading.Event()

    def add(self, job: CopyJob, outcome: JobOutcome) -> None:
        """Show that a copy goes on, and try to end it until it has; return at once.

        Args:
            job: the copy.
            outcome: how it has ended for its caller.
        """
        shown = UnendedCopy(job.kind, self._wall(), job.goes_on or "")
        with self._lock:
            self._jobs[job.vm.id] = job, shown
        job.context.reporter.goes_on(shown)
        name = f"late-end-{job.vm.name}"
        try:
            threading.Thread(target=self._run, args=(job, outcome), name=name, daemon=True).start()
        except NO_THREAD as error:
            text = f"it is not tried again: {why_no_thread(error)}"
            job.context.reporter.note(Level.ERROR, text)

    def on(self, vm_id: VmId) -> UnendedCopy | None:
        """Return the copy that goes on on a VM; None if none does."""
        with self._lock:
            found = self._jobs.get(vm_id)
        return found[1] if found is not None else None

    def all(self) -> tuple[CopyJob, ...]:
        """Return all copies that go on."""
        with self._lock:
            return tuple(job for job, _ in self._jobs.values())

    def stop(self) -> None:
        """Try no more: whoever comes next finds what QEMU goes on with."""
        self._stopped.set()

    def _run(self, job: CopyJob, outcome: JobOutcome) -> None:
        wait_s = FIRST_S
        while not self._stopped.wait(wait_s):
            wait_s = min(wait_s * GROWS, MOST_S)
            left = job.end_late(TRY_S)
            if left is None:
                continue
            with self._lock:
                del self._jobs[job.vm.id]
            after = _after(outcome, left, self._wall())
            job.record_outcome(after)
            job.context.reporter.ended_late(outcome, after)
            return


def _after(outcome: JobOutcome, left: tuple[str, ...], at: datetime) -> JobOutcome:
    """Return the outcome of a copy that has ended after all."""
    rest = "not all of it could be undone" if left else "what was begun is undone"
    return outcome._replace(
        result=JobResult.FAILED if outcome.result is JobResult.LEFT else outcome.result,
        reason=f"{outcome.reason}; it could be ended at {at:%H:%M:%S} alone, and {rest}",
        left=left,
        next=None,
    )
