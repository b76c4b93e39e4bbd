"""A plain aligned table: no markup, nothing interpreted, colours only for a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click
from rich.cells import cell_len

from tui.shared.terminal_features import NO_COLOURS, ascii_alone

GAP = "  "


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


def _styled(cell: Cell, colours: bool) -> str:
    return click.style(cell.text, fg=cell.colour) if colours and cell.colour else cell.text
