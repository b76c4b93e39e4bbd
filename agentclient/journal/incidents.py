"""The queries that find the windows of an incident: by number, by VM, by time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agentclient.journal.rows import identity
from agentclient.journal.storage.jobs import Query
from agentclient.journal.window_row import WindowRow, windows_in

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Statement

# When the last thing of a window happened that is known, of one that never ended as well.
_LAST_AT: Final = (
    "coalesce(ended_at, thawed_at, thaw_sent_at, held_at, verdict_at, replied_at, sent_at,"
    " armed_at, asked_at)"
)

Windows = Query[tuple[WindowRow, ...]]


def window_of(number: int) -> Windows:
    """Return the query for the window of a number."""
    return _windows("id = ?", (number,), 1)


def newest_of(vms: Sequence[str]) -> Windows:
    """Return the query for the newest window of some VMs, by their ids; of all if none is named.

    What others had pending is passed over, and so is a freeze that was never sent.
    """
    where, values = _of(vms)
    return _windows(f"{where} AND sent_at IS NOT NULL AND kind != 'others'", values, 1)


def between(begin: datetime, end: datetime, vms: Sequence[str], limit: int) -> Windows:
    """Return the query for the windows that were going on at any time of a span.

    Args:
        begin: the span's beginning.
        end: its end.
        vms: the ids of the VMs; empty for all.
        limit: the newest so many at the most.
    """
    where, values = _of(vms)
    text = (
        f"{where} AND julianday(asked_at) <= julianday(?) AND julianday({_LAST_AT}) >= julianday(?)"
    )
    times = (end.isoformat("T", "milliseconds"), begin.isoformat("T", "milliseconds"))
    return _windows(text, (*values, *times), limit)


def _of(vms: Sequence[str]) -> tuple[str, tuple[object, ...]]:
    if not vms:
        return "1", ()
    return f"vm IN ({', '.join('?' * len(vms))})", tuple(identity(one) for one in vms)


def _windows(where: str, values: tuple[object, ...], limit: int) -> Windows:
    chosen = f"SELECT * FROM windows WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - our own words
    events = (
        f"SELECT * FROM events WHERE window IN (SELECT id FROM ({chosen}))"  # noqa: S608 - as above
        " ORDER BY window, rowid"
    )
    asked: Statement = (chosen, (*values, limit))
    return Query([asked, (events, (*values, limit))], windows_in, ())
