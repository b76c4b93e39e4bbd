"""What is free goes back to the system, and threads have no heaps of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tui.console import memory

# A program of its own, since what is set holds for a whole process. It prints glibc's own list.
THREADS = """
import ctypes, sys, threading
from tui.console import memory
if sys.argv[1] == "shared":
    memory.limit_heaps()
together = threading.Barrier(6)
def work():
    kept = bytearray(4096)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library = ctypes.CDLL(None)
library.malloc_info(0, ctypes.c_void_p.in_dll(library, "stdout"))
library.fflush(None)
"""


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def test_holes_in_the_heap_are_given_back() -> None:
    # Too large for Python's own arenas, too small for a mapping of its own; every tenth stays.
    kept = [bytes(64_000) for _ in range(1000)]
    del kept[::10]
    kept = kept[::9]
    before = resident()
    memory.return_free_memory()
    assert resident() < before - 20_000, "of 60 MB in holes"
    assert kept


@pytest.mark.parametrize(("how", "heaps"), [("shared", 1), ("usual", 7)])
def test_threads_share_one_heap(how: str, heaps: int) -> None:
    """Six threads beside the main one; that they have heaps of their own is what is avoided."""
    program = [sys.executable, "-c", THREADS, how]
    env = {
        key: each for key, each in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC"))
    }
    told = subprocess.run(
        program, capture_output=True, text=True, check=True, timeout=60, env=env
    ).stdout
    assert told.count("<heap nr=") == heaps
