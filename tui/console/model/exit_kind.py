"""How the console is left."""

from __future__ import annotations

from enum import StrEnum


class ExitKind(StrEnum):
    """How the console is left."""

    CLEAN = "clean"  # nothing is in flight
    DETACHED = "detached"  # something is: its holder thaws it
    KEPT = "kept"  # windows are held: their holder holds them to their end
