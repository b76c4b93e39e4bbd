"""Incremental backups: which one can be built on which, and the bitmaps that record the writes.

Each backup has a bitmap of its own on each disk, begun in the transaction that takes it: what is
written since. It is removed only when a later backup is complete. So whatever fails, and whenever,
no write is forgotten.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.jobs.archive import Backup, open_file, open_folder
from agentclient.jobs.block import BlockLayer, QmpRefused
from agentclient.jobs.errors import JobRefused
from agentclient.jobs.manifest import BACKUP, DiskRecord, Manifest
from agentclient.model.job import JobRefusal
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Bitmap, Disk

PREFIX: Final = "frostwatch-"
FULL_INSTEAD: Final = "make a full one: --mode full"


class Link(NamedTuple):
    """What an incremental backup is built on.

    Attributes:
        backup: the backup.
        manifest: its manifest.
    """

    backup: Backup
    manifest: Manifest

    def named(self, disk: Disk) -> Disk:
        """Return a disk with the name that the chain knows it by."""
        record = _record(self.manifest, disk)
        return disk._replace(name=record.name) if record is not None else disk

    def bitmap(self, disk: Disk) -> str:
        """Return the bitmap of a disk that records what was written since."""
        record = self.manifest.disk(disk.name)
        assert record is not None, "it was checked"
        assert record.bitmap is not None, "it was checked"
        return record.bitmap

    def backing(self, disk: Disk) -> str:
        """Return the name of its file, as seen from a folder beside its own."""
        record = self.manifest.disk(disk.name)
        assert record is not None, "it was checked"
        return f"../{self.backup.folder.name}/{record.file}"

    def dirty(self, disk: Disk) -> int:
        """Return the bytes of a disk that were written since."""
        found = _bitmap(disk, self.bitmap(disk))
        return found.dirty if found is not None else 0


def bitmap_name(chain: str, backup: str, number: int) -> str:
    """Return the name of the bitmap that records what is written since a backup.

    Each disk's has another name: where disks are exchanged, or called otherwise when the VM starts
    again, the bitmap of one is never taken for that of another.

    Args:
        chain: the chain's id.
        backup: the backup's id.
        number: the disk's number in the backup.
    """
    return f"{PREFIX}{chain}-{backup}-{number}"


def bitmaps_of(disks: Iterable[Disk], chain: str, backup: str) -> frozenset[str]:
    """Return the names of the bitmaps that the disks have of one backup."""
    begin = f"{PREFIX}{chain}-{backup}-"
    found = (bitmap.name for disk in disks for bitmap in disk.bitmaps)
    return frozenset(name for name in found if name.startswith(begin))


def find_link(backups: Sequence[Backup], disks: Sequence[Disk], uuid: str | None) -> Link:
    """Return the newest backup that an incremental one can be built on.

    Args:
        backups: those in the VM's folder, oldest first; mirrors beside them don't count.
        disks: the disks to copy.
        uuid: the VM's UUID; None if it isn't known.

    Raises:
        JobRefused: there is none; it says why not.
    """
    for disk in disks:
        if disk.format != "qcow2":
            name, kind = printable(disk.name, 60), printable(disk.format, 20)
            raise _refused(f"the disk {name} is {kind}: only a qcow2 records what was written")
    complete = [one for one in backups if one.manifest and one.manifest.kind == BACKUP]
    if not complete:
        raise _refused("there is no complete backup of this VM to build on")
    why = ""
    for backup in reversed(complete):
        assert backup.manifest is not None, "it is complete"
        problem = _why_not(backup.manifest, disks, uuid)
        if problem is None:
            _, problem = chain_of(backup, {one.folder.name: one for one in complete})
            if problem is None:
                return Link(backup, backup.manifest)
            raise _refused(f"{backup.folder.name} can't be built on: {problem}")
        why = why or f"{backup.folder.name} can't be built on: {problem}"
    raise _refused(why)


def chain_of(
    backup: Backup, complete: Mapping[str, Backup], seen: dict[Path, str | None] | None = None
) -> tuple[tuple[Backup, ...], str | None]:
    """Return a backup with all that it builds on, and what is missing there.

    Args:
        backup: the backup; it has a manifest.
        complete: all beside it that have one, by the names of their folders.
        seen: what was missing in folders that were looked at; more is added.

    Returns:
        The backup first, then what it builds on as far as it is there; and what is missing or not
        what it was, as a clause: None if nothing is. No file is read.
    """
    seen = {} if seen is None else seen
    chain = {backup.folder.name: backup}
    last = backup
    while True:
        manifest = last.manifest
        assert manifest is not None, "it is complete"
        if last.folder not in seen:
            seen[last.folder] = _missing(last.folder, manifest)
        problem, above = seen[last.folder], manifest.parent
        if problem is not None or above is None:
            return tuple(chain.values()), problem
        found = complete.get(above.folder)
        if found is None or found.sha256 != above.manifest_sha256 or above.folder in chain:
            why = f"its chain is broken: {above.folder} is not there, or is not what it was"
            return tuple(chain.values()), why
        chain[above.folder] = last = found


def can_record(block: BlockLayer, disk: Disk, name: str) -> str | None:
    """Try whether QEMU can keep a bitmap in a disk's image; return why not, None if it can.

    Raises:
        JobFailed: the monitor does not answer.
    """
    if disk.format != "qcow2":
        return f"it is {printable(disk.format, 20)}"
    try:
        block.run("block-dirty-bitmap-add", node=disk.node, name=name, persistent=True)
        block.run("block-dirty-bitmap-remove", node=disk.node, name=name)
    except QmpRefused as error:
        return error.desc
    return None


def ours(disks: Iterable[Disk], chains: frozenset[str], keep: frozenset[str]) -> frozenset[str]:
    """Return the names of the bitmaps that belong to some chains, but for those that are kept."""
    found = (bitmap.name for disk in disks for bitmap in disk.bitmaps)
    return frozenset(
        name
        for name in found
        if name not in keep
        and name.startswith(PREFIX)
        and name.removeprefix(PREFIX).partition("-")[0] in chains
    )


def _why_not(manifest: Manifest, disks: Sequence[Disk], uuid: str | None) -> str | None:
    """Say why nothing can be built on a backup, as far as the VM's disks tell."""
    if uuid is not None and manifest.vm.get("uuid") not in (None, uuid):
        return "it is of another VM"
    for disk in disks:
        name = printable(disk.name, 60)
        record = _record(manifest, disk)
        if record is None:
            return f"it has no copy of the disk {name}"
        if record.size != disk.size:
            return f"the disk {name} had another size then"
        if record.bitmap is None:
            return f"what was written to the disk {name} since was not recorded"
        bitmap = _bitmap(disk, record.bitmap)
        if bitmap is None:
            return f"the disk {name} has not recorded what was written since"
        if not bitmap.usable or not bitmap.persistent:
            return f"the record of what was written to the disk {name} since can't be relied on"
    return None


