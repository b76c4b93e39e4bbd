"""Makes a file for a copy, which overwrites nothing, and gives it to the user of the VM's QEMU."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.access.host.process import PROC
from agentclient.jobs.errors import JobRefused
from agentclient.jobs.opened import Inode
from agentclient.model.job import JobRefusal
from agentclient.model.text import printable
from agentclient.model.vm import Process

_MODE: Final = 0o600


def new_file(path: Path, size: int, process: Process | None) -> Inode:
    """Make a file that does not exist, and give it to the user of the VM's QEMU.

    Args:
        path: the file.
        size: its length, in bytes; it is sparse.
        process: the VM's QEMU; None for a file that stays ours.

    Returns:
        Its device and inode.

    Raises:
        JobRefused: it exists, or can't be made or given away.
    """
    shown = printable(path, 300)
    if not _is_text(path):
        why = f"the name {shown} is no UTF-8, so that QEMU can't be told of it"
        raise JobRefused(JobRefusal.TARGET, why, "name another folder")
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _MODE)
    except FileExistsError:
        raise JobRefused(
            JobRefusal.TARGET_EXISTS,
            f"{shown} exists, and is not overwritten",
            "name another folder, or move that file away",
        ) from None
    except OSError as error:
        why = f"{shown} can't be made: {error.strerror}"
        raise JobRefused(JobRefusal.TARGET, why, "name a folder that can be written") from None
    try:
        owner = _owner(process)
        if owner is not None and owner[0] != os.geteuid():
            os.fchown(handle, *owner)
        if size:
            os.truncate(handle, size)
        found = os.fstat(handle)
    except OSError as error:
        path.unlink()
        why = f"{shown} can't be given to the user of the VM's QEMU: {error.strerror}"
        raise JobRefused(
            JobRefusal.TARGET, why, "run frostwatch as root, or as that user"
        ) from None
    finally:
        os.close(handle)
    return found.st_dev, found.st_ino


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _owner(process: Process | None) -> tuple[int, int] | None:
    """Return the user and the group that a process writes files as; None if not known."""
    if process is None:
        return None
    with suppress(OSError, ValueError, IndexError):
        lines = dict(
            line.split(":", 1)
            for line in (PROC / str(process.pid) / "status").read_text().splitlines()
            if ":" in line
        )
        # Real, effective, saved, and for files (proc_pid_status(5)).
        return int(lines["Uid"].split()[3]), int(lines["Gid"].split()[3])
    return None
