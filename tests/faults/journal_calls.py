"""Makes one system call after the other of the journal's process fail, by strace."""

from __future__ import annotations

import random
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from agentclient.journal.storage import process

# The calls that SQLite, and what is around it, make on the journal's files; and how they may fail.
CALLS: Final = {
    "openat": ("EACCES", "EMFILE", "EROFS"),
    "mkdir": ("EACCES", "ENOSPC"),
    "pwrite64": ("ENOSPC", "EIO"),
    "pread64": ("EIO",),
    "ftruncate": ("ENOSPC", "EIO"),
    "fdatasync": ("EIO",),
    "fsync": ("EIO",),
    "fcntl": ("ENOLCK", "EIO"),
    "mmap": ("ENOMEM",),
    "newfstatat": ("EACCES",),
    "unlink": ("EACCES",),
    "rename": ("EACCES",),
    "flock": ("ENOLCK",),
    "chmod": ("EPERM",),
}
_REAL: Final = process.command
_LINE: Final = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\(")


@dataclass(frozen=True)
class Point:
    """One occurrence of one call.

    Attributes:
        occurrence: counted from 1.
        lasts: it fails from then on.
    """

    call: str
    error: str
    occurrence: int
    lasts: bool

    def __str__(self) -> str:
        return f"{self.call} #{self.occurrence}{' and on' if self.lasts else ''}: {self.error}"


@cache
def why_not() -> str | None:
    """Return why strace can make no call fail here; None if it can."""
    tried = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True)
    return None if tried.returncode == 0 else "strace may not trace here"


def counted(path: Path, trace: Path) -> list[str]:
    """Return how the journal's process is started so that its calls are written to `trace`."""
    return [*_strace(path, trace), "-e", f"trace={','.join(CALLS)}", *_REAL(path)]


def failing(path: Path, point: Point) -> list[str]:
    """Return how the journal's process is started so that a call of it fails."""
    when = f"{point.occurrence}{'+' if point.lasts else ''}"
    inject = f"inject={point.call}:error={point.error}:when={when}"
    return [
        *_strace(path, Path("/dev/null")),
        "-e",
        f"trace={point.call}",
        "-e",
        inject,
        *_REAL(path),
    ]


def points(trace: Path) -> list[Point]:
    """Return every way to fail of every call that was written down."""
    lines = trace.read_text(errors="replace").splitlines()
    counts = Counter(found[1] for line in lines if (found := _LINE.match(line)))
    return [
        Point(call, error, occurrence, lasts)
        for call, errors in CALLS.items()
        for occurrence in range(1, counts[call] + 1)
        for error in errors
        for lasts in (False, True)
    ]


def sample(found: list[Point], most: int) -> list[Point]:
    """Return so many points, spread over all calls; the same ones each time."""
    dice = random.Random(len(found))
    by_call: dict[str, list[Point]] = {}
    for point in found:
        by_call.setdefault(point.call, []).append(point)
    for group in by_call.values():
        dice.shuffle(group)
    groups = sorted(by_call.values(), key=len)
    turns = [group[turn] for turn in range(most) for group in groups if turn < len(group)]
    return turns[:most]


def _strace(path: Path, trace: Path) -> list[str]:
    files = [path.parent, path, *(Path(f"{path}{end}") for end in ("-wal", "-shm", "-journal"))]
    return ["strace", "-f", "-qq", "-o", str(trace), *(f"-P{each}" for each in files)]
