"""Makes whole images of a copy by ``qemu-img``, checked before; all of them, or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.jobs import storage_process
from agentclient.jobs.catalogue import Listed, look, no_copy
from agentclient.jobs.control import JobControl
from agentclient.jobs.delete_files import delete
from agentclient.jobs.durable import sync_file, sync_folder
from agentclient.jobs.image_tool import convert_image
from agentclient.jobs.made_apart import made_apart
from agentclient.jobs.manifest import DiskRecord, Manifest
from agentclient.jobs.opened import Inode
from agentclient.jobs.patience import patiently
from agentclient.jobs.storage_process import StorageHangs
from agentclient.jobs.targets import check_space
from agentclient.jobs.verify import Verifier
from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.text import printable

# All that a host keeps in its memory of an image, on a slow storage.
SYNCED_WITHIN_S: Final = 3600.0
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_PART: Final = ".incomplete"
_SHOWN: Final = 12

# What is done now, and how far it is in percent; None where that isn't known.
Tick = Callable[[str, float | None], object]


class RestoreFailed(FrostwatchError):
    """Nothing was restored, and nothing is left of it; the text is one clause for a person."""


class RestorePlan(NamedTuple):
    """What is to be restored.

    Attributes:
        copy: the copy.
        manifest: what its manifest says.
        disks: its disks.
        to: the folder for the images, which is not there, or empty.
        format: the images' format; None for that of the copy's files.
    """

    copy: Listed
    manifest: Manifest
    disks: tuple[DiskRecord, ...]
    to: Path
    format: str | None = None

    def format_of(self, disk: DiskRecord) -> str:
        """Return the format of a disk's image."""
        return self.format or disk.format

    def image_of(self, disk: DiskRecord) -> Path:
        """Return the file of a disk's image."""
        return self.to / f"{disk.file.removesuffix(f'.{disk.format}')}.{self.format_of(disk)}"


class Restored(NamedTuple):
    """One disk's image.

    Attributes:
        disk: the disk.
        file: the image.
        format: its format.
    """

    disk: DiskRecord
    file: Path
    format: str


def plan_restore(
    folder: Path, to: Path, disks: Sequence[str] = (), format_: str | None = None
) -> RestorePlan:
    """Return what would be restored.

    Args:
        folder: the folder of one copy.
        to: the folder for the images; it is made.
        disks: the names of the disks; empty for all.
        format_: ``qcow2`` or ``raw``; None for the format of the copy's files.

    Raises:
        BadInput: the folder is not that of one copy, or `to` is no new one; or there is no such
            disk.
        RestoreFailed: the copy is not complete.
    """
    copy = _one(folder)
    manifest = copy.backup.manifest
    shown = printable(copy.backup.folder, 300)
    if manifest is None or copy.problem is not None:
        raise RestoreFailed(f"nothing can be made of {shown}: {copy.problem}")
    known = {disk.name: disk for disk in manifest.disks}
    for name in disks:
        if name not in known:
            names = ", ".join(printable(one, 60) for one in list(known)[:_SHOWN])
            raise BadInput(f"{shown} has no disk {printable(name, 60)!r}; its disks are: {names}")
    _check_new(to, copy.backup.folder)
    chosen = tuple(known[name] for name in dict.fromkeys(disks)) or manifest.disks
    return RestorePlan(copy, manifest, chosen, to, format_)


def restore(
    plan: RestorePlan, program: str, tick: Tick, control: JobControl | None = None
) -> list[Restored]:
    """Check the copy, and make the images.

    Args:
        plan: what to restore.
        program: the path of ``qemu-img``.
        tick: is called about ten times a second; what it raises ends it, and all is undone.
        control: ends a wait for a storage that hangs; None for nobody.

    Raises:
        RestoreFailed: the copy is not what it was, or an image can't be made.
        JobRefused: there is no room.
        JobFailed: a storage hangs.
    """
    backup = plan.copy.backup
    verified = Verifier(lambda doing: tick(doing, None), program).verify(backup)
    if not verified.ok:
        what = "; ".join(verified.problems[:3])
        raise RestoreFailed(f"nothing is made of {printable(backup.folder, 300)}: {what}")
    control = control or JobControl()
    patiently(control, "looking for room", partial(_check_room, plan))
    undo: list[Callable[[], object]] = []
    try:
        if made_apart(
            control, "making the folder", partial(_make_folder, plan.to), partial(_unmake, plan.to)
        ):
            undo.append(partial(os.rmdir, plan.to))
        made = [_convert(plan, disk, program, tick, undo, control=control) for disk in plan.disks]
        tick(f"writing {printable(plan.to, 200)} out", None)
        syncing = partial(_sync, [one.file for one in made], plan.to)
        patiently(control, "writing the images out", syncing, SYNCED_WITHIN_S)
    except BaseException as error:
        undone = storage_process.call_in_order(list(reversed(undo)))
        if any(isinstance(one, StorageHangs) for one in undone):
            left = f"LEFT BEHIND: incomplete images in {printable(plan.to, 300)}"
            why = f"{printable(str(error), 300)}; {left}, whose storage hangs"
            raise RestoreFailed(why) from error
        if isinstance(error, OSError):
            why = f"{printable(plan.to, 300)} can't be written to: {error.strerror}"
            raise RestoreFailed(why) from error
        raise
    return made


