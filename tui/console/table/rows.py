"""One line of the table: cells at their places, and what differs between two such lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from agentclient.vm import VmState
from tui.console.model.order import Order
from tui.console.safe import fit, safe
from tui.console.table.cells import Cell, Paint
from tui.console.table.columns import MARGIN, Placed
from tui.console.tones import Tone
from tui.console.words import Signs

StyleOf = Callable[[Tone], Style]


@dataclass(frozen=True, slots=True)
class Row:
    """A line as it is (to be) painted; two equal rows look the same.

    Attributes:
        margin: the cursor's sign, the mark's, and a space; or a whole line without cells.
        under_cursor: whether the line is highlighted.
        tone: the margin's.
    """

    margin: str
    cells: tuple[Cell, ...] = ()
    under_cursor: bool = False
    tone: Tone = Tone.ACTIVE


BLANK = Row(" " * MARGIN)


def vm_row(
    state: VmState, placed: tuple[Placed, ...], paint: Paint, *, under_cursor: bool, marked: bool
) -> Row:
    """Return a VM's line. A VM that can't be drawn is one broken line, and no more (P8)."""
    signs = paint.signs
    margin = f"{signs.cursor if under_cursor else ' '}{signs.mark if marked else ' '} "
    try:
        cells = tuple(place.column.cell(state, paint) for place in placed)
    except Exception as problem:  # noqa: BLE001 - P8: whatever it is, it is this row's alone
        told = f"{safe(str(state.id), 60)} can't be shown: {safe(repr(problem))}"
        return Row(margin + told, (), under_cursor, Tone.BAD)
    return Row(margin, cells, under_cursor)


def head_row(placed: tuple[Placed, ...], order: Order, signs: Signs) -> Row:
    """Return the line of titles; the one that the table is sorted by says so."""
    return Row(
        " " * MARGIN,
        tuple(
            Cell(f"{signs.descending}{place.column.title}", Tone.HEAD)
            if place.column.id == order
            else Cell(place.column.title, Tone.DIM)
            for place in placed
        ),
    )


def to_strip(
    row: Row, placed: tuple[Placed, ...], width: int, base: Style, style_of: StyleOf
) -> Strip:
    """Return a line as Textual paints it, exactly `width` cells wide."""
    segments = [Segment(row.margin, base + style_of(row.tone))]
    x = MARGIN
    for place, cell in zip(placed, row.cells, strict=False):
        if place.x > x:
            segments.append(Segment(" " * (place.x - x), base))
        text = fit(cell.text, place.width, right=place.column.right)
        segments.append(Segment(text, base + style_of(cell.tone)))
        x = place.x + place.width
    return Strip(segments).adjust_cell_length(width, base)


def difference(old: Row, new: Row, placed: tuple[Placed, ...]) -> tuple[int, int] | None:
    """Return from which cell to which (exclusive) two lines differ, None if they don't.

    A line of another kind, or with another highlight, differs from end to end: ``(0, -1)``.
    """
    if old == new:
        return None
    kinds = (old.under_cursor, len(old.cells)) != (new.under_cursor, len(new.cells))
    if kinds or not new.cells:
        return (0, -1)
    changed = [place for place, a, b in zip(placed, old.cells, new.cells, strict=False) if a != b]
    start = 0 if old.margin != new.margin else changed[0].x
    end = changed[-1].x + changed[-1].width if changed else MARGIN
    return (start, end)
