"""Many that were asked for with one key, and how far they are together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


class Batch(NamedTuple):
    """What was begun with one key.

    Attributes:
        what: what is done, in a word.
        asked: one for each VM, in the order of their turns.
        word: returns the recap's word of one that has ended.
    """

    what: str
    asked: Sequence[Asked]
    word: Callable[[Any], str]


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
    return tuple(found for batch in batches if len((found := _progress(batch)).words) < found.total)


def _progress(batch: Batch) -> BatchProgress:
    words = tuple(batch.word(one) for one in batch.asked if one.done)
    last = next((one for one in reversed(batch.asked) if not one.done), None)
    place = last.place if last is not None else NO_PLACE
    return BatchProgress(batch.what, len(batch.asked), words, place)
