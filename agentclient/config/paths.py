"""The places of settings files, and a check whether anything is set at all.

Each start of the program does this check: if nothing is set, the code that reads settings is not
imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agentclient.config.home import home

SYSTEM_FILE: Final = Path("/etc/frostwatch/config.toml")
PREFIX: Final = "FROSTWATCH_"
FILE_VARIABLE: Final = "FROSTWATCH_CONFIG"


def own_file(variables: Mapping[str, str]) -> Path | None:
    """Return the path of the user's settings file; None if the home directory is not known."""
    folder = variables.get("XDG_CONFIG_HOME", "")
    if folder.startswith("/"):
        return Path(folder, "frostwatch", "config.toml")
    base = home()
    return base / ".config" / "frostwatch" / "config.toml" if base is not None else None


def is_nothing_set(named: str | None = None, *, no_file: bool = False) -> bool:
    """Return whether neither a file nor the environment can set anything.

    Args:
        named: the only file, as an option names it; None for the default ones.
        no_file: no file is read.
    """
    for variable, text in os.environ.items():
        if variable.startswith(PREFIX) and variable != FILE_VARIABLE and text.strip():
            return False
    only = os.environ.get(FILE_VARIABLE) or None if named is None else named
    if no_file or only is not None:
        return no_file or only == os.devnull
    own = own_file(os.environ)
    return _is_missing(SYSTEM_FILE) and (own is None or _is_missing(own))


def _is_missing(path: Path) -> bool:
    """Return whether a file surely does not exist; if it can't be looked at, it may exist."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
