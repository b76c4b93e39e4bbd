"""A screen that is left once, however many keys ask for that."""

from __future__ import annotations

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

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
