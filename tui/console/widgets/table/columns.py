"""Which columns there are, and which of them a terminal of some width shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from agentclient.model.snapshot import VmState
from tui.console.widgets.table import cells
from tui.console.widgets.table.cells import Cell, Paint

MARGIN = 3  # cursor, mark, and a space
MAXIMUM_NAME = 40
_WIDE_GAP = 2
_CLOCKS = ("total", "silent")  # empty while no answer is waited for


class Column(NamedTuple):
    """One column.

    Attributes:
        id: what an `Order` names it by.
        width: cells that it needs.
        rank: how dispensable it is; the highest is left out first.
        right: whether its cells and its title stand at the right.
    """

    id: str
    title: str
    width: int
    rank: int
    cell: Callable[[VmState, Paint], Cell]
    right: bool = False


class Placed(NamedTuple):
    """A column where it stands on the screen."""

    column: Column
    x: int
    width: int


COLUMNS = (
    Column("name", "NAME", 14, 0, cells.name),
    Column("source", "SOURCE", 8, 9, cells.source),
    Column("run", "RUN", 11, 8, cells.run),
    Column("agent", "AGENT", 9, 2, cells.agent),
    Column("how", "KNOWN BY", 13, 7, cells.known_by),
    Column("freeze", "FREEZE", 10, 1, cells.freeze),
    Column("step", "STEP/OUTCOME", 12, 3, cells.step),
    Column("total", "ENDS IN", 7, 4, cells.total, right=True),
    Column("silent", "SILENT", 7, 6, cells.silent, right=True),
    Column("held", "HELD", 10, 5, cells.held, right=True),
    Column("why", "WHY", 20, 10, cells.why),
)


class Layout(NamedTuple):
    """What of the table a screen of some width shows.

    Attributes:
        placed: the columns that are seen, the name first.
        before: how many have been scrolled away to the left.
        after: how many are still to come at the right.
    """

    placed: tuple[Placed, ...] = ()
    before: int = 0
    after: int = 0


def lay_out(
    width: int,
    skip: int = 0,
    columns: tuple[Column, ...] = COLUMNS,
    *,
    name_width: int = 0,
    clocks: bool = False,
) -> Layout:
    """Return what `width` cells show after `skip` columns beside the name were scrolled away.

    What matters most is seen without scrolling: the most dispensable columns are left out until
    the rest fits, and stand to the right of the others. The name stays whatever is scrolled.

    Args:
        width: cells of the screen.
        skip: columns that were scrolled away.
        columns: all there are.
        name_width: cells that the names would like to have; clocks that nobody needs make room, and
            what names don't need is the last column's, whose sentences are cut.
        clocks: whether an answer is waited for.
    """
    chosen = _that_fit(columns, width)
    wanted = min(max(name_width - chosen[0].width, 0), MAXIMUM_NAME - chosen[0].width)
    idle = [column for column in reversed(chosen) if column.id in _CLOCKS and not clocks]
    for each in idle if wanted else ():
        if _needed(chosen, gap=1) + wanted > width - 1:
            chosen.remove(each)
    left_out = [column for column in columns if column not in chosen]
    name, others = chosen[0], [*chosen[1:], *left_out]
    wide = _needed(chosen, _WIDE_GAP) + wanted <= width
    gap = _WIDE_GAP if wide else 1
    more = len(chosen) < len(columns)  # one cell is left for the sign that says so
    spare = max(width - _needed(chosen, gap) - more, 0)
    useful = MAXIMUM_NAME - name.width if chosen[-1].right else wanted
    name_width = name.width + min(spare, useful)
    room = width - MARGIN - name_width
    skip = min(max(skip, 0), _furthest(others, room)) if more else 0
    seen = _first_that_fit(others[skip:], room) if skip else chosen[1:]
    placed = _placed(name, name_width, seen, gap, width)
    return Layout(placed, skip, len(others) - skip - len(seen))


def _that_fit(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns without the most dispensable ones, in their order."""
    chosen = list(columns)
    while len(chosen) > 1 and _needed(chosen, gap=1) > width:
        chosen.remove(max(chosen, key=lambda column: column.rank))
    return chosen


def _first_that_fit(columns: Sequence[Column], room: int) -> list[Column]:
    """Return as many columns as fit beside the name, but at least one."""
    chosen: list[Column] = []
    for column in columns:
        room -= column.width + 1
        if room < 0 and chosen:
            break
        chosen.append(column)
    return chosen


def _furthest(columns: Sequence[Column], room: int) -> int:
    """Return how many columns have to go for the last one to be seen."""
    skip = 0
    while len(_first_that_fit(columns[skip:], room)) < len(columns) - skip:
        skip += 1
    return skip


def _placed(
    name: Column, name_width: int, others: Sequence[Column], gap: int, width: int
) -> tuple[Placed, ...]:
    """Return columns at their places; what is left over goes to the last of them."""
    placed = [Placed(name, MARGIN, max(name_width, 1))]
    for column in others:
        x = placed[-1].x + placed[-1].width + gap
        last = column is others[-1] and not column.right
        placed.append(Placed(column, x, max(column.width, width - x if last else 1)))
    return tuple(placed)


def _needed(columns: Sequence[Column], gap: int) -> int:
    return MARGIN + sum(column.width for column in columns) + gap * (len(columns) - 1)
