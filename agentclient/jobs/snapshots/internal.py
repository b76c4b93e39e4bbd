"""An internal snapshot: inside of the images of all disks, in one transaction."""

from __future__ import annotations

from agentclient.jobs.block import CHANGE_S
from agentclient.jobs.disks import image_path
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.snapshots.create import SnapshotJob
from agentclient.jobs.snapshots.record import Record
from agentclient.model.disk_snapshot import SnapshotKind
from agentclient.model.job import DiskCopy, JobRefusal
from agentclient.model.shell_words import quoted
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk, action

# The one format whose snapshots QEMU keeps in the image, and that is in use.
FORMAT = "qcow2"


class InternalSnapshot(SnapshotJob):
    """One internal snapshot of one VM; see `SnapshotJob`."""

    how = SnapshotKind.INTERNAL
    needed = ("blockdev-snapshot-internal-sync", "blockdev-snapshot-delete-internal-sync")

    def prepare(self) -> None:
        """Check the disks' formats, and the name."""
        super().prepare()
        for disk in self.chosen:
            _check_format(disk, quoted(str(self.vm.id)))

    def start(self) -> None:
        """Take it."""
        self.transaction(
            [
                action("blockdev-snapshot-internal-sync", device=one.ref, name=self.wanted.name)
                for one in self.chosen
            ]
        )

    def keep(self, record: Record) -> list[str]:  # noqa: ARG002 - the journal has it
        """Write nothing: there is no place beside it."""
        return []

    def undo(self) -> list[str]:
        """Find out which disks have it, and delete it there."""
        if not self.sent:
            return []
        disks = self.ask_again()
        if disks is None:
            return [self._perhaps(one) for one in self.chosen]
        chosen = {one.ref for one in self.chosen}
        return self._delete([one for one in disks if one.ref in chosen and self._is_on(one)])

    def results(self) -> tuple[DiskCopy, ...]:
        """Return the disks that it is taken of."""
        return tuple(DiskCopy(one.name, None, one.format, one.size) for one in self.chosen)

    def _delete(self, holders: list[Disk]) -> list[str]:
        if not holders:
            return []
        assert self.block is not None, "it was prepared"
        left = []
        for disk in holders:
            try:
                delete_internal(self, disk, self.wanted.name)
            except JobFailed as error:
                left.append(f"the snapshot {self.wanted.name} on {disk.name} ({error})")
        if not left:
            text = f"the snapshot {self.wanted.name}, which was taken, is deleted again"
            self.context.reporter.note(Level.INFO, text)
        return left

    def _is_on(self, disk: Disk) -> bool:
        return any(one.name == self.wanted.name for one in disk.snapshots)

    def _perhaps(self, disk: Disk) -> str:
        file = quoted(str(image_path(disk, self.context.access.process) or disk.file))
        name = self.wanted.name
        return (
            f"{disk.name} may have the snapshot {name}: with the VM off, qemu-img snapshot -l "
            f"{file} tells, and qemu-img snapshot -d {name} {file} deletes it"
        )


def delete_internal(job: SnapshotJob, disk: Disk, name: str) -> None:
    """Delete a snapshot on one disk.

    Raises:
        JobFailed: QEMU refuses it, or does not answer.
    """
    assert job.block is not None, "it was prepared"
    job.block.run("blockdev-snapshot-delete-internal-sync", CHANGE_S, device=disk.ref, name=name)


def _check_format(disk: Disk, vm: str) -> None:
    if disk.format == FORMAT:
        return
    name = printable(disk.name, 60)
    if "rbd" in disk.file[:200]:
        step = f"take it of the storage: frostwatch freeze {vm} -- rbd snap create POOL/IMAGE@NAME"
    else:
        step = "take an external one (--external), or name the other disks with --disk"
    raise JobRefused(
        JobRefusal.RAW_DISK,
        f"{name} is {printable(disk.format, 40)}, which has no room for a snapshot inside",
        step,
    )