def _one(folder: Path) -> Listed:
    copies = [copy for home in look(folder) for copy in home.copies]
    if not copies:
        raise BadInput(no_copy(folder))
    if len(copies) == 1:
        return copies[0]
    whole = [copy for copy in copies if copy.complete] or copies
    shown = printable(folder, 300)
    raise BadInput(
        f"there are {len(copies)} copies in {shown}: name the folder of one, such as "
        f"{printable(whole[-1].backup.folder, 300)} (frostwatch backup list {shown})"
    )


def _check_new(to: Path, copy: Path) -> None:
    shown = printable(to, 300)
    if to.is_symlink() or (to.exists() and not to.is_dir()):
        raise BadInput(f"{shown} exists, and is no folder: name a new one")
    try:
        if to.is_dir() and any(to.iterdir()):
            raise BadInput(f"{shown} has files already, and nothing is overwritten: name a new one")
    except OSError as error:
        raise BadInput(f"{shown} can't be read: {error.strerror}") from None
    if not to.parent.is_dir():
        raise BadInput(f"{printable(to.parent, 300)} is no folder: make it, or name another one")
    if to.resolve().is_relative_to(copy):
        raise BadInput(f"{shown} is within the copy itself: name another one")


def _least(plan: RestorePlan, disk: DiskRecord) -> int:
    """Return what an image takes at the least: as much as the largest file of its chain."""
    names = [folder / disk.file for folder in plan.copy.needs]
    return max((name.stat().st_blocks * 512 for name in names if name.is_file()), default=0)


def _check_room(plan: RestorePlan) -> None:
    # One that is there may be a file system of its own.
    place = plan.to if plan.to.is_dir() else plan.to.parent
    check_space(place, sum(_least(plan, disk) for disk in plan.disks))


def _make_folder(to: Path) -> bool:
    """Make a folder; return whether it was not there."""
    if to.exists():
        return False
    to.mkdir(_FOLDER_MODE)
    return True


def _unmake(to: Path, made: bool) -> None:
    if made:
        to.rmdir()


def _convert(
    plan: RestorePlan,
    disk: DiskRecord,
    program: str,
    tick: Tick,
    undo: list[Callable[[], object]],
    *,
    control: JobControl,
) -> Restored:
    file, format_ = plan.image_of(disk), plan.format_of(disk)
    part = file.with_name(file.name + _PART)
    made_apart(control, "making an image", partial(_make_file, part), partial(delete, part))
    undo.append(partial(os.unlink, part))
    name = printable(disk.name, 60)
    source = (plan.copy.backup.folder / disk.file, disk.format)
    told = partial(tick, f"restoring {name}")
    problem = convert_image(program, source, (part, format_), told)
    if problem is not None:
        raise RestoreFailed(f"{name} can't be restored: {problem}")
    made_apart(control, "naming an image", partial(_rename, part, file), partial(delete, file))
    undo.append(partial(os.unlink, file))
    return Restored(disk, file, format_)


def _make_file(part: Path) -> Inode:
    """Make a file; return its device and inode."""
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _FILE_MODE)
    try:
        found = os.fstat(handle)
    finally:
        os.close(handle)
    return found.st_dev, found.st_ino


def _rename(part: Path, file: Path) -> Inode:
    """Give a file its name; return its device and inode."""
    if file.exists():
        raise FileExistsError(17, "somebody has made a file there meanwhile")
    part.rename(file)
    found = file.lstat()
    return found.st_dev, found.st_ino


def _sync(files: Sequence[Path], folder: Path) -> None:
    for file in files:
        sync_file(file)
    for one in (folder, folder.parent):
        sync_folder(one)
