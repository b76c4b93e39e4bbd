"""A scrolling view of lines made of toned pieces: the pane, the log, what a dialog says."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.console.widgets.pointed import Pointed
from tui.console.widgets.toned import Toned
from tui.shared.tone import Line, Row

_SIGN = re.compile(r"\[[ x]\]|.", re.DOTALL)


class LinesView(ScrollView, Toned, Pointed, can_focus=True, inherit_bindings=False):
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

    class Clicked(Message):
        """A row was clicked.

        Attributes:
            row: what it stands for.
            sign: the box ``[x]`` that was clicked, or else the letter.
            again: it is the second click of a double one, or a later one.
        """

        def __init__(self, row: Hashable, sign: str, *, again: bool) -> None:
            super().__init__()
            self.row = row
            self.sign = sign
            self.again = again

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

    def row_at(self, event: events.MouseEvent) -> Hashable:
        """Return what the line under the mouse stands for."""
        line = self._line_at(event)
        return line.what if isinstance(line, Row) else None

    def clicked(self, row: Hashable, event: events.Click) -> None:
        """Tell whoever knows what the row stands for."""
        offset = event.get_content_offset(self)
        sign = sign_at(self._line_at(event), offset.x) if offset is not None else ""
        self.post_message(self.Clicked(row, sign, again=event.chain > 1))

    def _line_at(self, event: events.MouseEvent) -> Line:
        offset = event.get_content_offset(self)
        return () if offset is None else _at(self._lines, offset.y + self.scroll_offset.y)


def _at(lines: Sequence[Line], number: int) -> Line:
    return lines[number] if 0 <= number < len(lines) else ()


def sign_at(line: Line, x: int) -> str:
    """Return the box, or else the letter, that stands in a cell of a line; empty behind its end."""
    end = 0
    for found in _SIGN.finditer("".join(piece.text for piece in line)):
        end += cell_len(found.group())
        if x < end:
            return found.group()
    return ""


def is_box(sign: str) -> bool:
    """Return whether a sign is a box that is marked or not."""
    return len(sign) > 1
