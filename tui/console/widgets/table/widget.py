"""The widget: paints the lines that differ from what is on the screen, and moves the cursor."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import ClassVar, cast

from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from agentclient.model.place import Place
from agentclient.model.snapshot import VmState
from agentclient.model.vm import VmId
from tui.console import widget_keys
from tui.console.model.order import Order
from tui.console.model.view import FleetView
from tui.console.widgets.pointed import Pointed
from tui.console.widgets.table.cells import Paint, ticks
from tui.console.widgets.table.columns import COLUMNS, MARGIN, Column, Layout, lay_out
from tui.console.widgets.table.rows import BLANK, Row, differences, head_row, to_strip, vm_row
from tui.console.widgets.toned import Toned
from tui.shared.clocks import Clock
from tui.shared.fit import wrap
from tui.shared.glyphs import Signs
from tui.shared.tone import Tone

HEAD_LINES = 1


class VmTable(ScrollView, Toned, Pointed, can_focus=True, inherit_bindings=False):
    """The live table.

    Args:
        view: what is shown, and which VM is under the cursor.
        clock: where running clocks get their time from.
        signs: the set of signs that the terminal can show.
        place: tells which one a VM's freeze is of those that wait for their turn.
    """

    DEFAULT_CSS = """
    VmTable {
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        overflow-y: auto;
        .vms--cursor { background: $cursor-blurred; }
        &:focus .vms--cursor { background: $cursor; }
        &:ansi .vms--cursor { text-style: underline; }
        &:ansi:focus .vms--cursor { text-style: reverse; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"vms--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [*widget_keys.MOVES, *widget_keys.MARKS]

    class CursorMoved(Message):
        """The cursor is on another VM, or on none."""

        def __init__(self, vm_id: VmId | None) -> None:
            super().__init__()
            self.vm_id = vm_id

    class Touched(Message):
        """The operator moved the cursor: rows should stay where they are for a moment."""

    class NoTrouble(Message):
        """The operator looks for a VM in trouble, and there is no other one."""

    class Scrolled(Message):
        """Other rows are seen now."""

    class Marked(Message):
        """Other VMs are marked now."""

    class SortWanted(Message):
        """The operator clicked on the title of a column that VMs can be sorted by."""

        def __init__(self, order: Order) -> None:
            super().__init__()
            self.order = order

    def __init__(
        self, view: FleetView, clock: Clock, signs: Signs, place: Callable[[VmId], Place]
    ) -> None:
        super().__init__(id="vms")
        self._place = place
        self.view = view
        self._clock = clock
        self._signs = signs
        self._layout = Layout()
        self._laid_out_for = 0  # how many cells there were for the columns
        self._wanted = (0, False)  # what the names would like to have; whether clocks are needed
        self.outside = (0, 0)  # how many VMs in trouble stand above and below what is seen
        self._skip = 0  # columns that the operator wants to be scrolled away
        self.columns: tuple[Column, ...] = COLUMNS  # those that the operator wants
        self._painted: list[Row] = []  # what stands in each line of the screen
        self._told: VmId | None = None
        self._told_row = 0
        self._advice: tuple[str, ...] = ()  # what an empty table says

    def show_columns(self, columns: tuple[Column, ...]) -> None:
        """Show other columns; the first one is the name's."""
        self.columns = columns
        self._skip = 0
        self._lay_out(0)
        self.update_lines()

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
        self._fit()
        if not clocks_only:
            self._measure()
            self._make_room()
            self.outside = self.view.troubles.outside(*self._seen())
        paint = Paint(self._clock.moment(), self._signs, self._place)
        old, new = self._painted, self._lines(paint, clocks_only=clocks_only)
        self._painted = new
        if len(old) != len(new):
            self.refresh()
            return
        regions = [
            Region(start, y, (self.size.width if end < 0 else end) - start, 1)
            for y, (before, after) in enumerate(zip(old, new, strict=True))
            if before is not after
            for start, end in differences(before, after, self._layout.placed)
        ]
        if regions:
            self.refresh(*regions)

    def _seen(self) -> tuple[int, int]:
        """Return the first row that is seen, and how many are."""
        return self.scroll_offset.y, max(self.size.height - HEAD_LINES, 0)

    def _make_room(self) -> None:
        """Give the names the room that they need, also that of clocks while none are needed."""
        wanted = (self.view.longest_name, self.view.waits)
        if wanted != self._wanted:
            self._wanted = wanted
            self._lay_out(self._skip)

    def _fit(self) -> None:
        """Choose the columns anew where there is room for more, or for fewer, than before."""
        if self._laid_out_for != self._room:
            self._lay_out(self._skip)

    def _lay_out(self, skip: int) -> None:
        self._painted = []  # every line is painted again
        self._laid_out_for = self._room
        name_width, clocks = self._wanted
        self._layout = lay_out(self._room, skip, self.columns, name_width=name_width, clocks=clocks)

    def _measure(self) -> None:
        """Tell the scroll bar how many lines there are, and others where the cursor is."""
        size = Size(self.size.width, self.view.shown + HEAD_LINES)
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
        old, states = self._painted, self._states()
        if clocks_only and len(old) == len(states):
            return [
                self._row(y, state, paint) if state is not None and ticks(state) else old[y]
                for y, state in enumerate(states)
            ]
        return [self._row(y, state, paint) for y, state in enumerate(states)]

    def _row(self, y: int, state: VmState | None, paint: Paint) -> Row:
        if y < HEAD_LINES:
            view = self.view
            return head_row(
                self._layout,
                self._room,
                view.order,
                self._signs,
                backwards=view.backwards,
                above=self.outside[0],
            )
        if not self.view.shown:
            return self._advice_row(y - HEAD_LINES - 1)
        if state is None:
            return BLANK
        return vm_row(
            state,
            self._layout.placed,
            paint,
            under_cursor=state.id == self.view.cursor,
            marked=state.id in self.view.marks,
            before=self._painted[y] if y < len(self._painted) else BLANK,
        )

    def _states(self) -> list[VmState | None]:
        """Return the VM that stands in each line of the screen."""
        # To ask where it is scrolled to takes as long as to compose a line: once for all of them.
        first = self.scroll_offset.y
        rows = range(first, first + self.size.height - HEAD_LINES)
        return [*[None] * HEAD_LINES, *map(self.view.at, rows)][: self.size.height]

    def _vm_at(self, y: int) -> VmState | None:
        """Return the VM that stands in a line of the screen."""
        return self.view.at(y - HEAD_LINES + self.scroll_offset.y) if y >= HEAD_LINES else None

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen."""
        width = self.size.width
        if y >= len(self._painted):
            return Strip.blank(width, self.base_style)
        row = self._painted[y]
        base = self._base(row)
        # In reverse, as the terminal's own colours are, each tone would be a block of its own.
        style_of = self._plain_style if base.reverse else self.tone_style
        return to_strip(row, self._layout.placed, width, base, style_of)

    def _plain_style(self, _tone: Tone) -> Style:
        return self.tone_style(Tone.NORMAL)

    def _base(self, row: Row) -> Style:
        if row.under_cursor:
            return self.get_component_rich_style("vms--cursor")
        return self.base_style

    def _advice_row(self, line: int) -> Row:
        """Return a line of what an empty table says; the first one is a title."""
        lines = [each for text in self._advice for each in wrap(text, max(self.size.width - 4, 1))]
        if not 0 <= line < len(lines):
            return BLANK
        return Row(f"{BLANK.margin}{lines[line]}", tone=Tone.NORMAL if line else Tone.HEAD)

    # -- what Textual tells ----------------------------------------------------------------

    @property
    def _room(self) -> int:
        """Cells for the columns.

        The scroll bar's cell stays free, so that no column jumps when it comes or goes.
        """
        return self.outer_size.width - 1

    def on_resize(self) -> None:
        """Choose the columns anew for the new width."""
        self._reveal_cursor()
        self.update_lines()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Show other rows."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.outside = self.view.troubles.outside(*self._seen())
            self.post_message(self.Scrolled())
            self._painted = self._lines(
                Paint(self._clock.moment(), self._signs, self._place), clocks_only=False
            )

    # -- the mouse -------------------------------------------------------------------------

    def row_at(self, event: events.MouseEvent) -> Hashable:
        """Return the VM under the mouse, or what the title under it sorts by."""
        if event.y >= HEAD_LINES:
            state = self._vm_at(event.y)
            return state.id if state is not None else None
        titles = (one for one in self._layout.placed if one.x <= event.x < one.x + one.width)
        return next((Order(one.column.id) for one in titles), None)

    def clicked(self, row: Hashable, event: events.Click) -> None:
        """Put the cursor there; in the margin or with Ctrl mark it, with Shift a range."""
        # Many terminals keep Shift-click for themselves: the margin is for those.
        vm_id = cast("VmId", row)
        if isinstance(row, Order):
            self.post_message(self.SortWanted(row))
        elif event.shift:
            self.view.mark_to(vm_id)
            self._marked()
        else:
            self.view.go_to(vm_id)
            self._moved()
            if event.ctrl or event.x < MARGIN:
                self.view.toggle_mark()
                self._marked()

    def on_mouse_scroll_right(self, event: events.MouseScrollRight) -> None:
        """Move on to the columns at the right."""
        event.stop()
        self.action_columns(1)

    def on_mouse_scroll_left(self, event: events.MouseScrollLeft) -> None:
        """Move back to the columns at the left."""
        event.stop()
        self.action_columns(-1)

    # -- the cursor ------------------------------------------------------------------------

    def go_to(self, vm_id: VmId) -> None:
        """Put the cursor on a VM that is shown."""
        self.view.go_to(vm_id)
        self._moved()

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
        self.view.go_to_row(self.view.shown - 1)
        self._moved()

    def action_columns(self, columns: int) -> None:
        """Move on to other columns."""
        self._lay_out(self._layout.before + columns)
        self._skip = self._layout.before
        self.update_lines()

    def action_trouble(self, direction: int) -> None:
        """Go to the next VM in trouble below (1) or above (-1)."""
        row = self.view.troubles.next_row(self.view.cursor_row, direction)
        if row is None or row == self.view.cursor_row:
            self.post_message(self.NoTrouble())
            return
        self.view.go_to_row(row)
        self._moved()

    # -- marks -----------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark the VM under the cursor, or take its mark away, and go to the next one.

        The next one, as in mc and htop: neighbours are marked by one key. An action is none the
        less bound to what was marked (P6), wherever the cursor is.
        """
        self.view.toggle_mark()
        self.view.go_to_row(self.view.cursor_row + 1)
        self._marked()

    def action_extend(self, rows: int) -> None:
        """Mark from where the cursor is, over some rows."""
        self.view.extend_marks(rows)
        self._marked()

    def action_mark_to_here(self) -> None:
        """Mark from the last mark to the cursor."""
        if self.view.cursor is not None:
            self.view.mark_to(self.view.cursor)
            self._marked()

    def action_mark_shown(self) -> None:
        """Mark all VMs that are shown."""
        self.view.mark_shown()
        self._marked()

    def _marked(self) -> None:
        self.post_message(self.Marked())
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
