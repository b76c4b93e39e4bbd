"""Tones: what a piece of text means, apart from which colour the theme gives it."""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum
from typing import NamedTuple, Self

from rich.cells import cell_len

from tui.shared.fit import wrap


class Tone(StrEnum):
    """What a piece of text means; a theme gives each a colour and a weight."""

    NORMAL = "normal"
    DIM = "dim"
    HEAD = "head"
    GOOD = "good"
    ACTIVE = "active"
    FROZEN = "frozen"
    WARN = "warn"
    BAD = "bad"
    MATCH = "match"
    FOUND = "found"


class Piece(NamedTuple):
    """A piece of one line: text that is safe to show, and its tone."""

    text: str
    tone: Tone = Tone.NORMAL


Line = tuple[Piece, ...]


class Row(tuple[Piece, ...]):
    """A line that can be clicked, and stays so where it is wrapped.

    Attributes:
        what: what it stands for; equal for as long as that is the same.
    """

    what: Hashable

    @classmethod
    def of(cls, what: Hashable, line: Line) -> Self:
        """Return a line as one that stands for something."""
        row = cls(line)
        row.what = what
        return row


def hanging(line: Line, width: int) -> list[Line]:
    """Wrap a line; its last piece goes on below its own beginning.

    Where there is no room for that the whole line is broken, between its pieces if possible.
    """
    if isinstance(line, Row):
        return [Row.of(line.what, part) for part in _wrapped(line, width)]
    return _wrapped(line, width)


def _wrapped(line: Line, width: int) -> list[Line]:
    if not line:
        return [line]
    *before, last = line
    indent = sum(cell_len(piece.text) for piece in before)
    if indent + cell_len(last.text) > width and width - indent < _LEAST_ROOM:
        return _broken(line, width)
    first, *rest = wrap(last.text, width - indent)
    return [
        (*before, Piece(first, last.tone)),
        *[(Piece(" " * indent), Piece(text, last.tone)) for text in rest],
    ]


def _broken(line: Line, width: int) -> list[Line]:
    """Return a line in several; those behind the first are indented."""
    rows: list[list[Piece]] = [[]]
    used = 0
    for piece in line:
        size = cell_len(piece.text)
        if used + size > width and used:
            rows.append([_INDENT])
            used = cell_len(_INDENT.text)
            if not piece.text.strip():
                continue  # the space between two pieces, which the break stands for
        # All its lines but a first one stand behind the indent.
        room = width - (used if used + size <= width else max(used, cell_len(_INDENT.text)))
        *full, rest = wrap(piece.text, max(room, 1))
        for text in full:
            rows[-1].append(Piece(text, piece.tone))
            rows.append([_INDENT])
        rows[-1].append(Piece(rest, piece.tone))
        used = cell_len(rest) + (cell_len(_INDENT.text) if full else used)
    return [tuple(row) for row in rows]


_LEAST_ROOM = 9  # cells in which a piece that is broken can still be read
_INDENT = Piece("  ")
