"""The processes that a process has started, as the kernel knows them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """Return the children of a process, of all its threads; none if it has ended."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
                found += [int(one) for one in (task / "children").read_text().split()]
    return found


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    own = children(pid)
    return [*own, *(each for child in own for each in descendants(child))]
