"""The line in which a filter is typed; it is there only while there is a filter."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

_HINT = "words to show, !word to hide; Enter keeps it, Esc clears it"


class FilterLine(Horizontal):
    """A line to type in. The table follows each letter; Enter goes back to the table."""

    DEFAULT_CSS = """
    FilterLine {
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
        """The filter is another one."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Kept(Message):
        """The operator has typed what was wanted, and goes on with the table."""

    def __init__(self) -> None:
        super().__init__(id="filter-line")
        self._input = Input(placeholder=_HINT, id="filter", compact=True)

    def compose(self) -> ComposeResult:
        """Yield the sign and the input."""
        yield Static("/", id="filter-sign")
        yield self._input

    @property
    def is_open(self) -> bool:
        """Whether the line is there."""
        return self.has_class("-open")

    def open(self) -> None:
        """Let the operator type."""
        self.add_class("-open")
        self._input.focus()

    def clear(self) -> None:
        """Take the filter away, and the line with it."""
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
