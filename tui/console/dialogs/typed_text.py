"""A dialog into which a person types a line of text."""

from __future__ import annotations

from typing import ClassVar

from textual import events

from tui.console.dialogs.base import Dialog


class TypedTextDialog(Dialog[str]):
    """A dialog that takes letters, and shows what was typed so far.

    Args:
        title: what it is about, safe to show.
        typed: what stands there from the beginning.

    Attributes:
        typed: what was typed so far.
        LONGEST: how many letters are taken.
    """

    LONGEST: ClassVar[int] = 200

    def __init__(self, title: str, typed: str = "") -> None:
        self.typed = typed
        super().__init__(title)

    def action_erase(self) -> None:
        """Take the last letter away."""
        self.change(self.typed[:-1])

    def take_key(self, key: str, letter: str | None) -> bool:
        """Take letters, and what erases them."""
        if letter:
            self.change(self.typed + letter)
        elif key == "backspace":
            self.action_erase()
        else:
            return False
        return True

    def on_paste(self, event: events.Paste) -> None:
        """Take the first line that is pasted; many terminals end it by CR, as Enter does."""
        event.stop()
        first = next(iter(event.text.splitlines()), "")
        self.change(self.typed + "".join(one for one in first if one.isprintable()))

    def change(self, text: str) -> None:
        """Have another text stand there."""
        self.typed = text[: self.LONGEST]
        self.update_text()
