"""What is asked of the journal's process: questions, and what is to be written."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Rows, Statement

T = TypeVar("T")


class JobKind:
    """What is to be done to the file, or beside it: plain strings, which marshal can take."""

    READ: Final = "read"
    WRITE: Final = "write"
    ASIDE: Final = "aside"
    LOAD: Final = "load"
    KEEP: Final = "keep"


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A question to the journal.

    Attributes:
        statements: what is looked up.
        parse: what is made of the rows of each statement.
        missing: the answer where there is no journal yet.
    """

    statements: Sequence[Statement]
    parse: Callable[[list[Rows]], T]
    missing: T


@dataclass(slots=True, eq=False)
class Job:
    """Something to be done to the file.

    Attributes:
        then: returns what is to be written next, from what was found.
        done: is set when it is done, or has failed for now.
        ok: it is done.
        found: the rows of each statement; None where there is no file.
    """

    what: str
    statements: Sequence[object] = ()
    then: Callable[[list[Rows]], Iterable[Statement]] | None = None
    done: threading.Event = field(default_factory=threading.Event)
    ok: bool = False
    found: Any = None


def first_of(jobs: deque[Job], most: int) -> list[Job]:
    """Take the first so many jobs out of a queue."""
    return [jobs.popleft() for _ in range(min(most, len(jobs)))]
