"""Starts a daemon and ends it, and every process that comes from it, with whoever has asked.

python -I -S keeper.py COMMAND...
    Starts the command, and prints its pid. A line on stdin starts it once more; the end of stdin
    ends everything, also what has made itself a daemon, as a QEMU of libvirt's does.

It imports nothing of ours: it outlives the tests by a moment, when those are killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
_FIND_S = 0.01


def main(command: list[str]) -> None:
    """Keep the command's processes until the end of stdin."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # The kernel reaps them at once: libvirt waits for its QEMU to be gone, and not to be a zombie.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _start(command)
    for _ in sys.stdin:
        _start(command)
    while _any_left():
        for child in _children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        time.sleep(_FIND_S)


def _start(command: list[str]) -> None:
    pid = os.posix_spawnp(command[0], command, os.environ, setsigdef=[signal.SIGCHLD])
    print(pid, flush=True)


def _any_left() -> bool:
    """Whether a child is left; the list of them may lack some while another one ends."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    """Our children; those of a child that has ended become ours."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


if __name__ == "__main__":
    main(sys.argv[1:])
