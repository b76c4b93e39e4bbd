"""Where the home directory of the person is who runs this."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def home() -> Path | None:
    """Return the home directory; None if neither the environment nor the system knows one.

    An empty or relative one in the environment counts as none.
    """
    path = os.environ.get("HOME", "")
    if not path.startswith("/"):
        try:
            path = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return Path(path) if path.startswith("/") else None
