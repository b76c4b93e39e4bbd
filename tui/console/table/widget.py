"""The widget: paints the lines that differ from what is on the screen, and moves the cursor."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from agentclient.vm import VmId
from tui.console.model.view import FleetView
from tui.console.safe import wrap
from tui.console.table.cells import Paint, ticks
from tui.console.table.columns import Placed, place
from tui.console.table.rows import BLANK, Row, difference, head_row, to_strip, vm_row
from tui.console.times import Clock
from tui.console.tones import TONE_CLASSES, Tone, Toned
from tui.console.words import Signs

HEAD_LINES = 1


class VmTable(ScrollView, Toned, can_focus=True, inherit_bindings=False):
    """The live table.

    Args:
        view: what is shown, and which VM is under the cursor.
        clock: where running clocks get their time from.
        signs: the set of signs that the terminal can show.
    """

    DEFAULT_CSS = """
    VmTable {
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        overflow-y: auto;
        .vms--cursor { background: $cursor-blurred; }
        &:focus .vms--cursor { background: $cursor; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"vms--cursor", *TONE_CLASSES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="vms.up", tooltip="The VM above"),
        Binding("down,j", "move(1)", "Down", show=False, id="vms.down", tooltip="The VM below"),
        Binding("home,g", "first", "First", show=False, id="vms.first", tooltip="The first VM"),
        Binding("end,G", "last", "Last", show=False, id="vms.last", tooltip="The last VM"),
        Binding(
            "pageup,ctrl+b", "page(-1)", "Page up", show=False, id="vms.page_up",
            tooltip="One screenful up",
        ),
        Binding(
            "pagedown,ctrl+f", "page(1)", "Page down", show=False, id="vms.page_down",
            tooltip="One screenful down",
        ),
    ]  # fmt: skip

    class CursorMoved(Message):
        """The cursor is on another VM, or on none."""

        def __init__(self, vm_id: VmId | None) -> None:
            super().__init__()
            self.vm_id = vm_id

    class Touched(Message):
        """The operator moved the cursor: rows should stay where they are for a moment."""

    def __init__(self, view: FleetView, clock: Clock, signs: Signs) -> None:
        super().__init__(id="vms")
        self.view = view
        self._clock = clock
        self._signs = signs
        self._placed: tuple[Placed, ...] = ()
        self._painted: list[Row] = []  # what stands in each line of the screen
        self._told: VmId | None = None
        self._told_row = 0
        self._advice: tuple[str, ...] = ()  # what an empty table says

    def advise(self, advice: tuple[str, ...]) -> None:
        """Set what the table says while it is empty; it is painted with the next change."""
        self._advice = advice

    # -- painting --------------------------------------------------------------------------

    def update_lines(self, *, clocks_only: bool = False) -> None:
        """Repaint the lines that differ from what is on the screen; O(visible).

        Args:
            clocks_only: nothing but time has passed: look at the lines with running clocks alone.
        """
        if not self.size:
            return
        if not clocks_only:
            self._measure()
        paint = Paint(self._clock.moment(), self._signs)
        old, new = self._painted, self._lines(paint, clocks_only=clocks_only)
        self._painted = new
        if len(old) != len(new):
            self.refresh()
            return
        regions = [
            Region(start, y, (self.size.width if end < 0 else end) - start, 1)
            for y, (before, after) in enumerate(zip(old, new, strict=True))
            if (found := difference(before, after, self._placed)) is not None
            for start, end in (found,)
        ]
        if regions:
            self.refresh(*regions)

    def _measure(self) -> None:
        """Tell the scroll bar how many lines there are, and others where the cursor is."""
        size = Size(self.size.width, len(self.view.rows) + HEAD_LINES)
        if self.virtual_size != size:
            self.virtual_size = size
        cursor, row = self.view.cursor, self.view.cursor_row
        if self._told != cursor:
            self.post_message(self.CursorMoved(cursor))
        if (self._told, self._told_row) != (cursor, row):
            # Only then: who scrolled away with the mouse is not pulled back by every change.
            self._told, self._told_row = cursor, row
            self._reveal_cursor()

    def _lines(self, paint: Paint, *, clocks_only: bool) -> list[Row]:
        """Return what should stand in each line of the screen now."""
        if clocks_only and len(self._painted) == self.size.height:
            return [
                self._row(y, paint) if self._ticks(y) else self._painted[y]
                for y in range(self.size.height)
            ]
        return [self._row(y, paint) for y in range(self.size.height)]

    def _row(self, y: int, paint: Paint) -> Row:
        if y < HEAD_LINES:
            return head_row(self._placed, self.view.order, self._signs)
        if not self.view.rows:
            return self._advice_row(y - HEAD_LINES - 1)
        vm_id = self._vm_at(y)
        state = self.view.state(vm_id) if vm_id is not None else None
        if vm_id is None or state is None:
            return BLANK
        return vm_row(
            state,
            self._placed,
            paint,
            under_cursor=vm_id == self.view.cursor,
            marked=self.view.is_marked(vm_id),
        )

    def _ticks(self, y: int) -> bool:
        vm_id = self._vm_at(y)
        state = self.view.state(vm_id) if vm_id is not None else None
        return state is not None and ticks(state)

    def _vm_at(self, y: int) -> VmId | None:
        """Return the VM that stands in a line of the screen."""
        row = y - HEAD_LINES + self.scroll_offset.y
        rows = self.view.rows
        return rows[row] if y >= HEAD_LINES and row < len(rows) else None

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen."""
        width = self.size.width
        if y >= len(self._painted):
            return Strip.blank(width, self.rich_style)
        row = self._painted[y]
        return to_strip(row, self._placed, width, self._base(row), self.tone_style)

    def _base(self, row: Row) -> Style:
        if row.under_cursor:
            return self.get_component_rich_style("vms--cursor")
        return self.rich_style

    def _advice_row(self, line: int) -> Row:
        """Return a line of what an empty table says; the first one is a title."""
        lines = [each for text in self._advice for each in wrap(text, max(self.size.width - 4, 1))]
        if not 0 <= line < len(lines):
            return BLANK
        return Row(f"{BLANK.margin}{lines[line]}", tone=Tone.NORMAL if line else Tone.HEAD)

    # -- what Textual tells ----------------------------------------------------------------

    def on_resize(self) -> None:
        """Choose the columns anew for the new width."""
        # The scroll bar's cell stays free, so that no column jumps when it comes or goes.
        self._placed = place(self.outer_size.width - 1)
        self._reveal_cursor()
        self.repaint_all()

    def repaint_all(self) -> None:
        """Paint every line again."""
        self._painted = []
        self.update_lines()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Show other rows."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._painted = self._lines(Paint(self._clock.moment(), self._signs), clocks_only=False)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is."""
        vm_id = self._vm_at(event.y)
        if vm_id is not None:
            self.view.go_to(vm_id)
            self._moved()

    # -- the cursor ------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        """Move the cursor by some rows."""
        self.view.go_to_row(self.view.cursor_row + rows)
        self._moved()

    def action_page(self, pages: int) -> None:
        """Move the cursor by some screenfuls."""
        self.action_move(pages * max(self.size.height - HEAD_LINES - 1, 1))

    def action_first(self) -> None:
        """Go to the first VM."""
        self.view.go_to_row(0)
        self._moved()

    def action_last(self) -> None:
        """Go to the last VM."""
        self.view.go_to_row(len(self.view.rows) - 1)
        self._moved()

    def _moved(self) -> None:
        self.post_message(self.Touched())
        self._reveal_cursor()
        self.update_lines()

    def _reveal_cursor(self) -> None:
        """Scroll as little as needed for the cursor's line to be seen."""
        height = self.size.height - HEAD_LINES
        if height <= 0:
            return
        top, row = self.scroll_offset.y, self.view.cursor_row
        if row < top:
            self.scroll_to(y=row, animate=False)
        elif row >= top + height:
            self.scroll_to(y=row - height + 1, animate=False)
