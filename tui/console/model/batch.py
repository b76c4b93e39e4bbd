"""Many that were asked for with one key, and how far they are together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from agentclient.model.place import NO_PLACE, Place


class Asked(Protocol):
    """A freeze, a thaw or a copy, in flight or done."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    @property
    def place(self) -> Place:
        """Which one it is of those that wait for their turn; 0 once it has begun."""

    def wait(self, timeout_s: float | None = None) -> Any:
        """Return how it ended, None if it still runs."""


class Ended(NamedTuple):
    """How one of them has ended: all that is kept of it until the others have as well.

    Attributes:
        word: the recap's word.
        good: it ended well.
        frozen: its guest may still be frozen.
    """

    word: str
    good: bool
    frozen: bool = False


class Batch:
    """What was begun with one key.

    One guest that hangs keeps a batch from being over for most of an hour: the others' operations
    are let go of as they end.

    Args:
        what: what is done, in a word.
        asked: one for each VM, in the order of their turns.
        judge: returns what is kept of an outcome.
    """

    def __init__(self, what: str, asked: Iterable[Asked], judge: Callable[[Any], Ended]) -> None:
        self.what = what
        self._flying = list(asked)
        self._judge = judge
        self._ended: list[Ended] = []

    def __len__(self) -> int:
        return len(self._flying) + len(self._ended)

    def look(self) -> tuple[Ended, ...]:
        """Return how those have ended that have, in the order of their ends."""
        done = {id(one) for one in self._flying if one.done}
        self._ended += [self._judge(one.wait(0)) for one in self._flying if id(one) in done]
        if done:
            self._flying = [one for one in self._flying if id(one) not in done]
        return tuple(self._ended)

    @property
    def is_over(self) -> bool:
        """Whether all have ended."""
        self.look()
        return not self._flying

    @property
    def last(self) -> Place:
        """Which one the last of them is of those that wait for their turn; 0 if none waits."""
        return self._flying[-1].place if self._flying else NO_PLACE


class BatchProgress(NamedTuple):
    """How far a batch is.

    Attributes:
        what: what is done, in a word.
        total: how many there are.
        words: the recap's word of each that has ended.
        last: which one the last of them is of those that wait for their turn; 0 if none waits.
    """

    what: str
    total: int
    words: tuple[str, ...]
    last: Place = NO_PLACE


def progress_of(batches: Iterable[Batch]) -> tuple[BatchProgress, ...]:
    """Return how far each batch is that has not ended."""
    return tuple(_progress(batch) for batch in batches if not batch.is_over)


def _progress(batch: Batch) -> BatchProgress:
    words = tuple(one.word for one in batch.look())
    return BatchProgress(batch.what, len(batch), words, batch.last)
