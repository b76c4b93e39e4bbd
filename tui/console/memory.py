"""Keeps the C library's memory together: with its defaults it keeps for ever what it once had.

A fleet's visits and freezes leave holes all over its heap, and each thread may get a heap of its
own to leave them in. Elsewhere than with glibc all this does nothing.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ctypes import CDLL

EVERY_S: Final = 60.0
_M_ARENA_MAX: Final = -8  # of <malloc.h>


def share() -> None:
    """Let all threads that are started from now on share the heaps that there are.

    One at a time runs Python anyway, so that none has to wait for another.
    """
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give back what is free to the system; a few milliseconds."""
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _c_library() -> CDLL:
    from ctypes import CDLL  # noqa: PLC0415 - nobody waits for it when the first screen is there

    return CDLL(None)
