"""The folder for frostwatch's persistent state, and how it is made.

Only its owner may use it. The folders above it belong to the user: a missing one is made, and never
writable by others whatever the umask is; an existing one is never changed.
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
    """No place for the state folder is known; the text is one clause for a person."""


def state_folder() -> Path:
    """Return the path of the state folder, under the XDG state directory.

    Raises:
        NoStateFolder: the XDG state directory is not known.
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
    """Make one of our folders, and the missing folders above it.

    Raises:
        OSError: a folder can't be made.
    """
    missing = [above for above in path.parents if not above.exists()]
    for above in reversed(missing):
        with suppress(FileExistsError):  # another process made it just now
            above.mkdir(mode=_ABOVE)
    try:
        path.mkdir(mode=_OURS)
    except FileExistsError:
        _close_to_others(path)


def _close_to_others(path: Path) -> None:
    """Remove other users' permission to write in a folder, if they have it."""
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, os.strerror(20), str(path))
    if found.st_uid == os.geteuid() and found.st_mode & 0o022:
        path.chmod(found.st_mode & 0o7755)
