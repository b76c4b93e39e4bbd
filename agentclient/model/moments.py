"""A moment that a person names: an hour, a date with its time, or how long ago it was."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from agentclient.model.durations import parse_duration
from agentclient.model.errors import BadInput
from agentclient.model.text import printable

FURTHEST = timedelta(days=366)

_LONG = re.compile(r"(?=[0-9])(?:([0-9]{1,5})w)?(?:([0-9]{1,5})d)?(.*)", re.ASCII)
_EIGHT_DIGITS = re.compile(r"[0-9]{8}", re.ASCII)
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


def parse_past(text: str, now: datetime) -> datetime:
    """Return the past moment that `text` means.

    Args:
        text: how long ago, as in ``90m``, ``1d``, ``2w`` or ``1d12h``; ``02:30``, the last one of
            local time; or a date, with its time or without, as RFC 3339 writes it.
        now: the present, with a time zone.

    Raises:
        BadInput: it is no such moment, is yet to come, or may be a date as well as seconds.
    """
    plain = text.strip()
    if (day := _compact_date(plain)) is not None:
        raise BadInput(f"{plain} may be a date, or so many seconds: write {day} or {plain}s")
    hour = _HOUR.fullmatch(plain)
    moment = _last(now, hour) if hour is not None else _ago(plain, now) or _any_date(plain)
    if moment is None:
        raise BadInput(
            f"{printable(text, 60)!r} is no past time: write 90m, 1d or 2w (ago), 02:30, 2026-03-01"
            " or 2026-03-01T02:30"
        )
    if moment > now:
        raise BadInput(
            f"{printable(text, 60)} is yet to come: it is {now.isoformat('T', 'seconds')}"
        )
    return moment


def _compact_date(text: str) -> str | None:
    """Return the date that eight digits may mean; None if they are none."""
    if _EIGHT_DIGITS.fullmatch(text) is None:
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])).isoformat()
    except ValueError:
        return None


def _ago(text: str, now: datetime) -> datetime | None:
    """Return the moment so long ago; None if the text is no duration."""
    found = _LONG.fullmatch(text.lower())
    if found is None:
        return None
    weeks, days, rest = found.groups()
    try:
        seconds = parse_duration(rest) if rest else 0.0
        return now - timedelta(weeks=int(weeks or 0), days=int(days or 0), seconds=seconds)
    except (BadInput, OverflowError):
        return None


def _last(now: datetime, found: re.Match[str]) -> datetime:
    """Return the last moment at which clocks here have shown an hour."""
    here = now.astimezone()
    hour, minute, second = (int(one or 0) for one in found.groups())
    for days in range(2):
        day = (here - timedelta(days=days)).replace(tzinfo=None)
        for fold in (1, 0):  # of an hour that clocks have shown twice the second one is the last
            at = day.replace(hour=hour, minute=minute, second=second, microsecond=0, fold=fold)
            if (moment := at.astimezone()) <= now:
                return moment
    raise AssertionError("an hour of yesterday is over")


def _any_date(text: str) -> datetime | None:
    """Return the moment of a date, at its time or when it began; None if it is none.

    Without a zone it is local time.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return None


def _next(now: datetime, found: re.Match[str]) -> datetime:
    """Return the next moment at which clocks here show an hour."""
    here = now.astimezone()
    hour, minute, second = (int(one or 0) for one in found.groups())
    for days in range(2):
        # Without its zone, so that it is told anew: the clocks may be changed until then.
        day = (here + timedelta(days=days)).replace(tzinfo=None)
        for fold in (0, 1):  # an hour that clocks show twice comes once more
            at = day.replace(hour=hour, minute=minute, second=second, microsecond=0, fold=fold)
            if (moment := at.astimezone()) >= now:
                return moment
    raise AssertionError("an hour of tomorrow is not over")


def _dated(text: str) -> datetime:
    moment = _any_date(text.strip())
    if moment is None or len(text.strip()) <= len("2026-03-01"):
        raise BadInput(
            f"{printable(text, 60)!r} is no time: write 02:30, or 2026-03-01T02:30:00+01:00"
        )
    return moment
