"""The wall clock, with a time zone; what is waited for is counted on the monotonic one instead."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the wall clock's time in the local time zone."""
    return datetime.now(UTC).astimezone()
