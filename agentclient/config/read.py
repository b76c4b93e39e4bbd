"""Reads a settings file, and never waits for a pipe or a device in its place."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from agentclient.config.settings_file import SettingsFile, shown
from agentclient.late import load
from agentclient.model.errors import BadInput
from agentclient.model.text import printable

MOST_BYTES: Final = 1024 * 1024
_TOO_LARGE: Final = f"it is too large: settings have {MOST_BYTES} bytes at the most"


def read(path: Path, *, needed: bool = False) -> SettingsFile | None:
    """Read a settings file; errors become its problems, and are not raised.

    Args:
        path: the file.
        needed: whether a missing file is a problem.

    Returns:
        None if there is no file.
    """
    try:
        text = text_of(path)
    except (FileNotFoundError, NotADirectoryError):
        missing = (f"{shown(path)}: there is no such file",)
        return SettingsFile(path, problems=missing) if needed else None
    except OSError as error:
        return SettingsFile(path, problems=(f"{shown(path)}: {_why(error)}",))
    except BadInput as problem:
        return SettingsFile(path, problems=(str(problem),))
    if not text.strip():
        return SettingsFile(path)
    # The TOML reader takes longer to import than all the rest: only a run with a file imports it.
    found: SettingsFile = load("agentclient.config.document", "parse")(path, text)
    return found


def text_of(path: Path) -> str:
    """Return the content of a file.

    Raises:
        OSError: the file can't be read.
        BadInput: it is no regular file, or must not be used; one sentence.
    """
    # O_NONBLOCK: a pipe without a writer must not stop us.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        found = os.fstat(number)
        problem = None if str(path) == os.devnull else _unfit(found)
        if problem is not None:
            raise BadInput(f"{shown(path)}: {problem}")
        data = b""
        while len(data) <= MOST_BYTES and (more := os.read(number, MOST_BYTES)):
            data += more
    finally:
        os.close(number)
    if len(data) > MOST_BYTES:
        raise BadInput(f"{shown(path)}: {_TOO_LARGE}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise BadInput(
            f"{shown(path)}:{line}: not UTF-8: 0x{byte:02x} begins or continues no character"
        ) from None


def _unfit(found: os.stat_result) -> str | None:
    """Return why a file is not used, as a clause; None if it is.

    A setting can name a file that is written to, so no other user may change the settings.
    """
    if stat.S_ISDIR(found.st_mode):
        return "it is a folder, no file"
    if not stat.S_ISREG(found.st_mode):
        return "it is a device, a pipe or a socket, no file"
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to it, and so set what frostwatch does: chmod o-w it"
    if found.st_uid not in (0, os.geteuid()):
        return (
            f"it belongs to another user (uid {found.st_uid}), who could set what frostwatch does:"
            " chown it to root or to yourself"
        )
    return _TOO_LARGE if found.st_size > MOST_BYTES else None


def _why(error: OSError) -> str:
    reason = error.strerror or str(error)
    without = "; --no-config goes without it" if isinstance(error, PermissionError) else ""
    return f"it can't be read: {printable(reason[:1].lower() + reason[1:], 200)}{without}"
