"""Converts the journal's times to the wall clock of now, which may have been set meanwhile."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agentclient.journal.identity import boot_id
from agentclient.model.clock import now as wall_now

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Row

# A clock that differs by less is only adjusted.
CLOCK_SET: Final = timedelta(seconds=3)


def since_boot(row: Row, seconds: float, at: str) -> datetime:
    """Return the time of an event of a window, by the wall clock as it is set now.

    Args:
        row: the window.
        seconds: the time from the request to the event, in seconds.
        at: the wall clock's time at the event (RFC 3339); the clock may have been set since.
    """
    said = datetime.fromisoformat(at)
    counted = _counted(row, seconds)
    if counted is None or timedelta() <= counted - said < _suspended() + CLOCK_SET:
        return said  # the wall clock went on while this host was suspended
    return _best(said, counted)


def due_at(row: Row, seconds: float, at: str) -> datetime:
    """Return when a deadline of a window is over, by the wall clock as it is set now.

    Deadlines are counted on the monotonic clock, which stands still while this host is suspended.

    Args:
        row: the window.
        seconds: the time from the request to the deadline, in seconds.
        at: when it is over by the wall clock as it was set then (RFC 3339).
    """
    said = datetime.fromisoformat(at)
    counted = _counted(row, seconds)
    return said if counted is None else _best(said, counted)


def _counted(row: Row, seconds: float) -> datetime | None:
    """Return a time of a window by the time that has passed since; None if that isn't known."""
    if row["mono"] is None or row["boot"] != boot_id():
        return None
    return wall_now() - timedelta(seconds=time.monotonic() - row["mono"] - seconds)


def _best(said: datetime, counted: datetime) -> datetime:
    return said if abs(counted - said) < CLOCK_SET else counted.replace(microsecond=0)


def _suspended() -> timedelta:
    """Return for how long this host was suspended since its boot."""
    return timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())
