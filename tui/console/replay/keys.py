"""The keys of a replay: those that play it, and what the console's other keys become.

A key that would act on a guest says that nothing can be done here, whatever it is bound to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from textual.binding import Binding, BindingType

PLAY: list[BindingType] = [
    Binding(
        "space,p",
        "pause",
        "Pause",
        id="replay.pause",
        tooltip="Stop the replay's clock, or let it go on",
    ),
    Binding(
        "less_than_sign,minus", "speed(-1)", "Slower", id="replay.slower", tooltip="Play it slower"
    ),
    Binding(
        "greater_than_sign,plus", "speed(1)", "Faster", id="replay.faster", tooltip="Play it faster"
    ),
    Binding(
        "n",
        "next_event",
        "Next event",
        id="replay.next",
        tooltip="Go to the next thing that happened, however long that took",
    ),
    Binding(
        "b",
        "begin_again",
        "Begin again",
        id="replay.begin",
        tooltip="Back to the beginning; the logs stay",
    ),
]
# What does nothing to a guest, although it stands among the keys that do.
HARMLESS: Final = frozenset({"past"})


def untaken(bindings: Iterable[BindingType]) -> Iterator[Binding]:
    """Yield those whose keys mean in a replay what they always do."""
    taken = {key for one in PLAY if isinstance(one, Binding) for key in one.key.split(",")}
    for one in bindings:
        if isinstance(one, Binding) and taken.isdisjoint(one.key.split(",")):
            yield one


def without_guests(bindings: Iterable[BindingType]) -> Iterator[Binding]:
    """Yield the keys that act on guests, each of which says now that it can't."""
    for one in untaken(bindings):
        if one.action in HARMLESS:
            yield one
        else:
            yield replace(one, action=f"refuse({one.description!r})", show=False)
