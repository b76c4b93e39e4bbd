"""Converts the journal's times to the wall clock of now, which may have been set meanwhile."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agentclient.journal.identity import boot_id
from agentclient.model.clock import now as wall_now

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Row

_CLOCK_SET: Final = timedelta(seconds=3)


def since_boot(row: Row, seconds: float, at: str) -> datetime:
    """Return the time of an event of a window, by the wall clock as it is set now.

    Args:
        row: the window.
        seconds: the time from the request to the event, in seconds.
        at: the wall clock's time at the event (RFC 3339); the clock may have been set since.
    """
    said = datetime.fromisoformat(at)
    if row["mono"] is None or row["boot"] != boot_id():
        return said
    counted = wall_now() - timedelta(seconds=time.monotonic() - row["mono"] - seconds)
    return said if abs(counted - said) < _CLOCK_SET else counted.replace(microsecond=0)