def _record(manifest: Manifest, disk: Disk) -> DiskRecord | None:
    """Return what a manifest has of a disk; None if it has nothing.

    A disk without a drive's id was called by its node once, whose name may have changed since.
    """
    record = manifest.disk(disk.name)
    if record is not None:
        return record
    marks = {one.name for one in disk.bitmaps}
    by_node = [one for one in manifest.disks if one.name == one.node]
    found = [one for one in by_node if one.bitmap in marks]
    found = found or [one for one in by_node if one.name == disk.node]
    return found[0] if len(found) == 1 else None


def _missing(folder: Path, manifest: Manifest) -> str | None:
    try:
        handle = open_folder(folder)
    except OSError as error:
        return f"{folder.name} can't be opened: {error.strerror}"
    try:
        for disk in manifest.disks:
            try:
                file = open_file(handle, disk.file)
            except OSError as error:
                return f"{folder.name}/{disk.file} can't be opened: {error.strerror}"
            size = os.fstat(file).st_size
            os.close(file)
            if size != disk.bytes:
                return f"{folder.name}/{disk.file} has not the length that it had"
    finally:
        os.close(handle)
    return None


def _bitmap(disk: Disk, name: str) -> Bitmap | None:
    return next((one for one in disk.bitmaps if one.name == name), None)


def _refused(why: str) -> JobRefused:
    return JobRefused(JobRefusal.BITMAP, why, FULL_INSTEAD)
