"""Many at once, in words: places in a queue, and in one line what came of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from agentclient.model.durations import in_words
from agentclient.model.outcome import NO_GROUP_WORD, Outcome, ThawOutcome
from agentclient.model.place import Place
from agentclient.model.states import OutcomeKind

OK = "ok"
LEFT = "left"
# Those that are told first, in this order.
FIRST = (OK, NO_GROUP_WORD, *map(str, OutcomeKind))
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def ordinal(number: int) -> str:
    """Return a number as one counts: 1st, 2nd, 3rd, 11th."""
    ending = "th" if number % 100 in (11, 12, 13) else _ENDINGS.get(number % 10, "th")
    return f"{number}{ending}"


def queued(place: Place) -> str:
    """Return a place in words: ``queued 3rd; about 8 min``, without what isn't known."""
    return f"queued {ordinal(place)}{about(place)}" if place else "queued"


def about(place: Place) -> str:
    """Return when its turn is likely to come, as a clause that is added; empty if not known."""
    seconds = place.begins_in_s
    if seconds is None or seconds < 1:
        return ""
    rounded = round(seconds) if seconds < 60 else round(seconds / 60) * 60
    return f"; about {in_words(rounded)}"


def word_of(outcome: object) -> str:
    """Return how a freeze or a thaw ended in the word of the recap.

    Args:
        outcome: its outcome; None if it was left before it ended.
    """
    if isinstance(outcome, ThawOutcome):
        return OK if outcome.ok else "refused" if outcome.refused else "failed"
    if not isinstance(outcome, Outcome):
        return LEFT
    if outcome.kind is not OutcomeKind.VERIFIED or not (outcome.settled or outcome.kept):
        return outcome.kind.value
    return NO_GROUP_WORD if outcome.not_together else OK


def recap(words: Iterable[str]) -> str:
    """Return what came of many in one line: ``ok=21 lost=2 refused=1``.

    Args:
        words: one for each.
    """
    counts = Counter(words)
    order = dict.fromkeys((*(word for word in FIRST if counts[word]), *counts))
    return " ".join(f"{word}={counts[word]}" for word in order)
