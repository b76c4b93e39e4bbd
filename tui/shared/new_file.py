"""Writes a file that was not there before, never over an existing one; and where that may go."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from agentclient.model.text import printable


def current_folder(otherwise: str = "~") -> Path:
    """Return the folder that we run in; it may have been deleted.

    Args:
        otherwise: what is returned then.
    """
    try:
        return Path.cwd()
    except OSError:
        return Path(otherwise)


def write_new(path: Path, text: str) -> str | None:
    """Write a new file; what could not be written whole is taken away again.

    Args:
        path: the file; its folder is there.
        text: what is in it.

    Returns:
        Why it was not written, in one sentence for a person; None if it was.
    """
    named = printable(str(path), 200)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(path, flags, 0o600)
    except FileExistsError:
        return f"{named} is there already, and is left as it is: choose another name"
    except (OSError, ValueError) as error:
        return f"{named} can't be made: {_why(error)}"
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            path.unlink()
        return f"{named} was not written, and is not there: {_why(error)}"
    return None


def _why(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(said, 200)
