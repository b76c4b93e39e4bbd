"""What an operator asks of an operation in flight."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Instruction(StrEnum):
    """What an operator asks of an operation in flight."""

    CANCEL = "cancel"  # stop waiting, and thaw as soon as the agent answers
    END_HOLD = "end hold"  # the window has served its purpose: thaw now
    GIVE_UP = "give up"  # leave at once, and tell the operator what is left to do
    KEEP = "keep"  # leave the window: its holder holds it to its end, and thaws then


class Extension(NamedTuple):
    """The operator needs the window for longer.

    Attributes:
        seconds: how much longer; below zero it ends earlier.
    """

    seconds: float


class Asked(NamedTuple):
    """Another process has asked for something, through the holder.

    Attributes:
        by: who, in words.
        longer_s: by how many seconds the hold is to be longer; None to thaw now.
    """

    by: str
    longer_s: float | None = None


Instructions = Instruction | Extension | Asked
"""All that an operation in flight can be asked."""
