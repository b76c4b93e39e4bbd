"""A line in which words are typed; it is there only while they are wanted."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static


class TypedLine(Horizontal):
    """A line to type in. Each letter is told at once; Enter goes back to what it is about.

    Args:
        hint: what is shown while nothing has been typed.
        id: the line's name; its input has the same with ``-input`` behind it.
    """

    DEFAULT_CSS = """
    TypedLine {
        display: none;
        height: 1;
        background: $panel;
        padding: 0 1;
        &.-open { display: block; }
        Static { width: 2; color: $warning; text-style: bold; }
        Input { width: 1fr; background: $panel; }
    }
    """

    class Changed(Message):
        """Something else has been typed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Kept(Message):
        """The operator has typed what was wanted, and goes on."""

    def __init__(self, hint: str, *, id: str) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._input = Input(placeholder=hint, id=f"{id}-input", compact=True)

    def compose(self) -> ComposeResult:
        """Yield the sign and the input."""
        yield Static("/")
        yield self._input

    @property
    def is_open(self) -> bool:
        """Whether the line is there."""
        return self.has_class("-open")

    def open(self) -> None:
        """Let the operator type."""
        self.add_class("-open")
        self.screen.set_focus(self._input)  # at once: what comes with the key is typed already

    def clear(self) -> None:
        """Take the words away, and the line with them."""
        self._input.value = ""
        self.remove_class("-open")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        if not event.value.strip():
            self.clear()
        self.post_message(self.Kept())
