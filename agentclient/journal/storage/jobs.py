"""The jobs of the journal's process: queries and writes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Rows, Statement

T = TypeVar("T")


class JobKind:
    """The kinds of jobs: plain strings, since marshal can't write an enum's members."""

    READ: Final = "read"
    WRITE: Final = "write"
    ASIDE: Final = "aside"
    LOAD: Final = "load"
    KEEP: Final = "keep"


class Query(NamedTuple, Generic[T]):
    """A query of the journal.

    Attributes:
        statements: the SQL statements.
        parse: makes the result from the rows of each statement.
        missing: the result where there is no journal yet.
    """

    statements: Sequence[Statement]
    parse: Callable[[list[Rows]], T]
    missing: T


class Job:
    """One job for the journal's process.

    Args:
        what: one of `JobKind`.
        statements: the SQL statements; or the name and the content of a small file.
        then: returns the statements of the next write, from the rows that were found.

    Attributes:
        done: is set when the job is done, or has failed for now.
        ok: the job was done.
        found: the rows of each statement; None where there is no file.
    """

    def __init__(
        self,
        what: str,
        statements: Sequence[object] = (),
        then: Callable[[list[Rows]], Iterable[Statement]] | None = None,
    ) -> None:
        self.what = what
        self.statements = statements
        self.then = then
        self.done = threading.Event()
        self.ok = False
        self.found: Any = None


def first_of(jobs: deque[Job], most: int) -> list[Job]:
    """Remove at most `most` jobs from the head of a queue, and return them."""
    return [jobs.popleft() for _ in range(min(most, len(jobs)))]
