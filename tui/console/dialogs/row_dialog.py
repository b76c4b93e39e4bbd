"""A dialog with rows, one of which is chosen: what a click on one means, in all such dialogs."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import ClassVar, Final, TypeVar

from textual import on

from tui.console.dialogs.base import Dialog
from tui.console.widgets.lines import LinesView

Result = TypeVar("Result")

APART_S: Final = 0.5  # as long as Textual takes two clicks for a double one


class RowDialog(Dialog[Result]):
    """A dialog with rows: a click chooses one, and a click on the chosen one opens it.

    `lines` tells by `Row` which of them are rows.

    Attributes:
        CAREFUL: what is opened can't be called back. Then a row is opened by the mouse only after
            another click has chosen it, and never by a double click: who clicks to come back to
            the terminal's window, or clicks once too often, opens nothing.
    """

    CAREFUL: ClassVar[bool] = False

    _last_click: tuple[Hashable, float] | None = None  # what it left chosen, and when it was

    @property
    def chosen_row(self) -> Hashable:
        """What the chosen row stands for; None if there is none."""
        raise NotImplementedError

    @property
    def choice(self) -> Hashable:
        """What Enter would open: another one once something was asked about the same row."""
        return self.chosen_row

    def choose_row(self, row: Hashable) -> None:
        """Choose a row, if it is there still."""
        raise NotImplementedError

    def open_row(self) -> None:
        """Do with the chosen row what Enter does."""
        self.answered(self.answers()[0][0])

    def take_sign(self, row: Hashable, sign: str) -> bool:
        """Act on a click on what a row draws to be clicked: a box, an arrow.

        Args:
            row: what the row stands for.
            sign: what was clicked.

        Returns:
            Whether it was such a sign.
        """
        del row, sign
        return False

    @on(LinesView.Clicked)
    def _clicked(self, event: LinesView.Clicked) -> None:
        event.stop()
        last, now = self._last_click, time.monotonic()
        if self.take_sign(event.row, event.sign):
            pass
        elif event.row != self.chosen_row or (self.CAREFUL and not self._was_chosen_by(last)):
            self.choose_row(event.row)
        elif not self.CAREFUL or (last and not event.again and now - last[1] >= APART_S):
            self.open_row()
        self._last_click = self.choice, now

    def _was_chosen_by(self, click: tuple[Hashable, float] | None) -> bool:
        return click is not None and click[0] == self.choice
