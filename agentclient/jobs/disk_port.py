"""What every copy asks of whatever reaches a VM's disks, be that QEMU's monitor or a manager.

`agentclient.jobs.block.BlockLayer` asks a monitor. Each answer comes within a bound, or there is
none; what is begun in QEMU stays there when the one who has begun it ends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from agentclient.jobs.errors import JobFailed
from agentclient.protocol.qmp_block import BlockJob, Disk

# The VM's state when a write of the guest's has failed, as where a storage is full.
IO_ERROR: Final = "io-error"


class NotDone(JobFailed):
    """What was asked was answered with an error: nothing has come of it."""


class VmEnded(NotDone):
    """The VM has ended, and all that ran on its disks with it."""


class Seen(NamedTuple):
    """What one look at a VM's disks has shown.

    Attributes:
        jobs: all jobs, whoever has begun them.
        nodes: the names of the nodes, and those of their files.
        disks: all block devices.
    """

    jobs: Sequence[BlockJob]
    nodes: Mapping[str, str]
    disks: Sequence[Disk]


class DiskPort(Protocol):
    """What all kinds of copies ask; every method blocks, and may raise `JobFailed`.

    `NotDone` is what was answered with an error; any other `JobFailed` says that there was no
    answer, so that what was asked may be done yet.
    """

    def disks(self) -> tuple[Disk, ...]:
        """Return all block devices."""

    def jobs(self) -> tuple[BlockJob, ...]:
        """Return all jobs; the ids of frostwatches' are made by `JobId.job`."""

    def nodes(self) -> dict[str, str]:
        """Return each node's name, and its file's; those of copies are made by `JobId.node`."""

    def look(self, within_s: float) -> Seen:
        """Return all of that, seen at once; `within_s` is the bound, in seconds."""

    def nodes_of_jobs(self) -> dict[str, frozenset[str]]:
        """Return the names of the nodes that each job works on; none where that can't be told."""

    def status(self) -> str:
        """Return the VM's state in QEMU's word, such as ``running`` or ``io-error``."""

    def version(self) -> str | None:
        """Return QEMU's version; None if it can't be told."""

    def uuid(self) -> str | None:
        """Return the machine's UUID; None if it has none."""

    def passed_through(self, disk: Disk) -> str | None:
        """Return by what a disk is passed through, past QEMU; None if it is not."""

    def mark(self, node: str) -> None:
        """Have all who look at the VM see a node of this name; no more than its name is of use."""

    def unmark(self, node: str) -> None:
        """Take a mark away; one that is not there is no error."""

    def set_speed(self, job_id: str, limit: int) -> None:
        """Limit a job to so many bytes a second; 0 for no limit.

        Raises:
            NotLimited: it is not, or not yet.
        """

    def end(self, job: BlockJob) -> None:
        """Cancel a job that runs; forget one that has ended."""

    def dismiss(self, job_id: str, cancelled: threading.Event | None = None) -> None:
        """Forget a job that has ended; no error if that has happened already.

        Args:
            job_id: the job's id.
            cancelled: who does not answer is asked again for a while, or until this is set; None to
                ask once.
        """

    def go_on(self) -> None:
        """Let a VM that stands still go on."""

    def remove_bitmaps(self, disks: Iterable[Disk], names: frozenset[str]) -> list[str]:
        """Remove what records the guest's writes; what is not there is no error.

        Args:
            disks: the disks, with the bitmaps that they have now.
            names: the names of the bitmaps.

        Returns:
            What is left, each as a clause.
        """
