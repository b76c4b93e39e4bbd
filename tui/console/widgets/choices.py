"""A list with a cursor: what is long is drawn only where it is seen."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.console.widgets.pointed import Pointed
from tui.console.widgets.toned import Toned
from tui.shared.fit import ELLIPSIS
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Tone


class Choices(ScrollView, Toned, Pointed, can_focus=True, inherit_bindings=False):
    """Shows lines, one of which is chosen.

    Args:
        signs: the set of signs that the terminal can show.
        id: its name on the screen.
    """

    DEFAULT_CSS = """
    Choices {
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        overflow-y: auto;
        .choices--cursor { background: $cursor-blurred; }
        &:focus .choices--cursor { background: $cursor; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"choices--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="choices.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="choices.down"),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False, id="choices.page_up"),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False, id="choices.page_down"),
        Binding("home,g", "to(0)", "First", show=False, id="choices.first"),
        Binding("end,G", "to(-1)", "Last", show=False, id="choices.last"),
        Binding("enter", "pick", "Choose", show=False, id="choices.pick"),
    ]

    class Moved(Message):
        """Another line is chosen now."""

    class Picked(Message):
        """Enter was pressed on the chosen line, or that was clicked."""

    def __init__(self, signs: Signs, *, id: str) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._signs = signs
        self._count = 0
        self._line_of: Callable[[int], Line] = lambda _: ()
        self._key_of: Callable[[int], Hashable] = int
        self.cursor = 0

    def show(
        self,
        count: int,
        line_of: Callable[[int], Line],
        cursor: int | None = None,
        key_of: Callable[[int], Hashable] = int,
    ) -> None:
        """Show so many lines.

        Args:
            count: how many there are.
            line_of: returns one of them, from 0.
            cursor: the chosen one; None for the same as before.
            key_of: returns what one of them stands for, in a list whose lines come and go.
        """
        self._count, self._line_of, self._key_of = count, line_of, key_of
        self.cursor = min(max(self.cursor if cursor is None else cursor, 0), max(count - 1, 0))
        self.virtual_size = Size(self.size.width, count)
        self._reveal()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen."""
        number, width = y + self.scroll_offset.y, self.size.width
        if number >= self._count:
            return Strip.blank(width, self.base_style)
        chosen = number == self.cursor
        base = self.get_component_rich_style("choices--cursor") if chosen else self.base_style
        sign = self._signs.cursor if chosen else " "
        segments = [Segment(sign, base + self.tone_style(Tone.ACTIVE))]
        for piece in self._line_of(number):
            segments.append(Segment(piece.text, base + self.tone_style(piece.tone)))
        strip = Strip(segments)
        if strip.cell_length > width:
            strip = Strip([*strip.crop(0, width - 1), Segment(ELLIPSIS, base)])
        return strip.adjust_cell_length(width, base)

    @property
    def room(self) -> int:
        """Cells for a line, beside the cursor's sign and the scroll bar."""
        return max(self.outer_size.width - self.styles.gutter.width - 2, 4)

    def on_resize(self) -> None:
        """Keep the chosen line in sight."""
        self._reveal()

    def action_move(self, lines: int) -> None:
        """Choose a line further down, or up."""
        self._choose(self.cursor + lines)

    def action_page(self, pages: int) -> None:
        """Go a screenful down, or up."""
        self._choose(self.cursor + pages * max(self.size.height - 1, 1))

    def action_to(self, place: int) -> None:
        """Go to the first line (0), or to the last one (-1)."""
        self._choose(place if place >= 0 else self._count - 1)

    def action_pick(self) -> None:
        """Take the chosen line."""
        if self._count:
            self.post_message(self.Picked())

    def row_at(self, event: events.MouseEvent) -> Hashable:
        """Return what the line under the mouse stands for, and whether it is the chosen one."""
        number = event.y + self.scroll_offset.y
        return (self._key_of(number), number == self.cursor) if number < self._count else None

    def clicked(self, row: Hashable, event: events.Click) -> None:
        """Choose the line that was clicked; take the chosen one."""
        del row
        number = event.y + self.scroll_offset.y
        if number == self.cursor:
            self.action_pick()
        else:
            self._choose(number)

    def _choose(self, number: int) -> None:
        number = min(max(number, 0), max(self._count - 1, 0))
        if number != self.cursor:
            self.cursor = number
            self._reveal()
            self.refresh()
            self.post_message(self.Moved())

    def _reveal(self) -> None:
        top, height = self.scroll_offset.y, self.size.height
        wanted = min(max(top, self.cursor - height + 1), self.cursor) if height else top
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, immediate=True, force=True)


class ChoicesWithoutEnter(Choices, inherit_bindings=False):
    """Choices whose Enter is that of the page, whose last line says what it does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        each for each in Choices.BINDINGS if isinstance(each, Binding) and each.key != "enter"
    ]
