"""What the kernel says of the processes that a test has to do with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


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
    """Return the children of a process, of all its threads; none if it has ended."""
    return [int(one) for thread in threads(pid) for one in told(thread, "children").split()]


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    own = children(pid)
    return [*own, *(each for child in own for each in descendants(child))]
