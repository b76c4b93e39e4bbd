"""A line of tabs, each with the digit that opens it; the open one is seen without colours too."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip

from tui.console.widgets.toned import Toned
from tui.shared.tone import Tone

_OPEN = Style(reverse=True, bold=True)


class Tabs(Toned):
    """Shows titles; a click on one asks for it.

    Args:
        titles: what stands on them, from the left.
        id: its name on the screen.
    """

    DEFAULT_CSS = """
    Tabs { height: 1; background: $panel; }
    """

    class Wanted(Message):
        """A tab was clicked.

        Attributes:
            number: which, from 0.
        """

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, titles: Sequence[str], *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._titles = tuple(titles)
        self.open = 0

    def show(self, number: int) -> None:
        """Show another tab as the open one."""
        if number != self.open:
            self.open = number
            self.refresh()

    def _labels(self) -> list[str]:
        """Return what stands on the line; narrow lines have less space around each."""
        wide = [f"  {number} {title}  " for number, title in enumerate(self._titles, start=1)]
        if sum(map(cell_len, wide)) <= self.size.width:
            return wide
        return [f" {number} {title} " for number, title in enumerate(self._titles, start=1)]

    def _in_sight(self) -> list[tuple[int, str]]:
        """Return the tabs from the first that leaves room for the open one, with their numbers."""
        labels, first = self._labels(), 0
        while first < self.open and sum(map(cell_len, labels[first : self.open + 1])) > (
            self.size.width
        ):
            first += 1
        return list(enumerate(labels))[first:]

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - it has one line
        """Return the line."""
        base = self.base_style
        segments = [
            Segment(label, base + self.tone_style(Tone.HEAD) + _OPEN)
            if number == self.open
            else Segment(label, base)
            for number, label in self._in_sight()
        ]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def on_click(self, event: events.Click) -> None:
        """Ask for the tab that was clicked."""
        end = 0
        for number, label in self._in_sight():
            end += cell_len(label)
            if event.x < end:
                self.post_message(self.Wanted(number))
                return
