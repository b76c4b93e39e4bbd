"""Has a storage take files: what they hold, and their names."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from agentclient.jobs.opened import Inode


def sync_file(path: Path, number: Inode | None = None) -> None:
    """Wait until the storage has what a file holds.

    Args:
        path: the file.
        number: its device and inode, as it was made; None if any file of that name will do.

    Raises:
        OSError: the storage did not take it, or it is another file now.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if number is not None and (found.st_dev, found.st_ino) != number:
            raise FileNotFoundError(errno.ENOENT, f"{path} was replaced by another file")
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until the storage has the names in a folder.

    Raises:
        OSError: the storage did not take them.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file, whole or not at all: it is written beside its place, and moved there.

    Its folder's own name is durable then as well.

    Args:
        path: the file; one that is there is replaced.
        content: what it is to hold.
        mode: its permissions.

    Raises:
        OSError: it can't be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    for folder in (path.parent, path.parent.parent):
        sync_folder(folder)
