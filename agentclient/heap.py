"""Gives free memory back to the system, which the C library would keep for ever.

A fleet's visits and freezes leave holes all over its heap; each time it is one to four megabytes
that come back.
"""

from __future__ import annotations

from typing import Final

EVERY_S: Final = 60.0


def give_back() -> None:
    """Give back what is free; a few milliseconds. Elsewhere than with glibc it does nothing."""
    import ctypes  # noqa: PLC0415 - a minute after the start is soon enough

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
