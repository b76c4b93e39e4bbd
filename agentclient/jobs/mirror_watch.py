"""Watches the jobs of a mirror, and tells at once what keeps one from being ready."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from agentclient.jobs.context import JobContext
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.follow import LOOK_EVERY_S, Jobs
from agentclient.model.errors import NO_THREAD
from agentclient.model.sizes import size_text
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import BlockJob, BlockJobStatus

# QEMU's word *ready* stays when the guest writes faster than is copied.
FAR_BEHIND: Final = 64 << 20
# QEMU itself pauses a job for moments: what two looks have seen is told.
_SEEN: Final = 2
_MOMENT_S: Final = 0.1


@dataclass
class MirrorWatch:
    """What was seen of each job of a mirror.

    Attributes:
        context: the copy's collaborators.
        disks: the name of the disk that each job copies, by the job's id.
        is_waiting: all have been ready, and wait to be completed.
    """

    context: JobContext
    disks: dict[str, str]
    is_waiting: bool = False
    _troubles: dict[str, tuple[str, int]] = field(default_factory=dict)

    def all_ready(self, found: Jobs) -> bool:
        """Return whether each copy is equal to its disk, or nearly; tell what has changed.

        Raises:
            JobFailed: somebody else has ended one.
        """
        for job_id, job in found.items():
            if job.has_ended:
                disk = printable(self.disks[job_id], 80)
                raise JobFailed(f"the copy of {disk} was ended by somebody else")
            self._tell(job_id, self._trouble(job))
        return all(job.ready and not self._trouble(job) for job in found.values())

    def _trouble(self, job: BlockJob) -> str:
        """Return why a job is not ready, or won't be, as a clause; empty if nothing is wrong."""
        if job.stalled:
            return "has stopped at an error of its storage"
        if job.status in (BlockJobStatus.PAUSED, BlockJobStatus.STANDBY):
            return "is paused in QEMU by somebody else"
        if self.is_waiting and job.total - job.done > FAR_BEHIND:
            return f"is {size_text(FAR_BEHIND)} or more behind what the guest writes"
        if self.is_waiting and not job.ready:
            return "is not ready any more"
        return ""

    def _tell(self, job_id: str, trouble: str) -> None:
        before, seen = self._troubles.get(job_id, ("", 0))
        seen = seen + 1 if trouble == before else 1
        self._troubles[job_id] = (trouble, seen)
        if seen != _SEEN:
            return
        disk = printable(self.disks[job_id], 80)
        if trouble:
            self.context.reporter.note(Level.WARNING, f"the copy of {disk} {trouble}")


class FreezeWatch:
    """Looks at the jobs while the guest is being frozen, and stops the freeze if one has failed.

    Args:
        look: looks at the jobs; raises `JobFailed` if one has failed.
        stop: stops the freeze, if it is begun.

    Attributes:
        failed: why the freeze was stopped; None if it was not.
    """

    def __init__(self, look: Callable[[], object], stop: Callable[[], object]) -> None:
        self._look = look
        self._stop = stop
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.failed: JobFailed | None = None

    def begin(self) -> None:
        """Begin to look, in a thread; without one, the window's own look has to be enough."""
        thread = threading.Thread(target=self._watch, name="mirror-watch", daemon=True)
        with suppress(*NO_THREAD):
            thread.start()
            self._thread = thread

    def end(self) -> None:
        """Look no more; a look that goes on is not waited for longer than a moment."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_MOMENT_S)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            try:
                self._look()
            except JobFailed as error:
                if not self._ended.is_set():
                    self.failed = error
                    self._stop()


def backlog(found: Jobs) -> int:
    """Return the bytes that are left to copy, of all disks."""
    return sum(max(0, job.total - job.done) for job in found.values())
