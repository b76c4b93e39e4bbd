"""How many freezes may begin, so that each has the descriptors that it and its thaw need.

A freeze that runs out of descriptors half-way would go on half-blind. So one that could is not
begun, and that is said before a byte is sent.
"""

from __future__ import annotations

import os
import resource
import threading
from typing import Final

# Two that wake it, its channel, two to the holder while it is armed, one to its monitor.
FREEZE: Final = 6
# Kept for thaws, the holder's start, the journal, and visits to other guests.
RESERVE: Final = 24


class TooFewDescriptors(Exception):
    """There are too few descriptors for another freeze; the text is one clause for a person."""


class DescriptorBudget:
    """The descriptors of one process, as far as freezes take them; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._freezes = 0
        self._others = 0

    def take(self) -> None:
        """Count a freeze that begins.

        Raises:
            TooFewDescriptors: it may not begin.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        with self._lock:
            if not self._freezes:
                self._others = _open_now()
            needed = self._others + (self._freezes + 1) * FREEZE + RESERVE
            if limit != resource.RLIM_INFINITY and needed > limit:
                raise TooFewDescriptors(
                    f"{self._freezes} freezes are in flight, and ulimit -n is {limit}: too few "
                    "descriptors are left for another one and its thaw"
                )
            self._freezes += 1

    def give_back(self) -> None:
        """A freeze has ended."""
        with self._lock:
            self._freezes -= 1


def _open_now() -> int:
    """Return how many descriptors are open; all of a small limit if that can't be told."""
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    except OSError:
        return FREEZE
