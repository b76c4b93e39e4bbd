"""Which columns the table shows, and in which order."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import ClassVar, cast

from textual import events
from textual.binding import Binding, BindingType

from tui.console.dialogs.row_dialog import RowDialog
from tui.console.dialogs.vm_text import EMPTY
from tui.console.model.order import Order
from tui.console.widgets.lines import is_box
from tui.console.widgets.table.columns import COLUMNS, Column
from tui.shared.fit import fit
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Row, Tone

_TITLE = 14
_LEAST_TOLD = 9  # cells
_HEAD: tuple[Line, ...] = (
    (Piece("From left to right; what doesn't fit is a few cells to the right", Tone.DIM),),
    EMPTY,
)
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1}
_MOVES = {"shift+up": -1, "K": -1, "shift+down": 1, "J": 1, "left": -1, "right": 1}


class ColumnsDialog(RowDialog[tuple[Column, ...]]):
    """Asks for columns; answers with those that are wanted, the name first.

    Args:
        columns: those that are shown now.
        signs: the set of signs that the terminal can show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "show_column", "Show, or hide", id="columns.toggle"),
        Binding("left", "move(-1)", "Further left", id="columns.left"),
        Binding("right", "move(1)", "Further right", id="columns.right"),
        Binding("d", "usual", "As usual", id="columns.usual"),
    ]

    def __init__(self, columns: Sequence[Column], signs: Signs) -> None:
        super().__init__("Which columns?")
        self._signs = signs
        self._shown = {column.id for column in columns}
        self._order = [*columns, *(one for one in COLUMNS if one not in columns)]
        self._at = 1

    def lines(self) -> Iterable[Line]:
        """Return the columns from left to right, and what the keys do."""
        yield from self._head
        for place, column in enumerate(self._order):
            here = place == self._at
            mark = self._signs.cursor if here else " "
            box = "[x]" if column.id in self._shown else "[ ]"
            told = Order(column.id).label if place else "always there"
            head = f"{mark} {box} {fit(column.title, min(_TITLE, self._room - 7))}"
            room = self._room - len(head)
            told = fit(f"sorts {told}" if place else told, room) if room >= _LEAST_TOLD else ""
            line = (Piece(head, Tone.HEAD if here else Tone.NORMAL), Piece(told, Tone.DIM))
            yield Row.of(column, line) if place else line
        yield EMPTY
        yield (Piece("space shows or hides, left and right move it, d is as usual", Tone.DIM),)

    @property
    def _head(self) -> tuple[Line, ...]:
        """What stands above the columns, where there is room for it."""
        return () if self.is_bare else _HEAD

    def is_chosen(self, line: Line) -> bool:
        """Return whether it has the cursor."""
        return line[0].text.startswith(self._signs.cursor)

    def answers(self) -> Sequence[tuple[str, str]]:
        """Take them, or leave all as it is."""
        return (("take", "Show these (Enter)"), ("no", "Leave it (Esc)"))

    def answered(self, answer: str) -> None:
        """Answer with the columns."""
        wanted = tuple(one for one in self._order if one.id in self._shown)
        self.dismiss(wanted if answer == "take" else None)

    def on_key(self, event: events.Key) -> None:
        """Take the keys here: of keys that come together each finds its place."""
        key = event.key
        if key in _STEPS:
            self._at = min(max(self._at + _STEPS[key], 1), len(self._order) - 1)
        elif key in _MOVES:
            self.action_move(_MOVES[key])
        elif key == "space":
            self.action_show_column()
        elif key == "d":
            self.action_usual()
        else:
            return
        event.stop()
        event.prevent_default()
        self.update_text()

    @property
    def chosen_row(self) -> Hashable:
        """The column that has the cursor."""
        return self._order[self._at]

    def choose_row(self, row: Hashable) -> None:
        """Choose a column."""
        self._at = self._order.index(cast("Column", row))
        self.update_text()

    def open_row(self) -> None:
        """Show the chosen column, or hide it: Enter takes all of them, and leaves."""
        self.action_show_column()

    def take_sign(self, row: Hashable, sign: str) -> bool:
        """Show or hide the column whose box was clicked."""
        if not is_box(sign):
            return False
        self.choose_row(row)
        self.action_show_column()
        return True

    def action_show_column(self) -> None:
        """Show the column that has the cursor, or hide it."""
        self._shown ^= {self._order[self._at].id}
        self.update_text()

    def action_move(self, direction: int) -> None:
        """Move the column to the left or to the right; the name stays the first one."""
        at, to = self._at, self._at + direction
        if 1 <= to < len(self._order):
            self._order[at], self._order[to] = self._order[to], self._order[at]
            self._at = to
            self.update_text()

    def action_usual(self) -> None:
        """Show all columns, in their usual order."""
        self._order = list(COLUMNS)
        self._shown = {column.id for column in COLUMNS}
        self.update_text()
