"""When something in the journal was, also if the wall clock was set since."""

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
    """Return when something was, by the clock as it is now.

    Args:
        row: the window.
        seconds: after it was asked for.
        at: what the wall clock said then; it may have been set since.
    """
    said = datetime.fromisoformat(at)
    if row["mono"] is None or row["boot"] != boot_id():
        return said
    counted = wall_now() - timedelta(seconds=time.monotonic() - row["mono"] - seconds)
    return said if abs(counted - said) < _CLOCK_SET else counted.replace(microsecond=0)
