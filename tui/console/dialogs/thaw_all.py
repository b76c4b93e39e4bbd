"""Thaw everything: what this console froze, and behind a second question what it did not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY, to_thaw
from tui.console.model.targets import Targets
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Tone


class ThawAllAnswer(StrEnum):
    """How much is thawed."""

    OURS = "ours"
    ALL = "all"


class ThawAllDialog(Dialog[ThawAllAnswer]):
    """Asks before everything is thawed that this console froze.

    Args:
        ours: what this console froze, or is freezing.
        foreign: what is frozen here beside that, the oldest first.
        signs: the set of signs that the terminal can show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "all", "All", show=False, id="thawall.all"),
    ]

    def __init__(self, ours: Targets, foreign: Targets, signs: Signs) -> None:
        super().__init__("Thaw everything that this console froze?")
        self.ours = ours
        self.foreign = foreign
        self._signs = signs

    def lines(self) -> Iterable[Line]:
        """Return whom it hits."""
        for target in self.ours:
            yield from to_thaw(target, self._signs, hidden=False)
        if self.foreign:
            yield EMPTY
            count = len(self.foreign)
            text = f"{count} more {'is' if count == 1 else 'are'} frozen here, and not by us: "
            yield (Piece(text, Tone.WARN), Piece("a asks about those, too."))

    def answers(self) -> Sequence[tuple[str, str]]:
        """Thaw ours, ask about all, or don't."""
        ours = (ThawAllAnswer.OURS.value, f"Thaw our {len(self.ours)} (Enter)")
        everything = [(ThawAllAnswer.ALL.value, "All (a)")] if self.foreign else []
        return (ours, *everything, ("no", "Leave it (Esc)"))

    def answered(self, answer: str) -> None:
        """Answer how much, or None."""
        chosen = [each for each in ThawAllAnswer if each == answer]
        self.dismiss(chosen[0] if chosen else None)

    def action_all(self) -> None:
        """Ask about what is not ours, too."""
        if self.foreign:
            self.dismiss(ThawAllAnswer.ALL)
