"""The folders of copies: ``DIR/VM/TIME/`` with a file for each disk, and a manifest.

What is read there may come from anybody: no link is followed, and nothing but plain files of the
folder itself is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeGuard

from agentclient.jobs.delete_files import delete_folder
from agentclient.jobs.durable import write_whole
from agentclient.jobs.manifest import (
    BACKUP,
    MOST_BYTES,
    MOST_SIZE,
    NAME,
    SCHEMA,
    WORDS,
    Manifest,
    ManifestError,
    is_token,
    parse,
    written,
)
from agentclient.journal.identity import this_process
from agentclient.model.vm import Process

BEGUN: Final = "begun.json"
# QEMU may run as another user, who must reach the files, and needs to see no others.
FOLDER_MODE: Final = 0o711
_FILE_MODE: Final = 0o600
_MOST_OF_A_SECOND: Final = 100
_LONGEST: Final = 80
NO_MANIFEST: Final = "it has no manifest: it is not complete"
_BEGUN: Final = "-begun"
# Of an ext file system that is mounted there; root alone can read it.
_FILE_SYSTEMS_OWN: Final = frozenset({"lost+found"})
_IMAGES: Final = (".qcow2", ".raw")
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_TIME: Final = re.compile(r"(\d{8}T\d{6}Z)(-\d{1,2})?")


class Begun(NamedTuple):
    """What is written of a copy before it begins, and removed once it is complete.

    Attributes:
        id: the copy's id.
        chain: its chain's id.
        host: on which host it was begun; empty if that is not known.
        process: the frostwatch that makes it; None if it is not known.
        kind: the kind of its manifest.
    """

    id: str
    chain: str
    host: str = ""
    process: Process | None = None
    kind: str = BACKUP

    @property
    def word(self) -> str:
        """What it is: ``backup`` or ``mirror``."""
        return WORDS[self.kind]


class Backup(NamedTuple):
    """One folder of a copy: of a backup, or of a mirror.

    Attributes:
        folder: the folder.
        manifest: what its manifest says; None without a good one.
        sha256: the checksum of the manifest; empty without one.
        problem: why there is no manifest, as a clause; None if there is.
        begun: what was written before it began; None if it is complete, or was not ours.
    """

    folder: Path
    manifest: Manifest | None
    sha256: str
    problem: str | None
    begun: Begun | None = None

    @property
    def unreadable(self) -> bool:
        """Whether it may be a complete copy that can't be read, or was changed."""
        return self.manifest is None and self.problem != NO_MANIFEST


def safe_name(name: str, taken: frozenset[str] = frozenset()) -> str:
    """Return a name for a file that `name` can be told by, and that leads nowhere else.

    Args:
        name: what a person calls the VM, or the disk.
        taken: names that others have already.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:_LONGEST]
    if not plain or not (plain[0].isalnum() or plain[0] == "_"):
        plain = f"_{plain}"
    if plain != name or plain in taken:
        plain += f"-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    return plain


def make_folder(parent: Path, at: datetime) -> Path:
    """Make a folder named by a time, which no other one has; its parent as well.

    Args:
        parent: the folder of the VM.
        at: the time.

    Raises:
        OSError: it can't be made.
    """
    with suppress(FileExistsError):
        parent.mkdir(FOLDER_MODE)
        parent.chmod(FOLDER_MODE)  # whatever the umask
    if parent.is_symlink() or not parent.is_dir():
        raise NotADirectoryError(20, "it is no folder", str(parent))
    stamp = at.astimezone(UTC).strftime(_STAMP)
    for number in range(1, _MOST_OF_A_SECOND):
        folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(FOLDER_MODE)
        except FileExistsError:
            continue
        folder.chmod(FOLDER_MODE)
        return folder
    raise FileExistsError(17, "there are too many of one second", str(parent / stamp))


def begun_at(folder: Path) -> datetime | None:
    """Return the time that a copy's folder is named by; None if it has another name."""
    found = _TIME.fullmatch(folder.name)
    if found is None:
        return None
    with suppress(ValueError):
        return datetime.strptime(found[1], _STAMP).replace(tzinfo=UTC)
    return None


