"""A system that has no thread left, or no memory for one."""

from __future__ import annotations

import threading

import pytest


def no_thread(_: threading.Thread) -> None:
    """Stand in for `threading.Thread.start`."""
    raise RuntimeError("can't start new thread")


def no_memory(_: threading.Thread) -> None:
    """Stand in for `threading.Thread.start`; its error says nothing."""
    raise MemoryError


WHY = {no_thread: "can't start new thread", no_memory: "no memory is left for it"}
# Runs a test with each way in which a thread can't be started, and with what is told then.
each_lack = pytest.mark.parametrize(
    ("start", "why"), WHY.items(), ids=[start.__name__ for start in WHY]
)
