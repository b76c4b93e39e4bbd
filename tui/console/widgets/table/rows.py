"""One line of the table: cells at their places, and what differs between two such lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from tui.console.model.order import Order
from tui.console.widgets.table.cells import Cell, Paint, ticks
from tui.console.widgets.table.columns import MARGIN, Layout, Placed
from tui.shared.fit import fit, fit_middle, safe
from tui.shared.glyphs import LEVEL, Signs
from tui.shared.tone import Tone

StyleOf = Callable[[Tone], Style]


class Row(NamedTuple):
    """A line as it is (to be) painted.

    Attributes:
        margin: the cursor's sign, the mark's, and a space; or a whole line without cells.
        under_cursor: whether the line is highlighted.
        tone: the margin's.
        signs: what is painted over the rest, and at which cells.
        state: the VM that it shows, as it was.
    """

    margin: str
    cells: tuple[Cell, ...] = ()
    under_cursor: bool = False
    tone: Tone = Tone.ACTIVE
    signs: tuple[tuple[int, str], ...] = ()
    state: VmState | None = None

    def looks_as(self, other: Row) -> bool:
        """Return whether two lines look the same, whatever has changed of the VM."""
        return self[:_STATE] == other[:_STATE]


_STATE = Row._fields.index("state")


BLANK = Row(" " * MARGIN)
WARNED = LEVEL[Level.WARNING]


def vm_row(
    state: VmState,
    placed: tuple[Placed, ...],
    paint: Paint,
    *,
    under_cursor: bool,
    marked: bool,
    before: Row = BLANK,
) -> Row:
    """Return a VM's line. A VM that can't be drawn is one broken line, and no more (P8).

    Args:
        state: the VM.
        placed: the columns.
        paint: the time and the signs.
        under_cursor: whether it is highlighted.
        marked: whether it bears the mark.
        before: the line as it is painted now, with the same columns; it may do as it is.
    """
    signs = paint.signs
    margin = f"{signs.cursor if under_cursor else ' '}{signs.mark if marked else ' '} "
    if before.state is state and before.margin == margin and not ticks(state):
        return before
    try:
        cells = tuple(place.column.cell(state, paint) for place in placed)
    except Exception as problem:  # noqa: BLE001 - P8: whatever it is, it is this row's alone
        told = f"{safe(str(state.id), 60)} can't be shown: {safe(repr(problem))}"
        return Row(margin + told, (), under_cursor, Tone.BAD)
    return Row(margin, cells, under_cursor, state=state)


def head_row(
    layout: Layout, width: int, order: Order, signs: Signs, *, backwards: bool, above: int = 0
) -> Row:
    """Return the line of titles: what it is sorted by, and whether there are more columns.

    Args:
        layout: the columns.
        width: cells of the screen.
        order: what it is sorted by.
        signs: the set of signs that the terminal can show.
        backwards: whether it is sorted the other way round.
        above: how many VMs in trouble stand above what is seen.
    """
    sorted_by = [place for place in layout.placed if place.column.id == order]
    sort_sign = signs.ascending if backwards else signs.descending
    over = [(_before_title(place), sort_sign) for place in sorted_by]
    if layout.before:
        over.append((layout.placed[0].x + layout.placed[0].width, signs.more_left))
    if layout.after:
        over.append((width - 1, signs.more_right))
    titles = [
        Cell(place.column.title, Tone.HEAD if place in sorted_by else Tone.DIM)
        for place in layout.placed
    ]
    if above:
        titles[0] = Cell(f"NAME {signs.of(WARNED)}{above} above", Tone.BAD)
    return Row(" " * MARGIN, tuple(titles), tone=Tone.HEAD, signs=tuple(over))


def _before_title(place: Placed) -> int:
    """Return the cell in front of a column's title, wherever that stands in the column."""
    if not place.column.right:
        return place.x - 1
    return place.x + max(place.width - len(place.column.title), 0) - 1


def to_strip(
    row: Row, placed: tuple[Placed, ...], width: int, base: Style, style_of: StyleOf
) -> Strip:
    """Return a line as Textual paints it, exactly `width` cells wide.

    Every change of style costs forty bytes on the way to the terminal, so that spaces, which look
    the same in all of them, go with what stands before them.
    """
    parts = [(row.margin, row.tone)]
    end = MARGIN
    for place, cell in zip(placed, row.cells, strict=False):
        text, tone = parts[-1]
        gap = " " * (place.x - end)
        end = place.x + place.width
        if cell.text:
            parts[-1] = (text + gap, tone)
            parts.append(
                (fit(shown(place, cell), place.width, right=place.column.right), cell.tone)
            )
        else:
            parts[-1] = (text + gap + " " * place.width, tone)
    segments = [Segment(text, base + style_of(tone)) for text, tone in parts]
    strip = Strip(segments).adjust_cell_length(width, base)
    for at, sign in row.signs:
        over = Strip([Segment(sign, base + style_of(row.tone))], 1)
        strip = Strip.join([strip.crop(0, at), over, strip.crop(at + 1, width)])
    return strip


def shown(place: Placed, cell: Cell) -> str:
    """Return what is shown of a cell: names are cut in the middle, since they differ at the end."""
    return fit_middle(cell.text, place.width) if place.column.id == "name" else cell.text


def differences(old: Row, new: Row, placed: tuple[Placed, ...]) -> list[tuple[int, int]]:
    """Return from which cells to which (exclusive) two lines differ.

    A line of another kind, or with another highlight, differs from end to end: ``(0, -1)``.
    """
    if old.looks_as(new):
        return []
    kinds = (old.under_cursor, len(old.cells)) != (new.under_cursor, len(new.cells))
    if kinds or not new.cells or old.signs != new.signs:
        return [(0, -1)]
    found = [(0, MARGIN)] if old.margin != new.margin else []
    pairs = zip(placed, old.cells, new.cells, strict=False)
    found += [span for place, a, b in pairs if a != b and (span := _span(place, a, b)) is not None]
    return found


def _span(place: Placed, old: Cell, new: Cell) -> tuple[int, int] | None:
    """Return what differs between two cells; of a clock that is mostly its last digit."""
    before, after = (
        fit(shown(place, each), place.width, right=place.column.right) for each in (old, new)
    )
    if old.tone is not new.tone or not before.isascii() or not after.isascii():
        return (place.x, place.x + place.width)
    differ = [at for at, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    return (place.x + differ[0], place.x + differ[-1] + 1) if differ else None
