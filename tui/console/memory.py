"""The memory of the console's process: Python's garbage, and the C library's heaps.

With its defaults glibc never gives back what it once had: a fleet's visits and freezes leave holes
all over its heap, and each thread may get a heap of its own. With another C library nothing is
done about that.
"""

from __future__ import annotations

import gc
from functools import cache
from typing import TYPE_CHECKING, Final

from agentclient.late import load

if TYPE_CHECKING:
    from ctypes import CDLL

_M_ARENA_MAX: Final = -8  # of <malloc.h>


def limit_heaps() -> None:
    """Let all threads that are started from now on share the heaps that there are.

    Only one thread runs Python at a time, so that none has to wait for a shared heap.
    """
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def exempt_loaded_objects() -> None:
    """Look for garbage from now on, but not among what has been loaded.

    That stays until the end. Looking through it for garbage again and again is what a key would
    have to wait for: up to 80 ms with a lively fleet.
    """
    gc.freeze()
    gc.enable()


def return_free_memory() -> None:
    """Give back what is free to the system; a few milliseconds."""
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _c_library() -> CDLL:
    library: CDLL = load("ctypes", "CDLL")(None)  # not before the first screen
    return library
