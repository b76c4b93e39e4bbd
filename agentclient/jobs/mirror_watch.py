"""Watches the jobs of a mirror, and tells at once what keeps one from being ready."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agentclient.jobs.context import JobContext
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.follow import Jobs
from agentclient.model.sizes import size_text
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import BlockJob, BlockJobStatus

# QEMU's word *ready* stays when the guest writes faster than is copied.
FAR_BEHIND: Final = 64 << 20
# QEMU itself pauses a job for moments: what two looks have seen is told.
_SEEN: Final = 2


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


def backlog(found: Jobs) -> int:
    """Return the bytes that are left to copy, of all disks."""
    return sum(max(0, job.total - job.done) for job in found.values())
