"""Deletes a snapshot that was named exactly.

An internal one is taken out of the images. The overlays of an external one are folded back: what
was written since goes into the images, and the guest goes on meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from agentclient.jobs.block import CHANGE_S, BlockLayer
from agentclient.jobs.cancel import left_to_qemu
from agentclient.jobs.context import JobContext
from agentclient.jobs.control import JobControl
from agentclient.jobs.delete_files import delete_files
from agentclient.jobs.disks import image_path
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.follow import Follower, Jobs, all_ended
from agentclient.jobs.job import CopyJob
from agentclient.jobs.opened import Inode, inode, written_by
from agentclient.jobs.patience import patiently
from agentclient.jobs.request import CopyRequest
from agentclient.jobs.snapshots.create import disks_again
from agentclient.jobs.snapshots.finding import find_snapshots, overlay_records
from agentclient.jobs.snapshots.fold import Fold, begin, complete, folds
from agentclient.jobs.snapshots.record import RecordFile
from agentclient.model.disk_snapshot import SnapshotDisk, SnapshotFound, SnapshotKind
from agentclient.model.job import (
    Consistency,
    DiskCopy,
    FreezePolicy,
    JobKind,
    JobOutcome,
    JobRefusal,
    JobResult,
    JobStage,
)
from agentclient.model.shell_words import quoted
from agentclient.model.text import printable
from agentclient.model.vm import Process
from agentclient.protocol.job_names import NODE_PREFIX
from agentclient.protocol.qmp_block import Disk

NOTHING_FROZEN: Final = FreezePolicy.NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionRequest(CopyRequest):
    """Which snapshot is deleted; nothing is frozen for it.

    Attributes:
        name: its name.
        external: it is an external one.
    """

    policy: FreezePolicy = NOTHING_FROZEN
    name: str
    external: bool = False


class SnapshotDeletion(CopyJob):
    """The deletion of one snapshot of one VM.

    Args:
        context: its collaborators.
        request: the snapshot's name, and where it is.

    Attributes:
        wanted: the request.
        parts: the snapshot on each disk; empty before `prepare`.
        files: the overlays that may be deleted, by their paths.
        deleted: the names of the disks on which it is deleted.
    """

    kind = JobKind.DELETION

    def __init__(self, context: JobContext, request: DeletionRequest) -> None:
        super().__init__(context, request)
        self.wanted = request
        self._block: BlockLayer | None = None
        self.parts: tuple[SnapshotDisk, ...] = ()
        self._begun = False
        self.deleted: list[str] = []
        self._folds: tuple[Fold, ...] = ()
        self.files: dict[str, Inode] = {}

    @property
    def takes_all(self) -> bool:
        """Whether it is about all disks: it is about those that have the snapshot."""
        return False

    def work(self) -> list[str]:
        """Find the snapshot, and delete it."""
        self._stage(JobStage.PREPARING, f"looking for the snapshot {printable(self.wanted.name)}")
        self.prepare()
        self.context.control.check()
        self._stage(JobStage.STARTING, "deleting the snapshot")
        self.check_alone()
        self.start()
        self.follow()
        self._stage(JobStage.FINISHING, "closing what was the snapshot's")
        return self.finish()

    def prepare(self) -> None:
        """Find the snapshot, and check that it can be deleted."""
        self._block = block = self.context.block()
        disks = block.disks()
        found = self._find(disks)
        chosen = self.request.disks
        named = {one.name: one for one in disks}
        self.parts = tuple(
            one for one in found.disks if not chosen or named[one.disk].names & set(chosen)
        )
        if not self.parts:
            held = ", ".join(printable(one.disk, 60) for one in found.disks)
            why = f"the snapshot {printable(found.name, 80)} is on {held} alone"
            raise JobRefused(JobRefusal.NAME, why)
        self.chosen = tuple(named[one.disk] for one in self.parts)
        if self.wanted.external:
            for disk, part in zip(self.chosen, self.parts, strict=True):
                self._check_newest(disk, part)
                _check_empty(disk)
            self._folds = folds(block, self.name, self.chosen)
            looking = partial(files_of, self.parts, self.context.access.process)
            self.files = patiently(self.context.control, "looking at the overlays", looking)

    def start(self) -> None:
        """Delete it; of an external one, begin to fold its overlays back."""
        assert self._block is not None, "it was prepared"
        if self.wanted.external:
            begin(self._block, self._folds, self.context.control.limit)
            return
        self._begun = True
        for disk in self.chosen:
            self.context.control.check()
            self._block.run(
                "blockdev-snapshot-delete-internal-sync",
                CHANGE_S,
                device=disk.ref,
                name=self.wanted.name,
            )
            self.deleted.append(disk.name)

    def follow(self) -> None:
        """Wait until the overlays are folded back."""
        if not self._folds:
            return
        assert self._block is not None, "it was prepared"
        jobs = {one.job: one.disk.name for one in self._folds}
        limit = self.context.control.limit
        follower = Follower(self.context, self._block, self.kind, jobs, self.began_at, limit=limit)
        text = "writing back what was written since the snapshot"
        follower.follow(JobStage.COPYING, text, all_ready)
        complete(self._block, self._folds)
        follower.follow(JobStage.COPYING, "changing over to the images", all_ended)

    def finish(self) -> list[str]:
        """Delete the overlays."""
        if not self._folds:
            return []
        assert self._block is not None, "it was prepared"
        left = []
        for fold, part in zip(self._folds, self.parts, strict=True):
            self._block.dismiss(fold.job)
            self.deleted.append(part.disk)
            left += self._close(fold.disk)
        used = {image.file for disk in self._block.disks() for image in disk.chain}
        return left + self.delete_overlays(used)

    def delete_overlays(self, used: Container[str]) -> list[str]:
        """Delete the overlays, and the files beside them.

        Args:
            used: the images that the VM uses now: these stay.

        Returns:
            What is left, each as a clause.
        """
        left = []
        for disk, part in zip(self.chosen, self.parts, strict=True):
            number = self.files.get(part.overlay or "")
            left += _delete_file(part, number) if disk.file not in used else [_in_use(part)]
        mine = {one.overlay for one in self.parts}
        for record in overlay_records(self.chosen, self.context.access.process):
            overlays = {one.overlay for one in record.disks}
            if record.path is not None and overlays & mine and not _any_exists(overlays):
                left += RecordFile(record.path).remove()
        return left

    def undo(self) -> list[str]:
        """Cancel what folds back, and tell what is left of the snapshot."""
        if self._folds and self._block is not None:
            unended = self.end_jobs(self._block)
            return left_to_qemu(self.vm, unended, []) if unended else self._used_no_more()
        if self._block is None or not self._begun:
            return []
        disks = disks_again(self._block, self.context)
        if disks is None:
            names = ", ".join(one.name for one in self.chosen)
            return [f"the snapshot {self.wanted.name} on some of {names}, perhaps"]
        chosen = {one.name for one in self.chosen}
        rest = [one.name for one in disks if one.name in chosen and self._is_on(one)]
        if len(rest) in (0, len(chosen)):  # all that was to be deleted, or nothing
            return []
        return [f"the snapshot {self.wanted.name} on {', '.join(rest)}: it is incomplete now"]

    def results(self) -> tuple[DiskCopy, ...]:
        """Return the disks that it is deleted on."""
        return tuple(
            DiskCopy(disk.name, part.overlay, disk.format, disk.size)
            for disk, part in zip(self.chosen, self.parts, strict=True)
        )

    def completed(self) -> JobOutcome:
        """Return the outcome after all steps were done."""
        names = ", ".join(printable(one, 60) for one in self.deleted)
        reason = f"the snapshot {printable(self.wanted.name, 80)} is deleted on {names}"
        return self._outcome(JobResult.COMPLETE, reason, consistency=Consistency.NONE)

    def _used_no_more(self) -> list[str]:
        """Return the overlays that were folded back, and that are there still, each as a clause."""
        assert self._block is not None, "it was prepared"
        disks = disks_again(self._block, self.context)
        if disks is None:
            return []
        used = {image.file for disk in disks for image in disk.chain} | {one.file for one in disks}
        paths = [
            Path(part.overlay)
            for disk, part in zip(self.chosen, self.parts, strict=True)
            if part.overlay is not None and disk.file not in used
        ]
        there = patiently(
            JobControl(),
            "looking at the overlays",
            lambda: [path for path in paths if os.path.lexists(path)],
        )
        return [
            f"the overlay {printable(path, 300)}, of which nothing is needed any more"
            for path in there
        ]

    def _is_on(self, disk: Disk) -> bool:
        return any(one.name == self.wanted.name for one in disk.snapshots)

    def _find(self, disks: tuple[Disk, ...]) -> SnapshotFound:
        wanted = SnapshotKind.EXTERNAL if self.wanted.external else SnapshotKind.INTERNAL
        every = find_snapshots(self.vm.id, disks, (), self.context.access.process)
        named = [one for one in every if one.name == self.wanted.name]
        tops = {str(image_path(one, self.context.access.process) or one.file) for one in disks}
        kinds = [one for one in named if one.kind is wanted]
        for found in kinds:
            if self.wanted.external or tops.issuperset(one.file for one in found.disks):
                return found
        shown = printable(self.wanted.name, 80)
        if kinds:
            files = ", ".join(quoted(one.file) for one in kinds[0].disks)
            raise JobRefused(
                JobRefusal.NAME,
                f"the snapshot {shown} is inside of images behind those that the VM writes to: "
                f"{printable(files, 300)}",
                "delete the external snapshots above first",
            )
        if named:
            option = "without --external" if self.wanted.external else "with --external"
            raise JobRefused(
                JobRefusal.NAME, f"the snapshot {shown} is {named[0].kind}", f"name it {option}"
            )
        known = ", ".join(printable(one.name, 60) for one in every[:12]) or "none"
        raise JobRefused(JobRefusal.NAME, f"no disk has a snapshot {shown}; there are: {known}")

    def _check_newest(self, disk: Disk, part: SnapshotDisk) -> None:
        """Refuse where another overlay is on top of this one.

        Raises:
            JobRefused: there is one.
        """
        top = str(image_path(disk, self.context.access.process) or disk.file)
        if part.overlay == top:
            return
        raise JobRefused(
            JobRefusal.NAME,
            f"another overlay of {printable(disk.name, 60)} is above this snapshot's: "
            f"{printable(top, 300)}",
            "delete the newer snapshot first; or, with the VM off: qemu-img commit "
            f"{quoted(part.overlay or '')}, and then qemu-img rebase -u -b "
            f"{quoted(part.file)} of the overlay above",
        )

    def _close(self, disk: Disk) -> list[str]:
        """Let QEMU close an overlay that a frostwatch has opened; others it closes itself."""
        if not disk.node.startswith(NODE_PREFIX):
            return []
        assert self._block is not None, "it was prepared"
        for node in (disk.node, f"{disk.node}-f"):
            try:
                self._block.run("blockdev-del", CHANGE_S, node_name=node)
            except JobFailed as error:
                return [f"QEMU keeps the node {node} open ({error})"]
        return []


def _check_empty(disk: Disk) -> None:
    """Refuse where the overlay holds snapshots, which would be lost with it.

    Raises:
        JobRefused: it holds some.
    """
    if disk.snapshots:
        names = ", ".join(printable(one.name, 60) for one in disk.snapshots[:12])
        raise JobRefused(
            JobRefusal.NAME,
            f"the overlay of {printable(disk.name, 60)} holds internal snapshots: {names}",
            "delete these first",
        )


def all_ready(found: Jobs) -> bool:
    """Return whether all overlays are equal to the images behind them."""
    return bool(found) and all(one.ready for one in found.values())


def _any_exists(paths: set[str | None]) -> bool:
    return any(one is not None and Path(one).exists() for one in paths)


def _in_use(part: SnapshotDisk) -> str:
    return f"the overlay {printable(part.overlay, 300)}, which the VM still uses"


def files_of(parts: Iterable[SnapshotDisk], process: Process | None) -> dict[str, Inode]:
    """Return the overlays that may be deleted, while their QEMU writes to them.

    What a monitor calls an overlay is its user's word, and may be anybody's file (P10).

    Args:
        parts: what is known of the overlays.
        process: the VM's QEMU; without it they go by their names.
    """
    written = written_by(process)
    found = {}
    for part in parts:
        with suppress(OSError):
            number = inode(Path(part.overlay or ""))
            if written is None or number in written:
                found[part.overlay or ""] = number
    return found


def _delete_file(part: SnapshotDisk, number: Inode | None) -> list[str]:
    assert part.overlay is not None, "it is an external one"
    shown, path = f"the overlay {printable(part.overlay, 300)}", Path(part.overlay)
    there = patiently(JobControl(), "looking at the overlay", partial(os.path.lexists, path))
    if not there:
        return [f"{shown}, if it was moved away; nothing of it is needed any more"]
    if number is None:
        return [f"{shown}, which was not the one that the VM wrote to"]
    return [left for left in delete_files([(shown, path, number)]) if left is not None]
