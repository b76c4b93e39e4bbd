"""Which disks a backup job has begun to copy since the command began. Pure.

A backup's copy is of the moment at which its job was created. Other jobs are no copies of that
moment: a mirror's is of its completion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from agentclient.protocol.qmp_block import BlockJob, BlockJobStatus, Disk

COPIES: Final = "backup"


class StartedJobs:
    """The disks of one VM, and the jobs that were seen to copy them.

    Args:
        disks: the disks that are to be copied.
        before: the ids of the jobs that there were before the command.
    """

    def __init__(self, disks: Iterable[Disk], before: Iterable[str]) -> None:
        self._disks = tuple(disks)
        self._before = frozenset(before)
        self._copied: set[str] = set()
        self.others: set[str] = set()
        """The types of jobs that were seen, and are no backups."""

    def new(self, jobs: Iterable[BlockJob]) -> tuple[BlockJob, ...]:
        """Return the backups among the jobs of a look that began since, and have not failed."""
        found = [one for one in jobs if one.id not in self._before and not one.is_ours]
        self.others |= {one.type for one in found if one.type and one.type != COPIES}
        return tuple(one for one in found if one.type == COPIES and _has_begun(one))

    def see(self, new: Iterable[BlockJob], nodes: Mapping[str, frozenset[str]]) -> None:
        """Take the backups of a look.

        Args:
            new: the backups (`new`).
            nodes: the names of the nodes that each job works on, by its id.
        """
        for job in new:
            reached = nodes.get(job.id, frozenset())
            for disk in self._disks:
                if disk.node in reached or job.id in disk.names:
                    self._copied.add(disk.name)

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the disks of which no job was seen yet."""
        return tuple(one.name for one in self._disks if one.name not in self._copied)

    @property
    def count(self) -> int:
        """How many disks there are."""
        return len(self._disks)


def _has_begun(job: BlockJob) -> bool:
    if job.error is not None:
        return False
    return job.status not in (BlockJobStatus.ABORTING, BlockJobStatus.UNDEFINED)
