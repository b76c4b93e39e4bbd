"""The processes that a test has to do with, and what the kernel says of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

_Said = TypeVar("_Said", str, bytes)


@contextmanager
def killed_on_failure(process: subprocess.Popen[_Said]) -> Iterator[subprocess.Popen[_Said]]:
    """Yield a child; kill it if what is done meanwhile fails.

    Python's own way waits until it ends by itself: for ever, where the test was to end it.
    """
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def told(pid: int | str, file: str) -> str:
    """Return a file of a process in /proc, such as ``comm``; nothing if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/{file}").read_text(errors="surrogateescape")
    return ""


def words_of(pid: int) -> list[str]:
    """Return the words of a process's command line; none if it has ended."""
    return told(pid, "cmdline").split("\0")


def threads(pid: int) -> list[str]:
    """Return the threads of a process, as places in /proc; none if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return [f"{pid}/task/{task.name}" for task in Path(f"/proc/{pid}/task").iterdir()]
    return []


def children(pid: int) -> list[int]:
    """Return the children of a process, of all its threads; none if it has ended.

    By the parents of all processes: the kernel's own list of children may lack some while another
    one ends.
    """
    return _of_parents(_parents(), pid)


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    parents, found = _parents(), [pid]
    for one in found:  # which grows meanwhile
        found += _of_parents(parents, one)
    return found[1:]


def _of_parents(parents: dict[int, int], pid: int) -> list[int]:
    return [child for child, parent in parents.items() if parent == pid]


def _parents() -> dict[int, int]:
    pids = [int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal()]
    fields = {pid: told(pid, "stat").rpartition(")")[2].split() for pid in sorted(pids)}
    return {pid: int(of[1]) for pid, of in fields.items() if of}
