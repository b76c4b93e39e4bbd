"""The answers of a dialog: side by side where they fit, else below each other, and scrolled."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widgets import Button

from tui.shared.fit import fit

_APART = 2  # cells before each
_PADDING = 2  # cells within each
_LEAST = 8  # cells


class ButtonRow(Container, can_focus=False):
    """Shows the buttons of a dialog; the one with the focus is always in sight."""

    DEFAULT_CSS = """
    ButtonRow {
        layout: horizontal;
        align-horizontal: right;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        overflow-y: hidden;
        &.-stacked { layout: vertical; align-horizontal: left; overflow-y: auto; }
        Button {
            margin-left: 2;
            min-width: 8;
            color: $foreground;
            background: $panel;
            &.-textual-compact:focus {
                color: $primary;
                background: $background;
                text-style: bold reverse;  /* it is seen without colours, too */
                background-tint: transparent;
            }
            &:hover { background: $primary 60%; }
        }
        &.-stacked Button { margin-left: 0; }
    }
    """

    def __init__(self) -> None:
        super().__init__(id="dialog-buttons")
        self._answers: tuple[tuple[str, str], ...] = ()
        self._made: tuple[Button, ...] = ()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Have the button with the focus in sight at once."""
        self.scroll_to_widget(event.widget, animate=False)

    def take(self, answers: Sequence[tuple[str, str]]) -> None:
        """Have a button for each answer.

        Args:
            answers: their ids and labels.
        """
        self._answers = tuple(answers)
        self._made = tuple(
            Button(Content(label), id=name, compact=True) for name, label in self._answers
        )

    def compose(self) -> ComposeResult:
        """Yield the buttons."""
        yield from self._made

    def share_room(self, width: int, most: int, *, apart: bool) -> int:
        """Arrange the buttons; return how many lines they take.

        Args:
            width: so many cells.
            most: so many lines of buttons at the most, if there are more.
            apart: with an empty line above them.
        """
        labels = [label for _, label in self._answers]
        needed = sum(max(cell_len(label) + _PADDING, _LEAST) + _APART for label in labels)
        stacked = needed > width
        lines = min(len(labels), max(most, 1)) if stacked else 1
        scrolls = lines < len(labels)
        room = width - _PADDING - scrolls if stacked else width
        for button, label in zip(self._made, labels, strict=True):
            button.label = Content(short_label(label, room))
        self.set_class(stacked, "-stacked")
        self.styles.height = lines
        self.styles.margin = (int(apart), 0, 0, 0)
        return lines + apart


def short_label(label: str, room: int) -> str:
    """Return a button's label: without its key where it has no room, and cut where it must be.

    Args:
        label: what it says, its key in brackets at its end.
        room: so many cells.
    """
    if cell_len(label) <= room:
        return label
    words, _, _ = label.rpartition(" (")
    return fit(words or label, room).rstrip()
