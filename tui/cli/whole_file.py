"""Writes a file that others read as a whole: the old one is there until the new one is complete."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from agentclient.jobs.control import JobControl
from agentclient.jobs.patience import patiently
from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.text import printable

_WITHIN_S: Final = 20.0
# Whoever collects it is another user.
_MODE: Final = 0o644


def write_whole(path: Path, text: str) -> None:
    """Replace a file by one with this text; one that is there keeps its mode.

    Args:
        path: the file; of a link the file that it leads to, unless another user may have put that
            link there.
        text: its whole text.

    Raises:
        BadInput: there is something else, somebody else's link, or no folder for it.
        FrostwatchError: it can't be written; what was there is there still.
        JobFailed: its storage hangs.
    """
    patiently(JobControl(), f"writing {path}", partial(_write, path, text), _WITHIN_S)


def _write(path: Path, text: str) -> None:
    shown = printable(str(path), 200)
    if _is_anothers_link(path):
        raise BadInput(f"{shown!r} is another user's link, in a folder that all may write to")
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_file():
        raise BadInput(f"{shown!r} is no file: name one that may be replaced")
    if not place.parent.is_dir():
        raise BadInput(f"{shown!r}: there is no folder {printable(str(place.parent), 200)!r}")
    mode = place.stat().st_mode & 0o777 if place.exists() else _MODE
    new: str | None = None
    try:
        # Not of the file's own kind, so that nobody collects it by its name.
        descriptor, new = tempfile.mkstemp(".new", f".{place.name}.", place.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        Path(new).replace(place)
        new = None
    except OSError as error:
        raise FrostwatchError(f"{shown} can't be written: {error.strerror or error}") from None
    finally:
        if new is not None:
            with suppress(OSError):
                Path(new).unlink()


def _is_anothers_link(path: Path) -> bool:
    """Return whether a link is none to be followed, as Linux has it (``protected_symlinks``).

    To ask where it leads, as we do, is not to follow it, so that the kernel does not look at it.
    """
    try:
        link, folder = path.lstat(), path.parent.stat()
    except OSError:
        return False
    open_to_all = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    trusted = link.st_uid in (os.geteuid(), folder.st_uid)
    return bool(stat.S_ISLNK(link.st_mode) and open_to_all and not trusted)
