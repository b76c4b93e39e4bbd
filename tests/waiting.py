"""Waiting for what comes, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 60.0
_LOOK_S = 0.005


def until(holds: Callable[[], object], what: str = "it", within_s: float = PATIENCE_S) -> None:
    """Wait until something holds.

    Args:
        holds: asked again and again.
        what: is waited for, for the message.
        within_s: seconds.

    Raises:
        AssertionError: it did not hold in time.
    """
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"{what} was waited for in vain"
        time.sleep(_LOOK_S)
