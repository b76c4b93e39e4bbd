"""What every list does with the mouse: a click counts for the row on which the button went down."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from textual import events
from textual.widget import Widget

LEFT: Final = 1  # the button


class Pointed(Widget):
    """A widget with rows that can be clicked.

    Lists are drawn anew while a finger is on the button: rows come, go, and scroll. What was under
    the mouse when the button went down has to be there still when it comes up, or nothing happens.
    """

    _pressed_on: Hashable = None

    def row_at(self, event: events.MouseEvent) -> Hashable:
        """Return what the row under the mouse stands for; None where nothing can be clicked.

        It has to be equal for as long as it is the same, wherever it is drawn.
        """
        raise NotImplementedError

    def clicked(self, row: Hashable, event: events.Click) -> None:
        """Act on a click on a row."""
        raise NotImplementedError

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Remember the row."""
        self._pressed_on = self.row_at(event) if event.button == LEFT else None

    def on_click(self, event: events.Click) -> None:
        """Act on it, if it is still the same one."""
        row, self._pressed_on = self._pressed_on, None
        if row is not None and event.button == LEFT and row == self.row_at(event):
            self.clicked(row, event)
