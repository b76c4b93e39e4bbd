"""Which columns there are, and which of them a terminal of some width shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentclient.vm import VmState
from tui.console.table import cells
from tui.console.table.cells import Cell, Paint

MARGIN = 3  # cursor, mark, and a space
MAXIMUM_NAME = 40
_WIDE_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
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


@dataclass(frozen=True, slots=True)
class Placed:
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
    Column("total", "TOTAL", 7, 4, cells.total, right=True),
    Column("silent", "SILENT", 7, 6, cells.silent, right=True),
    Column("held", "HELD", 10, 5, cells.held, right=True),
    Column("why", "WHY", 20, 10, cells.why),
)


def place(width: int, columns: tuple[Column, ...] = COLUMNS) -> tuple[Placed, ...]:
    """Return the columns that fit into `width` cells, and where they stand.

    The most dispensable ones are left out until the rest fits; what is left over goes to the
    spaces between them first, to the name next, and to the last column in the end.
    """
    chosen = list(columns)
    while len(chosen) > 1 and _needed(chosen, gap=1) > width:
        chosen.remove(max(chosen, key=lambda column: column.rank))
    gap = _WIDE_GAP if _needed(chosen, _WIDE_GAP) <= width else 1
    spare = max(width - _needed(chosen, gap), 0)
    more_name = min(spare, MAXIMUM_NAME - chosen[0].width)
    placed: list[Placed] = []
    x = MARGIN
    for column in chosen:
        more = more_name if column is chosen[0] else 0
        if column is chosen[-1] and not column.right and len(chosen) > 1:
            more = spare - more_name
        placed.append(Placed(column, x, max(column.width + more, 1)))
        x += column.width + more + gap
    return tuple(placed)


def _needed(columns: list[Column], gap: int) -> int:
    return MARGIN + sum(column.width for column in columns) + gap * (len(columns) - 1)
