"""Watches a VM's monitor until block jobs copy all of its disks; in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agentclient.jobs.block import JobName
from agentclient.jobs.claim import Claim
from agentclient.jobs.command.started import StartedJobs
from agentclient.jobs.context import JobContext
from agentclient.jobs.disk_port import DiskPort
from agentclient.jobs.disks import choose_disks
from agentclient.jobs.errors import JobFailed
from agentclient.model.errors import NO_THREAD, FrostwatchError, why_no_thread
from agentclient.model.job import JobKind

LOOK_EVERY_S: Final = 0.1


class JobWatch:
    """Waits for the block jobs of one VM.

    Args:
        context: the collaborators of the job on its VM.
        names: the disks that are to be copied; empty for all that the guest can write to.
        on_started: is called once, from its thread, when all are being copied.

    Attributes:
        started_at: when a look had shown jobs of all disks (monotonic seconds); None before.

    Raises:
        JobRefused: the VM has no monitor or no such disk.
        JobFailed: the monitor does not answer.
    """

    def __init__(
        self, context: JobContext, names: tuple[str, ...], on_started: Callable[[], None]
    ) -> None:
        self.started_at: float | None = None
        self._on_started = on_started
        self._port: DiskPort = context.port()
        disks = choose_disks(self._port, self._port.disks(), names)
        self._claim = Claim(self._port, context.vm, JobName.new(JobKind.COMMAND))
        self._has_gone = context.access.is_gone
        self._started = StartedJobs(disks, (job.id for job in self._port.jobs()))
        self._begin = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="job-watch", daemon=True)

    @property
    def count(self) -> int:
        """How many disks are to be copied."""
        return self._started.count

    def prepare(self) -> None:
        """Claim the disks and start its thread, before anything is frozen.

        The claim keeps other frostwatches off; the tool that the command runs copies as before.

        Raises:
            JobRefused: a job runs on the VM already, or another frostwatch has claimed the disks.
            JobFailed: the monitor does not answer.
            FrostwatchError: the system has no thread for it.
        """
        self._claim.take()
        try:
            self._thread.start()
        except NO_THREAD as error:
            raise FrostwatchError(f"not begun: {why_no_thread(error)}") from None

    def begin(self) -> None:
        """Begin to look: the command runs."""
        self._begin.set()

    def stop(self) -> None:
        """End it, and give the disks free; doing it again changes nothing."""
        self._stop.set()
        self._begin.set()
        self._claim.release(self._has_gone)

    @property
    def why_not(self) -> str:
        """What was missing, as a clause."""
        missing = ", ".join(self._started.missing)
        others = ", ".join(sorted(self._started.others))
        seen = f"; seen was {others}, whose copy is not of its start" if others else ""
        return f"no backup job of {missing} was seen{seen}"

    def _run(self) -> None:
        self._begin.wait()
        while not self._stop.is_set():
            with suppress(JobFailed):  # the next look may be answered; the window has a bound
                self._look()
            if not self._started.missing:
                self.started_at = time.monotonic()
                self._on_started()
                return
            self._stop.wait(LOOK_EVERY_S)

    def _look(self) -> None:
        new = self._started.new(self._port.jobs())
        if new:
            self._started.see(new, self._port.nodes_of_jobs())
