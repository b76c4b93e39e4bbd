"""A scrolling view of lines made of toned pieces: the pane, the log, what a dialog says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.console.widgets.toned import Toned
from tui.shared.tone import Line


class LinesView(ScrollView, Toned, can_focus=True, inherit_bindings=False):
    """Shows lines, and repaints those that differ from what it showed."""

    DEFAULT_CSS = """
    LinesView {
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        overflow-y: auto;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "Scroll up", show=False, id="lines.up"),
        Binding("down,j", "scroll_down", "Scroll down", show=False, id="lines.down"),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False, id="lines.page_up"),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False, id="lines.page_down"),
        Binding("home,g", "scroll_home", "To the top", show=False, id="lines.home"),
        Binding("end,G", "scroll_end", "To the end", show=False, id="lines.end"),
    ]

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._lines: Sequence[Line] = ()

    @property
    def room(self) -> int:
        """Cells for a line; the scroll bar's is left free, so that nothing is wrapped anew.

        Before its first layout a view has no width: then it is as if it had the whole screen.
        """
        width = self.outer_size.width or self.app.size.width
        return max(width - self.styles.gutter.width - 1, 10)

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Show `lines`; what stands where it stood is not painted again."""
        old, self._lines = self._lines, lines
        width, height = self.size
        self.virtual_size = Size(width, len(lines))
        top = self.scroll_offset.y
        # All at once: each call looks up where the widget is on the screen, and tells the screen.
        changed = [
            Region(0, y, width, 1)
            for y in range(height)
            if _at(old, top + y) != _at(lines, top + y)
        ]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen."""
        line = _at(self._lines, y + self.scroll_offset.y)
        return Strip(self.segments(line)).adjust_cell_length(self.size.width, self.base_style)


def _at(lines: Sequence[Line], number: int) -> Line:
    return lines[number] if 0 <= number < len(lines) else ()
