"""Sizes and rates as people write them and read them: ``4096``, ``64K``, ``10M``, ``1.5G``."""

from __future__ import annotations

import re

from agentclient.model.errors import BadInput
from agentclient.model.text import printable

# QEMU takes signed 64-bit numbers.
MAXIMUM = 2**63 - 1

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(?:([KMGT])I?)?B?(?:/S)?", re.ASCII)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_NAMES = ("KiB", "MiB", "GiB", "TiB", "PiB")


def parse_rate(text: str) -> int:
    """Return the bytes a second that `text` means; 0 is no limit.

    Raises:
        BadInput: it is no rate.
    """
    found = _parsed(text)
    if found is None:
        raise BadInput(f"{printable(text, 60)!r} is no rate: write bytes a second: 500K, 10M or 1G")
    return found


def size_text(count: int) -> str:
    """Return a number of bytes in three digits or a few more: ``0 B``, ``9.5 MiB``, ``118 GiB``."""
    if count < 1024:
        return f"{count} B"
    size = float(count)
    steps = 0
    while steps == 0 or (size >= 999.5 and steps < len(_NAMES)):
        size /= 1024
        steps += 1
    return f"{size:.1f} {_NAMES[steps - 1]}" if size < 9.95 else f"{size:.0f} {_NAMES[steps - 1]}"


def rate_text(rate: float) -> str:
    """Return bytes a second for a person: ``12 MiB/s``."""
    return f"{size_text(int(rate))}/s"


def _parsed(text: str) -> int | None:
    found = _SIZE.fullmatch(text.strip().upper())
    if found is None:
        return None
    number = float(found[1])
    size = round(number * _UNITS.get(found[2], 1))
    return size if size <= MAXIMUM and (size or not number) else None
