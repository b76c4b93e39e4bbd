"""The wall clock, with a time zone; each wait is counted on the monotonic clock instead."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the wall clock's time in the local time zone."""
    return datetime.now(UTC).astimezone()