def write_begun(folder: Path, begun: Begun) -> None:
    """Write that a copy begins, so that what it leaves behind can be told to be ours.

    Args:
        folder: its folder.
        begun: what is written; without a process it is of this one.

    Raises:
        OSError: it can't be written.
    """
    pid, ticks = begun.process or this_process()
    content: dict[str, Any] = {
        "schema": SCHEMA, "kind": begun.kind + _BEGUN, "id": begun.id, "chain": begun.chain,
        "host": socket.gethostname(), "pid": pid, "start_ticks": ticks,
    }  # fmt: skip
    write_whole(folder / BEGUN, json.dumps(content).encode("ascii") + b"\n", _FILE_MODE)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest, whole or not at all: a power failure leaves none, or all of it.

    Raises:
        OSError: it can't be written.
    """
    write_whole(folder / NAME, written(manifest), _FILE_MODE)
    with suppress(FileNotFoundError):
        (folder / BEGUN).unlink()


def open_copy(path: Path, inode: tuple[int, int]) -> tuple[int, int]:
    """Make a copy's contents durable, and open it to be read.

    Args:
        path: the file.
        inode: its device and inode, as it was made.

    Returns:
        The open file, and its length.

    Raises:
        OSError: it can't be read, or is another file now.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if (found.st_dev, found.st_ino) != inode:
            raise OSError(2, "it was replaced by another file", str(path))
        os.fsync(handle)
    except BaseException:
        os.close(handle)
        raise
    return handle, found.st_size


def remove_folder(folder: Path, *, parent: bool) -> list[str]:
    """Remove the folder of a copy that is not complete, once its files are gone.

    Args:
        folder: the folder.
        parent: the one above it as well, if nothing else is in there.

    Returns:
        What is left, each as a clause.
    """
    return delete_folder(folder, BEGUN, parent=parent)


def read_backup(folder: Path) -> Backup | None:
    """Read what a folder says of its backup, or its mirror; None if it is no such folder."""
    try:
        handle = open_folder(folder)
    except OSError as error:
        return Backup(folder, None, "", f"it can't be opened: {error.strerror}")
    try:
        begun = _begun(handle)
        try:
            content = _read(handle, NAME)
        except FileNotFoundError:
            if begun is None and not _looks_like_one(folder, handle):
                return None
            return Backup(folder, None, "", NO_MANIFEST, begun)
        except OSError as error:
            return Backup(folder, None, "", f"its manifest can't be read: {error.strerror}", begun)
    finally:
        os.close(handle)
    try:
        return Backup(folder, parse(content), hashlib.sha256(content).hexdigest(), None)
    except ManifestError as error:
        return Backup(folder, None, "", f"its manifest can't be used: {error}", begun)


def backups_in(folder: Path) -> list[Backup]:
    """Return the backups and mirrors of which each has a folder in this one, oldest first.

    Raises:
        OSError: it can't be read.
    """
    found = (read_backup(folder / name) for name in folders_in(folder))
    return [one for one in found if one is not None]


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder; of no links, nor of what is a file system's own.

    Raises:
        OSError: it can't be read.
    """
    with os.scandir(folder) as entries:
        names = {one.name for one in entries if one.is_dir(follow_symlinks=False)}
    return sorted(names - _FILE_SYSTEMS_OWN)


def open_folder(folder: Path) -> int:
    """Open a folder, and no link to one.

    Raises:
        OSError: it can't be opened.
    """
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def open_file(folder: int, name: str) -> int:
    """Open a plain file of an open folder, and no link, pipe or device.

    Raises:
        OSError: it can't be opened, or is something else.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(name, flags, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(22, "it is no plain file", name)
    return handle


def _read(folder: int, name: str, most: int = MOST_BYTES) -> bytes:
    handle = open_file(folder, name)
    with os.fdopen(handle, "rb") as file:
        return file.read(most + 1)


def _begun(folder: int) -> Begun | None:
    try:
        found = json.loads(_read(folder, BEGUN, 4096))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    kind = next((kind for kind in WORDS if found.get("kind") == kind + _BEGUN), None)
    id_, chain = found.get("id"), found.get("chain")
    if kind is None or not (is_token(id_) and is_token(chain)):
        return None
    host, pid, ticks = found.get("host"), found.get("pid"), found.get("start_ticks")
    if not isinstance(host, str) or not (_is_count(pid) and _is_count(ticks)):
        return Begun(id_, chain, kind=kind)
    return Begun(id_, chain, host, Process(pid, ticks), kind)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST_SIZE


def _looks_like_one(folder: Path, handle: int) -> bool:
    """Whether a folder without a manifest is named as a backup's, and has an image."""
    if _TIME.fullmatch(folder.name) is None:
        return False
    with os.scandir(handle) as entries:
        return any(one.name.endswith(_IMAGES) for one in entries)
