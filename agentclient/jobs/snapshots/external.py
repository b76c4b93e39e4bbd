"""An external snapshot: the images stay as they are, and overlays take what is written since.

The overlays are made, and opened by QEMU, before the freeze: within the window QEMU only changes
over to them, all in one transaction, and a folder that it can't write is known before.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from agentclient.jobs.cancel import left_to_qemu
from agentclient.jobs.context import JobContext
from agentclient.jobs.disks import image_path, is_encrypted
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.patience import patiently
from agentclient.jobs.snapshots.create import SnapshotJob, SnapshotRequest
from agentclient.jobs.snapshots.finding import overlay_records
from agentclient.jobs.snapshots.fold import fold_back
from agentclient.jobs.snapshots.names import overlay_name, record_name
from agentclient.jobs.snapshots.record import Record, RecordFile
from agentclient.jobs.targets import Target, Targets, check_space
from agentclient.model.disk_snapshot import SnapshotDisk, SnapshotKind
from agentclient.model.job import DiskCopy, JobRefusal
from agentclient.model.shell_words import quoted
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk, action

FORMAT: Final = "qcow2"
# An empty overlay takes 200 KB; so each has some room to begin with.
ROOM: Final = 1 << 20


class ExternalSnapshot(SnapshotJob):
    """One external snapshot of one VM; see `SnapshotJob`.

    Attributes:
        overlays: the disks, and the files that take what is written from now on.
    """

    how = SnapshotKind.EXTERNAL
    # The last one folds overlays back.
    needed = ("blockdev-snapshot", "blockdev-create", "blockdev-add", "job-complete")

    def __init__(self, context: JobContext, request: SnapshotRequest) -> None:
        super().__init__(context, request)
        self._targets: Targets | None = None
        self._parts: tuple[SnapshotDisk, ...] = ()
        self.overlays: list[tuple[Disk, Target]] = []
        self._files: list[RecordFile] = []

    def prepare(self) -> None:
        """Check the disks and the name, and make the overlays."""
        super().prepare()
        assert self.block is not None, "it was prepared"
        images, paths = self.prepare_files()
        self.keep_threads(self.block, 1)
        self._targets = self.new_targets(self.block, apart=True)
        for disk, image, path in zip(self.chosen, images, paths, strict=True):
            self.overlays.append((disk, self._make(disk, image, path)))

    def prepare_files(self) -> tuple[list[Path], list[Path]]:
        """Check the images and the folders, and make the files beside the overlays.

        Returns:
            The images, and the overlays that are to be made; one for each disk.

        Raises:
            JobRefused: there can be none.
            JobFailed: a storage hangs.
        """
        process, control = self.context.access.process, self.context.control
        for disk in self.chosen:
            _check_plain(disk)
        images = [_image(disk, image_path(disk, process)) for disk in self.chosen]
        paths = self._paths(images)
        for folder in dict.fromkeys(path.parent for path in paths):
            needed = ROOM * sum(path.parent == folder for path in paths)
            patiently(control, "looking for room", partial(check_space, folder, needed))
        self._parts = tuple(
            SnapshotDisk(disk.name, str(image), str(path))
            for disk, image, path in zip(self.chosen, images, paths, strict=True)
        )
        for folder in dict.fromkeys(path.parent for path in paths):
            file = RecordFile(folder / record_name(self.vm.name, self.wanted.name))
            file.make(control, self.record(complete=False), self.vm)
            self._files.append(file)
        return images, paths

    def start(self) -> None:
        """Change over to the overlays."""
        self.transaction(
            [
                action("blockdev-snapshot", node=disk.node, overlay=target.node)
                for disk, target in self.overlays
            ]
        )

    def keep(self, record: Record) -> list[str]:
        """Write what is known of the snapshot beside its overlays."""
        return [why for one in self._files if (why := one.write(record, self.vm)) is not None]

    def next_step(self) -> str | None:
        """Return with which files the VM has to be started from now on."""
        files = ", ".join(
            f"{target.path} ({target.format}) for {disk.name}" for disk, target in self.overlays
        )
        return f"have the VM's next start use the overlays: {files}"

    def undo(self) -> list[str]:
        """Fold back the overlays that are in use, and delete them."""
        if self._targets is None:
            return self.forget_records()
        if not self.sent:
            return self._targets.remove() + self.forget_records()
        disks = self.ask_again()
        if disks is None:
            return self.perhaps_used()
        ours = {target.node: target for _, target in self.overlays}
        used = [one for one in disks if one.node in ours]
        if not used:
            self.goes_on = None  # a job of an earlier try has folded all back
            return self._targets.remove() + self.forget_records()
        assert self.block is not None, "it was prepared"
        unended = self.end_jobs(self.block)  # those of an earlier try
        if unended:
            return left_to_qemu(self.vm, unended, self.named_overlays())
        try:
            fold_back(self.block, self.name, used)
        except JobFailed as error:
            unended = self.end_jobs(self.block)
            left = left_to_qemu(self.vm, unended, []) + [
                f"{one}, which the VM writes to, also after its next start ({error})"
                for one in self.named_overlays()
            ]
            return left + self._targets.remove(keep=list(ours.values()))
        text = "the snapshot, which was taken, is folded back: the VM writes to its images again"
        self.context.reporter.note(Level.INFO, text)
        return self._targets.remove() + self.forget_records()

    def results(self) -> tuple[DiskCopy, ...]:
        """Return the disks that it is taken of, and their overlays."""
        return tuple(
            DiskCopy(disk.name, str(target.path), target.format, disk.size)
            for disk, target in self.overlays
        )

    def parts(self) -> tuple[SnapshotDisk, ...]:
        """Return the disks, their images, and the overlays."""
        return self._parts

    def named_overlays(self) -> list[str]:
        """Return the overlays, each as a clause."""
        return [
            f"the overlay {printable(target.path, 300)} of {printable(disk.name, 60)}"
            for disk, target in self.overlays
        ]

    def perhaps_used(self) -> list[str]:
        """Return the overlays that the VM may have written to last, each as a clause."""
        return [
            f"{one}, which may hold what the VM wrote last: with the VM off, qemu-img commit "
            f"{quoted(str(target.path))} puts it into the image"
            for one, (_, target) in zip(self.named_overlays(), self.overlays, strict=True)
        ]

    def forget_records(self) -> list[str]:
        """Delete the files beside the overlays; return what is left, each as a clause."""
        return [left for file in self._files for left in file.remove()]

    def _paths(self, images: list[Path]) -> list[Path]:
        process = self.context.access.process
        replaced = {
            part.overlay: record.name
            for record in overlay_records(self.chosen, process)
            for part in record.disks
        }
        paths: list[Path] = []
        for image in images:
            folder = self.wanted.folder or _beside(image)
            number = 0
            while (
                path := folder
                / overlay_name(image, self.wanted.name, replaced.get(str(image)), number)
            ) in paths:
                number += 1
            paths.append(path)
        return paths

    def _make(self, disk: Disk, image: Path, path: Path) -> Target:
        assert self._targets is not None, "it is being prepared"
        # As its image is opened: a new node has QEMU's defaults.
        cache = {"direct": disk.direct, "no-flush": disk.no_flush}
        return self._targets.make(
            path,
            FORMAT,
            disk.size,
            file_options={"cache": cache, "discard": "unmap"},
            node_options={
                "backing": None,
                "cache": cache,
                "discard": "unmap",
                "detect-zeroes": disk.detect_zeroes,
            },
            backing_file=str(image),
            backing_fmt=disk.format,
        )


def _check_plain(disk: Disk) -> None:
    """Refuse an encrypted image: its overlay would hold what the guest writes in the clear.

    Raises:
        JobRefused: it is encrypted.
    """
    if is_encrypted(disk):
        raise JobRefused(
            JobRefusal.TARGET,
            f"the image of {printable(disk.name, 60)} is encrypted, and its overlay would not be",
            "take an internal one, or name the other disks with --disk",
        )


def _beside(image: Path) -> Path:
    """Return the folder of an image.

    Raises:
        JobRefused: the image is a block device, beside which no file belongs.
    """
    if image.is_file():
        return image.parent
    raise JobRefused(
        JobRefusal.TARGET,
        f"{printable(image, 200)} is no file beside which an overlay could be",
        "name the folder of the overlays: --to DIR",
    )


def _image(disk: Disk, path: Path | None) -> Path:
    """Return the path of a disk's image.

    Raises:
        JobRefused: it is no file that is seen here.
    """
    try:
        if path is not None and path.stat():
            return path
    except OSError as error:
        why = f": {error.strerror}"
    else:
        why = ""
    raise JobRefused(
        JobRefusal.TARGET,
        f"the image of {printable(disk.name, 60)} is no file of this host: "
        f"{printable(disk.file, 200)}{why}",
        "take the snapshot where it is kept, under frostwatch freeze VM -- COMMAND",
    )
