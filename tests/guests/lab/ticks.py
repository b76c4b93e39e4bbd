"""How fast this machine's counter of ticks runs, which is also what an emulated guest counts by.

A kernel finds that out while it boots, with the clocks of its machine. On a busy host it is wrong
by a half now and then, and all that the guest sleeps and measures with it: so it is told.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable
from functools import cache

_MEASURE_S = 0.05
# rdtsc; shl rdx, 32; or rax, rdx; ret
_READ = bytes.fromhex("0f31 48c1e220 4809d0 c3")


@cache
def megahertz() -> int | None:
    """Ticks in a microsecond; None where programs may not be written into memory."""
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    page.write(_READ)
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(start)
    began, first = _both(read)
    time.sleep(_MEASURE_S)
    ended, last = _both(read)
    return round((last - first) / (ended - began) / 1e6)


def _both(read: Callable[[], int]) -> tuple[float, int]:
    """The time and the ticks of one moment: of several, the one with the least in between."""
    best = (1.0, 0.0, 0)
    for _ in range(20):
        before = time.perf_counter()
        ticks = read()
        after = time.perf_counter()
        best = min(best, (after - before, (before + after) / 2, ticks))
    return best[1:]
