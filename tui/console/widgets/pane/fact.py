"""One thing that is known of a VM, and facts as lines of a screen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len

from tui.shared.fit import fit, wrap
from tui.shared.tone import Line, Piece, Tone, hanging

LABEL_WIDTH = 9
_NARROW = 28


class Fact(NamedTuple):
    """One thing that is known.

    Attributes:
        rank: how urgently it is wanted where there is little room; 0 before everything.
        more: the rest of the text, for which there is time later: its first line says enough.
    """

    label: str
    text: str
    tone: Tone = Tone.NORMAL
    rank: int = 5
    more: bool = False


def fact_lines(facts: Iterable[Fact], width: int) -> list[Line]:
    """Return all facts as lines of a screen, in their order, wrapped."""
    room = max(width - LABEL_WIDTH, 10)
    lines: list[Line] = []
    for fact in facts:
        if width < _NARROW:  # a column of labels would leave no room for words
            label = f"{fact.label}: " if fact.label else ""
            lines += hanging((Piece(label, Tone.DIM), Piece(fact.text, fact.tone)), width)
            continue
        for number, text in enumerate(wrap(fact.text, room)):
            label = fact.label if number == 0 else ""
            lines.append((Piece(fit(label, LABEL_WIDTH), Tone.DIM), Piece(text, fact.tone)))
    return lines


def urgent_first(facts: Iterable[Fact], width: int) -> list[Line]:
    """Return all facts as lines, the most urgent ones on top.

    A fact that takes several lines, and whose first line says enough, is cut to it and repeated in
    full below: that leaves room for what it means and for what to do.
    """
    room = max(width - LABEL_WIDTH, 10)
    ordered = sorted(facts, key=lambda fact: fact.rank)
    chosen = [
        fact._replace(text=fit(fact.text, room).rstrip()) if fact.more else fact for fact in ordered
    ]
    cut = [
        fact._replace(label="in full")
        for fact in ordered
        if fact.more and cell_len(fact.text) > room
    ]
    return fact_lines([*chosen, *cut], width)
