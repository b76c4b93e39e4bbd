"""The home directory of the user who runs this program."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def home() -> Path | None:
    """Return the home directory; None if neither the environment nor the system knows one.

    An empty or relative path in the environment is ignored.
    """
    path = os.environ.get("HOME", "")
    if not path.startswith("/"):
        try:
            path = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return Path(path) if path.startswith("/") else None
