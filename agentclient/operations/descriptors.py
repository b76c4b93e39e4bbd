"""Limits the freezes that run, so that each has the descriptors that it and its thaw need.

A freeze that runs out of descriptors could not observe its VM any more. So one that may run out is
refused before a byte is sent.
"""

from __future__ import annotations

import os
import resource
import threading
from typing import Final

# Of one freeze: two to wake it, its channel, two to the holder while it is armed, its monitor.
FREEZE: Final = 6
# Reserved for thaws, the holder's start, the journal, and visits to other guests.
RESERVE: Final = 24


class TooFewDescriptors(Exception):
    """There are too few descriptors for another freeze; the text is one clause for a person."""


class DescriptorBudget:
    """Counts the freezes that run against the process's limit of descriptors; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._freezes = 0
        self._others = 0

    def take(self) -> None:
        """Count a freeze that begins.

        Raises:
            TooFewDescriptors: there are too few for it; it is not counted.
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
        """Count a freeze that has ended."""
        with self._lock:
            self._freezes -= 1


def _open_now() -> int:
    """Return how many descriptors are open; a guess if that can't be read."""
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    except OSError:
        return FREEZE
