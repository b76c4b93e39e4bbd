"""Durations as people write them and read them: ``90``, ``90s``, ``10m``, ``1h``, ``1h30m``."""

from __future__ import annotations

import math
import re

from agentclient.model.errors import BadInput
from agentclient.model.text import printable

# Far above every sensible timeout, far below what a clock or a lock's wait can take.
MAXIMUM_S = 366 * 24 * 3600.0

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_PLAIN = re.compile(_NUMBER, re.ASCII)
_UNITS = re.compile(
    rf"(?=[0-9])(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m)?(?:(?P<s>{_NUMBER})s)?", re.ASCII
)


def parse_duration(text: str) -> float:
    """Return the seconds that `text` means.

    A number without a unit is seconds; ``h``, ``m`` and ``s`` can follow each other, each once.

    Raises:
        BadInput: it is no duration, or longer than a year.
    """
    plain = text.strip().lower()
    total = float(plain) if _PLAIN.fullmatch(plain) else _with_units(plain)
    if total is None:
        raise BadInput(f"{printable(text, 60)!r} is no duration: write 90, 90s, 10m, 1h or 1h30m")
    if not total <= MAXIMUM_S:
        raise BadInput(f"{printable(text, 60)!r} is longer than a year")
    return total


def _with_units(text: str) -> float | None:
    found = _UNITS.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds = (float(found[unit] or 0.0) for unit in "hms")
    return hours * 3600 + minutes * 60 + seconds


def written(seconds: float) -> str:
    """Return a duration as a person writes it: ``0s``, ``90s``, ``10m``, ``1h30m``, ``0.5s``.

    `parse_duration` takes it back, for whole milliseconds.
    """
    if seconds and seconds % 60 == 0:
        hours, rest = divmod(int(seconds), 3600)
        minutes = rest // 60
        return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
    text = f"{seconds:.3f}".rstrip("0").rstrip(".")
    return f"{text}s"


def clock(seconds: float) -> str:
    """Return a running clock such as ``0:09``, ``59:59`` or ``1:00:00``; whole seconds only."""
    whole = _whole(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def in_words(seconds: float) -> str:
    """Return a duration for a sentence: ``0.4 s``, ``45 s``, ``10 min``, ``1 h 5 min``, ``3 d``.

    Never more than two units: nobody reads the seconds of an hour.
    """
    if 0 < seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = _whole(seconds)
    for size, name, below, below_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            many, rest = divmod(whole, size)
            few = rest // below
            return f"{many} {name} {few} {below_name}" if few else f"{many} {name}"
    return f"{whole} s"


def _whole(seconds: float) -> int:
    """Return whole seconds for showing: never negative, whatever a clock did."""
    return int(max(seconds, 0.0)) if math.isfinite(seconds) else 0
