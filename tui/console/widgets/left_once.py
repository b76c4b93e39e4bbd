"""A screen that is left once, however many keys ask for that."""

from __future__ import annotations

from typing import Self, TypeVar

from textual.await_complete import AwaitComplete
from textual.geometry import Region
from textual.screen import ModalScreen

from tui.console.textual_internals import forget_lines

Result = TypeVar("Result")


class LeftOnce(ModalScreen[Result | None]):
    """A screen above others; only the first answer counts.

    Keys that come faster than a busy console handles them reach a screen also after the one that
    left it. Textual would then close the screen below it as well, and end the console if that is
    the last one, or if the answer has been taken.
    """

    _is_left = False

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Leave the screen with an answer, unless it is left already."""
        if self._is_left:
            return AwaitComplete()
        self._is_left = True
        return super().dismiss(result)

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        """Paint it anew, with what is seen behind it.

        Textual asks the screen on top for that when something below has changed. A screen between
        the two would give what it has kept of the lowest one.
        """
        if self.is_attached and self.app.screen is self:
            for between in self.app.screen_stack[1:-1]:
                forget_lines(between, regions)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
