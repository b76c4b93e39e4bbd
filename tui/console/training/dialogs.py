"""What a scenario says in dialogs: its story, hints, and the debrief."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.console.dialogs.base import Dialog
from tui.shared.tone import Line


class TextDialog(Dialog[bool]):
    """Shows lines; its text scrolls with the arrows as well.

    Args:
        title: what it is about.
        lines: what it says.
        answer: what its button says.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i,q", "dismiss(None)", "Close", show=False, id="text.close"),
        Binding("up,k", "scroll_line(-1)", "Up", show=False, id="text.up"),
        Binding("down,j", "scroll_line(1)", "Down", show=False, id="text.down"),
    ]

    def __init__(self, title: str, lines: Iterable[Line], answer: str = "Close (Esc)") -> None:
        super().__init__(title)
        self._lines = tuple(lines)
        self._answer = answer

    def lines(self) -> Iterable[Line]:
        """Return what it says."""
        return self._lines

    def answers(self) -> Sequence[tuple[str, str]]:
        """There is one."""
        return (("close", self._answer),)
