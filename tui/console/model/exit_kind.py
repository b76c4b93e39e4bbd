"""How the console is left."""

from __future__ import annotations

from enum import StrEnum


class ExitKind(StrEnum):
    """How the console is left."""

    CLEAN = "clean"  # nothing is in flight
    DETACHED = "detached"  # something is: its holder thaws it
