"""Asks for a VM's name to be typed, before everything that runs in it is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.console.dialogs.typed_text import TypedTextDialog
from tui.console.dialogs.vm_text import EMPTY, labelled, who
from tui.console.model.targets import Target
from tui.shared.fit import safe
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Tone

_NO = ("no", "Leave it (Esc)")


class NameDialog(TypedTextDialog):
    """Asks for the VM's name before a reset; answers with the name as it was typed.

    Args:
        target: the VM of the key press.
        signs: the set of signs that the terminal can show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("backspace", "erase", "Erase a letter", show=False, id="name.erase"),
    ]

    def __init__(self, target: Target, signs: Signs) -> None:
        super().__init__(f"Reset {safe(target.vm.name, 40)}?")
        self.target = target
        self._signs = signs
        self.set_class(True, "-danger")

    def lines(self) -> Iterable[Line]:
        """Return whom it hits, what is lost, and what was typed so far."""
        yield who(self.target.state, self._signs)
        lost = "everything that runs in it, and what it had not written to its disks"
        yield labelled("lost", lost, Tone.BAD)
        locked = self.target.vm.locked_by
        if locked:
            yield labelled("locked", f"its manager holds it for: {safe(locked)}", Tone.WARN)
        yield EMPTY
        tone = Tone.GOOD if self._is_it else Tone.HEAD
        yield (Piece("  Type its name: "), Piece(f"{safe(self.typed)}_", tone))

    def is_chosen(self, line: Line) -> bool:
        """Return whether it is typed at."""
        return line[-1].text.endswith("_")

    @property
    def _is_it(self) -> bool:
        return self.typed == self.target.vm.name

    def answers(self) -> Sequence[tuple[str, str]]:
        """Reset, or don't."""
        return (("yes", "Reset (Enter)"), _NO)

    def answered(self, answer: str) -> None:
        """Answer with the name; while it is another one, Enter does nothing."""
        if answer != "yes":
            self.dismiss(None)
        elif self._is_it:
            self.dismiss(self.typed)
