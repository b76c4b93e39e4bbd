"""What an operator asks of an operation in flight."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Instruction(StrEnum):
    """What an operator asks of an operation in flight."""

    CANCEL = "cancel"  # stop waiting, and thaw as soon as the agent answers
    END_HOLD = "end hold"  # the window has served its purpose: thaw now
    GIVE_UP = "give up"  # leave at once, and tell the operator what is left to do


class Extension(NamedTuple):
    """The operator needs the window for longer.

    Attributes:
        seconds: how much longer; below zero it ends earlier.
    """

    seconds: float
