"""Deletes what a copy has made, in a process of its own; and names what could not be deleted."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from agentclient.jobs import storage_process
from agentclient.jobs.opened import Inode, opened_by
from agentclient.model.text import printable
from agentclient.model.vm import Process


def delete_files(files: Iterable[tuple[str, Path, Inode | None]]) -> list[str | None]:
    """Delete files, for a bounded time.

    Args:
        files: of each what it is called in a sentence, its path, and its device and inode as it was
            made; None for any file of that name.

    Returns:
        For each what is left, as a clause; None if nothing is: it was not there, or is another file
        now.
    """
    files = list(files)
    found = storage_process.call_in_order([partial(delete, path, one) for _, path, one in files])
    return [
        None if error is None else f"{shown} ({error.strerror})"
        for (shown, _, _), error in zip(files, found, strict=True)
    ]


def delete_incomplete(files: Sequence[tuple[Path, Inode | None]]) -> tuple[list[str], list[str]]:
    """Delete the incomplete files of a copy, for a bounded time.

    Args:
        files: of each its path, and its device and inode as it was made; None for any file of that
            name.

    Returns:
        The files that were deleted, and what is left, each as a clause.
    """
    named = [(f"the incomplete file {printable(path, 300)}", path, one) for path, one in files]
    problems = delete_files(named)
    gone = [str(path) for (path, _), why in zip(files, problems, strict=True) if why is None]
    return gone, [why for why in problems if why is not None]


def kept_overlay(path: Path) -> str:
    """Return what is said of an overlay that is not deleted, as a clause."""
    return (
        f"the overlay {printable(path, 300)}, which no disk of the VM uses, and which may hold "
        "what its guest has written"
    )


def delete_folder(folder: Path, own: str, *, parent: bool) -> list[str]:
    """Delete a folder, once its files are gone, for a bounded time.

    Args:
        folder: the folder.
        own: the name of the one file that may be in it still, and goes with it.
        parent: the one above it as well, if nothing else is in there.

    Returns:
        What is left, each as a clause.
    """
    (error,) = storage_process.call_in_order([partial(_delete_folder, folder, own, parent)])
    return [] if error is None else [f"the folder {printable(folder, 300)} ({error.strerror})"]


def delete(path: Path, number: Inode | None) -> None:
    """Delete a file; nothing is done if it is not there, or another file now.

    Raises:
        OSError: it can't be deleted.
    """
    # The folder is opened once: else whoever owns a part of the path could exchange that between
    # the look and the deletion, for the folder of another file of that name.
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if number is None or _inode_in(folder, path.name) == number:
            os.unlink(path.name, dir_fd=folder)
    except FileNotFoundError:
        return
    finally:
        os.close(folder)


def delete_unless_open(path: Path | None, number: Inode, process: Process | None) -> bool:
    """Delete a file that a process does not have open.

    Args:
        path: the file; None if it has another name by now, and is only looked for.
        number: its device and inode.
        process: the process; None if it is not known.

    Returns:
        False if the process has it open: then it stays.

    Raises:
        OSError: it can't be deleted.
    """
    if number in (opened_by(process) or ()):
        return False
    if path is not None:
        delete(path, number)
    return True


def _inode_in(folder: int, name: str) -> Inode:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return found.st_dev, found.st_ino


def _delete_folder(folder: Path, own: str, parent: bool) -> None:
    try:
        if any(one.name != own for one in folder.iterdir()):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        (folder / own).unlink(missing_ok=True)
        folder.rmdir()
    except FileNotFoundError:
        return
    if parent:
        try:
            folder.parent.rmdir()
        except OSError:  # it has other copies
            return
