"""A plain aligned table: no markup, nothing interpreted, colours only for a terminal.

On a terminal it is made as wide as that, as far as it can be: elsewhere a program may read it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import click
from rich.cells import cell_len

from tui.shared.fit import fit_middle, wrap
from tui.shared.folding import columns_of
from tui.shared.terminal_features import NO_COLOURS, ascii_alone

GAP = "  "
_BELOW: Final = "    "
_BESIDE: Final = "  "
_NARROWEST: Final = 8
_LEAST_NAME: Final = 12  # cells; of less nobody knows a VM
_EMPTY: Final = ("", "-")

Rows = Sequence[Sequence["Cell"]]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's text, already safe to show, and its colour."""

    text: str
    colour: str | None = None


def coloured() -> bool:
    """Return whether stdout takes colours, and nobody asked for none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in NO_COLOURS
    return sys.stdout.isatty() and not plain


def has_glyphs() -> bool:
    """Return whether stdout can show more than ASCII; the words alone say it all as well."""
    if ascii_alone():
        return False
    try:
        "●❆·".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def lines_of(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, colours: bool) -> list[str]:
    """Return the table's lines; a column is as wide as its widest cell."""
    cells = [[Cell(title) for title in header], *rows]
    widths = [max(cell_len(cell.text) for cell in column) for column in zip(*cells, strict=True)]

    def line(row: Sequence[Cell]) -> str:
        padded = (
            _styled(cell, colours) + " " * (width - cell_len(cell.text))
            for cell, width in zip(row, widths, strict=True)
        )
        return GAP.join(padded).rstrip()

    return [line(row) for row in cells]


def fitted(
    header: Sequence[str],
    rows: Rows,
    *,
    below: str | None = None,
    drop: Sequence[str] = (),
    cut: Sequence[str] = (),
    apart: str | None = None,
) -> list[str]:
    """Return the table's lines, which fit the terminal if they go to one.

    Where they are too wide, columns without a word are left out, then notes stand below their rows,
    then columns are left out, then names are cut in their middle. Those by which rows are told
    apart stand whole above their rows where two would look the same, or too little would be left.

    Args:
        header: the columns' titles.
        rows: their cells.
        below: the column of notes.
        drop: the columns that may be left out, the most dispensable one first.
        cut: the columns of names, in the order in which they are cut.
        apart: the one of them by which the rows are told apart.
    """
    assert {*drop, *cut, *([apart] if apart else [])} <= {*header}, "they are columns of it"
    room = room_of_terminal()
    titles, cells = list(header), [list(row) for row in rows]
    notes = [""] * len(cells)
    if room is not None and _width(titles, cells) > room:
        for title in header:
            if all(row[titles.index(title)].text in _EMPTY for row in cells):
                _taken(titles, cells, title)
    if room is not None and below in titles and _width(titles, cells) > room:
        notes = [cell.text for cell in _taken(titles, cells, below)]
    for title in drop:
        if room is not None and title in titles and _width(titles, cells) > room:
            _taken(titles, cells, title)
    above = [""] * len(cells)
    for title in cut:
        if room is None or title not in titles or _width(titles, cells) <= room:
            continue
        if title == apart and len(titles) > 1 and not _can_be_cut(titles, cells, title, room):
            above = [cell.text for cell in _taken(titles, cells, title)]
            titles[0] = f"{_BESIDE}{titles[0]}"
            for row in cells:
                row[0] = Cell(f"{_BESIDE}{row[0].text}", row[0].colour)
        else:
            _cut(cells, titles.index(title), _width(titles, cells) - room)
    first, *lines = lines_of(titles, cells, colours=coloured())
    shown = [first]
    for name, line, note in zip(above, lines, notes, strict=True):
        width = max((room or 0) - len(_BELOW), _NARROWEST)
        shown += wrap(name, room or 0) if name else ()
        shown += [line, *(f"{_BELOW}{part}" for part in wrap(note, width) if part)]
    return shown


def _can_be_cut(titles: Sequence[str], rows: Rows, title: str, room: int) -> bool:
    """Return whether names can be cut so that they fit, and none looks like another."""
    trial = [list(row) for row in rows]
    column = titles.index(title)
    _cut(trial, column, _width(titles, trial) - room)
    if _width(titles, trial) > room:
        return False
    names, shown = ({row[column].text for row in each} for each in (rows, trial))
    width = max(map(cell_len, shown), default=0)
    whole = max(map(cell_len, names), default=0)
    return len(shown) == len(names) and width >= min(whole, _LEAST_NAME)


def room_of_terminal() -> int | None:
    """Return how many cells a line on stdout may take; None if it is no terminal."""
    columns = columns_of(sys.stdout)
    return None if columns is None else columns - 1


def is_too_wide(header: Sequence[str], rows: Rows) -> bool:
    """Return whether a table does not fit the terminal that it goes to."""
    room = room_of_terminal()
    return room is not None and _width(header, rows) > room


def _taken(titles: list[str], rows: list[list[Cell]], title: str) -> list[Cell]:
    """Take a column out of a table, and return its cells."""
    column = titles.index(title)
    del titles[column]
    return [row.pop(column) for row in rows]


def _cut(rows: list[list[Cell]], column: int, over: int) -> None:
    """Make a column narrower by so many cells, if it is wide enough for that."""
    if over <= 0 or not rows:
        return
    longest = max(cell_len(row[column].text) for row in rows)
    width = max(longest - over, min(_NARROWEST, longest))
    for row in rows:
        row[column] = Cell(fit_middle(row[column].text, width), row[column].colour)


def _width(header: Sequence[str], rows: Rows) -> int:
    cells = [[cell_len(title) for title in header]]
    cells += [[cell_len(cell.text) for cell in row] for row in rows]
    widths = [max(column) for column in zip(*cells, strict=True)]
    return int(sum(widths)) + len(GAP) * (len(header) - 1)


def _styled(cell: Cell, colours: bool) -> str:
    return click.style(cell.text, fg=cell.colour) if colours and cell.colour else cell.text
