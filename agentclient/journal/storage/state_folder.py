"""The folder in which frostwatch keeps what it must remember, and how it is made.

What is ours is for its owner alone. What stands above it belongs to the person: it is made where it
is missing, never writable by others whatever the umask says, and never changed where it is there.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.config.home import home

_OURS: Final = 0o700
_ABOVE: Final = 0o755


class NoStateFolder(Exception):
    """There is no place for such a folder; the text is one clause for a person."""


def state_folder() -> Path:
    """Return the folder's place: under the XDG state directory.

    Raises:
        NoStateFolder: nobody knows where that is.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    if state.startswith("/"):
        return Path(state) / "frostwatch"
    base = home()
    if base is None:
        raise NoStateFolder(
            "nobody has said where the home directory is: set HOME or XDG_STATE_HOME"
        )
    return base / ".local" / "state" / "frostwatch"


def make_folder(path: Path) -> None:
    """Make one of our folders, and what is missing above it.

    Raises:
        OSError: it can't be made.
    """
    missing = [above for above in path.parents if not above.exists()]
    for above in reversed(missing):
        with suppress(FileExistsError):  # somebody else was as quick as we
            above.mkdir(mode=_ABOVE)
    try:
        path.mkdir(mode=_OURS)
    except FileExistsError:
        _close_to_others(path)


def _close_to_others(path: Path) -> None:
    """Take from others what only a folder that is too open gives them: to write in it."""
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, os.strerror(20), str(path))
    if found.st_uid == os.geteuid() and found.st_mode & 0o022:
        path.chmod(found.st_mode & 0o7755)
