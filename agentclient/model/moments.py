"""A moment that a person names: an hour of today or tomorrow, or a date with its time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from agentclient.model.errors import BadInput
from agentclient.model.text import printable

FURTHEST = timedelta(days=366)

_HOUR = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)


def parse_moment(text: str, now: datetime) -> datetime:
    """Return the moment that `text` means.

    Args:
        text: ``02:30``, the next one of local time; or a date and time as RFC 3339 writes it.
        now: the present, with a time zone.

    Raises:
        BadInput: it is no such moment, is over already, or is more than a year away.
    """
    found = _HOUR.fullmatch(text.strip())
    moment = _next(now, found) if found is not None else _dated(text)
    if moment < now:
        raise BadInput(
            f"{printable(text, 60)} is over already: it is {now.isoformat('T', 'seconds')}"
        )
    if moment - now > FURTHEST:
        raise BadInput(f"{printable(text, 60)} is more than a year away")
    return moment


def _next(now: datetime, found: re.Match[str]) -> datetime:
    """Return the next moment at which clocks here show an hour."""
    here = now.astimezone()
    hour, minute, second = (int(one or 0) for one in found.groups())
    for days in range(2):
        # Without its zone, so that it is told anew: the clocks may be changed until then.
        day = (here + timedelta(days=days)).replace(tzinfo=None)
        moment = day.replace(hour=hour, minute=minute, second=second, microsecond=0).astimezone()
        if moment >= now:
            return moment
    raise AssertionError("an hour of tomorrow is not over")


def _dated(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or len(text.strip()) <= len("2026-03-01"):
        raise BadInput(
            f"{printable(text, 60)!r} is no time: write 02:30, or 2026-03-01T02:30:00+01:00"
        )
    return moment.astimezone()  # without a zone it is local time
