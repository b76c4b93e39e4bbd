"""What a command asks of the journal, and can't do without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from agentclient.model.errors import FrostwatchError

if TYPE_CHECKING:
    from agentclient.journal.storage.jobs import Query
    from agentclient.journal.writer import Journal

T = TypeVar("T")

READ_S: Final = 10.0


def answer_of(journal: Journal, query: Query[T], within_s: float = READ_S) -> T:
    """Return what the journal answers.

    Args:
        journal: is asked.
        query: what.
        within_s: how long it is waited for, in seconds.

    Raises:
        FrostwatchError: it can't be read, or has not answered in time.
    """
    found = journal.ask(query, within_s)
    if found is None:
        raise FrostwatchError(
            journal.problem
            or journal.take_notice()
            or f"the journal {journal.path} does not answer"
        )
    return found
