"""The calls by which a VM's manager copies its disks: what jobs ask where there is no monitor.

The manager has to know of what is done with the disks of its VMs. So it does it: files are opened,
jobs begun and snapshots taken by it alone, and it keeps what a frostwatch says of its copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from agentclient.model.vm import Process
from agentclient.protocol.qmp_block import BlockJob, Disk

BACKUP = "backup"
FOLD = "commit"


class DisksSilent(Exception):
    """The manager has not answered: it may do yet what was asked; the text is one clause."""


class DisksRefused(Exception):
    """The manager has answered with an error, and nothing was done; the text is one clause."""


class DisksEnded(DisksRefused):
    """The VM has ended, or was started anew: all jobs on its disks have ended with it."""


class DiskWork(NamedTuple):
    """What one job of a copy does with one disk.

    Attributes:
        job: the job's id (`agentclient.protocol.job_names.JobId.job`).
        type: `BACKUP`, or `FOLD`: an overlay's content goes into the image behind it.
        disk: the disk's node (`Disk.node`).
        file: the file that takes the copy; of a fold, the overlay.
        began: the manager is known to have begun it.
    """

    job: str
    type: str
    disk: str
    file: str
    began: bool = False


class DisksSeen(NamedTuple):
    """What one look at a VM's disks has shown.

    Attributes:
        disks: its disks.
        jobs: all jobs; those of frostwatches have the ids that were planned.
        nodes: the marks of copies, and the files of their works, under the names of nodes.
    """

    disks: tuple[Disk, ...]
    jobs: tuple[BlockJob, ...]
    nodes: Mapping[str, str]


class KeptSnapshot(NamedTuple):
    """A snapshot that the manager knows of.

    Attributes:
        name: its name.
        seconds: when it was taken, in seconds since 1970; 0 if that isn't known.
        memory: it holds the VM's memory as well.
        overlays: of an external one, the file of each disk, by the disk's node, that took what was
            written since; it may be the overlay of a later one's image now.
        images: the file that holds each disk as it was, by the disk's node, as far as it is told.
        inside: the nodes of the disks that have it inside of their images.
        children: snapshots were taken after it, on top of it.
    """

    name: str
    seconds: int
    memory: bool
    overlays: Mapping[str, str]
    images: Mapping[str, str]
    inside: tuple[str, ...]
    children: bool


class DiskCalls(Protocol):
    """The calls about the disks of one start of a VM; each blocks, for seconds at the most.

    All may raise `DisksSilent` and `DisksRefused`.
    """

    @property
    def manager(self) -> str:
        """What the manager is called."""

    @property
    def process(self) -> Process | None:
        """The VM's QEMU; None if it is not known, or not on this host."""

    def disks(self) -> tuple[Disk, ...]:
        """Return the disks, with the records of what is written to them as their bitmaps."""

    def look(self) -> DisksSeen:
        """Return all that is seen of the disks, but for these records, and perhaps their sizes."""

    def passed_through(self, node: str) -> str | None:
        """Return by what a disk is passed through, past QEMU; None if it is not."""

    def status(self) -> str:
        """Return the VM's state in QEMU's word, such as ``running`` or ``io-error``."""

    def version(self) -> str | None:
        """Return QEMU's version, and the manager's; None if they can't be told."""

    def mark(self, node: str) -> None:
        """Have all who look at the VM see this mark."""

    def unmark(self, node: str) -> None:
        """Take a mark away; one that is not there is no error."""

    def plan(self, works: Sequence[DiskWork]) -> None:
        """Have all who look at the VM see what a copy is about to do, or has begun.

        Args:
            works: all works of one copy, whose claim is there.
        """

    def forget(self, job_id: str) -> None:
        """Take a work away that has ended; one that is not there is no error."""

    def forget_copy(self, node: str) -> None:
        """Take away all that a copy says of itself, by the name of one of its nodes."""

    def set_speed(self, job_id: str, limit: int) -> None:
        """Limit a planned work that runs to so many bytes a second; 0 for no limit."""

    def end(self, job_id: str) -> None:
        """Cancel a planned work; those of its copy that are of one moment end with it."""

    def resume(self) -> None:
        """Let a VM that stands still go on."""

    def begin_backup(
        self, works: Sequence[DiskWork], *, since: str | None, record: str | None
    ) -> None:
        """Begin to copy disks as they are now, all of one moment.

        Args:
            works: the disks, and the files that take them, which are images of the right size.
            since: the record by which only what was written since is copied; None for all.
            record: have the disks record from now on what is written, under this name; None to
                have none.
        """

    def abort_backup(self, works: Sequence[DiskWork]) -> None:
        """Cancel a backup that has begun though its caller did not wait for it any more."""

    def remove_record(self, name: str) -> None:
        """Remove a record of what is written; one that is not there is no error."""

    def snapshots(self) -> tuple[KeptSnapshot, ...]:
        """Return the snapshots that the manager knows of."""

    def take_snapshot(self, name: str, overlays: Mapping[str, str], text: str) -> None:
        """Have disks write to overlays from now on, all at one moment.

        Args:
            name: the snapshot's name.
            overlays: the overlay of each disk, by its node: an empty image on the disk's own.
            text: what the manager shows of it.
        """

    def describe_snapshot(self, name: str, text: str) -> None:
        """Change what the manager shows of a snapshot."""

    def forget_snapshot(self, name: str) -> None:
        """Have the manager forget a snapshot whose overlays are folded back, or never were used."""

    def fold(self, work: DiskWork, limit: int) -> None:
        """Begin to write what an overlay holds into the image behind it."""

    def change_over(self, work: DiskWork) -> None:
        """Have a disk write to the image behind the overlay, once the two are equal."""
