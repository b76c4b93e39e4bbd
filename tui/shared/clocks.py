"""Clocks: where the console gets the time from, and how it writes countdowns and times elapsed.

Every clock on the screen is computed at the moment of painting from `agentclient`'s monotonic
times; a test or a picture injects a clock that stands still.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from agentclient.model.clock import now as wall_now
from agentclient.model.durations import clock

# A countdown from 600 s must not begin with 10:01 because of a rounding error.
_ROUNDING_S = 1e-6


class Moment(NamedTuple):
    """One moment on both clocks.

    Attributes:
        mono: seconds of the monotonic clock.
        wall: the wall clock, with a time zone.
    """

    mono: float
    wall: datetime

    def wall_at(self, mono: float) -> datetime:
        """Return what the wall clock shows when the monotonic clock shows `mono`."""
        return self.wall + timedelta(seconds=mono - self.mono)


class Clock(NamedTuple):
    """The two clocks that the console reads."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = wall_now

    def moment(self) -> Moment:
        """Return both clocks' time now."""
        return Moment(self.monotonic(), self.wall())


def countdown(until: float, moment: Moment) -> str:
    """Return a countdown: the time to `until`, rounded up, never below zero."""
    return clock(math.ceil(max(until - moment.mono - _ROUNDING_S, 0.0)))


def elapsed(since: float, moment: Moment) -> str:
    """Return a running clock: the whole seconds since `since`."""
    return clock(moment.mono - since + _ROUNDING_S)


def age(since: datetime, moment: Moment) -> float:
    """Return the seconds since a wall clock's time, never below zero."""
    return max((moment.wall - since).total_seconds(), 0.0)
