"""The files that a VM's QEMU has open, whatever their names are by now."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.access.host.process import PROC
from agentclient.model.text import printable
from agentclient.model.vm import Process

Inode = tuple[int, int]
# So the kernel ends the name of a file that has none any more (proc_pid_fd(5)).
_DELETED: Final = " (deleted)"


def opened_by(process: Process | None) -> frozenset[Inode] | None:
    """Return the files that a process has open; None if that can't be seen."""
    names = names_of_opened(process)
    return None if names is None else frozenset(names)


def names_of_opened(process: Process | None) -> dict[Inode, str] | None:
    """Return the files that a process has open, with the names that they have now.

    Args:
        process: the process.

    Returns:
        The name is empty where the file has none any more; None if it can't be seen.
    """
    if process is None:
        return None
    try:
        return dict(_names(PROC / str(process.pid) / "fd"))
    except OSError:
        return None


def written_by(process: Process | None) -> frozenset[Inode] | None:
    """Return the plain files that a process has open to write to; None if that can't be seen.

    What a QEMU's monitor says of its files is its user's word; what it may write to is the kernel's
    (P10). A file of somebody else's, which it may only read, is not among them.
    """
    if process is None:
        return None
    found = set()
    try:
        for entry in (PROC / str(process.pid) / "fd").iterdir():
            with suppress(OSError):
                file = entry.stat()
                # The link's own permissions are how the file is open (proc_pid_fd(5)).
                if entry.lstat().st_mode & stat.S_IWUSR and stat.S_ISREG(file.st_mode):
                    found.add((file.st_dev, file.st_ino))
    except OSError:
        return None
    return frozenset(found)


def open_below(folder: Path) -> dict[Path, int]:
    """Return the files below a folder that any process has open, and who, as far as is seen here.

    Nothing of the folder's storage is asked, which may hang.
    """
    found: dict[Path, int] = {}
    for process in PROC.iterdir():
        if not process.name.isdecimal():
            continue
        with suppress(OSError):
            for entry in (process / "fd").iterdir():
                with suppress(OSError):
                    path = entry.readlink()
                    if path.is_relative_to(folder):
                        found[path] = int(process.name)
    return found


def inode(path: Path) -> Inode:
    """Return a file's device and inode.

    Raises:
        OSError: it is not there, or can't be seen.
    """
    found = path.stat()
    return found.st_dev, found.st_ino


def is_elsewhere(path: Path, number: Inode) -> bool:
    """Return whether a file has not the name any more that it was made with."""
    try:
        return inode(path) != number
    except FileNotFoundError:
        return True
    except OSError:
        return False


def now_called(name: str | None) -> str:
    """Return where a file is that has not the name any more that it was made with, as a clause.

    Args:
        name: its name now; empty if it has none; None if that isn't known.
    """
    if name is None:
        return ", which was moved away or deleted (where to is not known)"
    return f", which was moved to {printable(name, 300)}" if name else ", which was deleted"


def _names(folder: Path) -> Iterator[tuple[Inode, str]]:
    for entry in folder.iterdir():
        with suppress(OSError):
            name = str(entry.readlink())
            yield inode(entry), "" if name.endswith(_DELETED) else name
