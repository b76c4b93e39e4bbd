"""The console: layout, keys, and the timer by which what is known reaches the screen.

Data flows one way: the fleet is drained on a timer into the view, the view is painted. A key starts
an operation in agentclient and nothing else; what comes of it arrives through the fleet. No thread
but Textual's touches a widget.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.message import Message

from agentclient.fleet import Fleet
from agentclient.schedule import Schedule
from agentclient.vm import Level
from tui.console import keys
from tui.console.actions import Actions
from tui.console.ascii import AsciiFilter
from tui.console.asking import Asking
from tui.console.detail.pane import DetailPane
from tui.console.dialogs.help import HelpDialog
from tui.console.dialogs.quit import Leave, QuitDialog
from tui.console.filterline import FilterLine
from tui.console.keyline import KeyLine
from tui.console.model.filter import Filter
from tui.console.model.view import FleetView
from tui.console.notices import Notice, news_of
from tui.console.ports import OperationsPort, WatcherPort
from tui.console.safe import safe
from tui.console.status import NoticeLine, StatusLine
from tui.console.table.widget import VmTable
from tui.console.theme import THEME
from tui.console.times import Clock
from tui.console.tones import TONE_CSS
from tui.console.words import Signs, detect_signs

DRAIN_S = 0.25  # changes reach the screen at most this much later, and at most 4 times a second
SECOND_S = 1.0
FINGER_S = 2.0  # rows stay where they are for so long after the operator moved
EMPTY_FLEET = (
    "No VM was found here (yet).",
    "",
    "frostwatch doctor",
    "    says what it can see on this machine, and what to do about the rest",
    "frostwatch --vm name=N,agent=PATH,monitor=PATH",
    "    names a VM by its sockets",
)


class FrostwatchApp(App[Leave]):
    """The console.

    Args:
        fleet: what is known about all VMs.
        operations: what starts freezes and thaws.
        watcher: visits a VM before its time; None where nothing watches.
        read_only: nothing is sent to any guest.
        interval_s: seconds between two visits to an agent.
        clock: where the time comes from.
        signs: the set of signs to use; found out if None.
        schedule: how long freezes are waited for.
    """

    TITLE = "frostwatch"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*keys.ACTIONS, *keys.VIEWS]
    CSS = (
        TONE_CSS
        + """
    Screen { layout: vertical; }
    #vms { height: 1fr; min-height: 4; }
    #pane { height: 9; }
    """
    )

    class MustLeave(Message):
        """Somebody outside asks the console to end (a signal); may be posted from any thread."""

    def __init__(
        self,
        fleet: Fleet,
        operations: OperationsPort,
        watcher: WatcherPort | None,
        *,
        read_only: bool,
        interval_s: float,
        clock: Clock | None = None,
        signs: Signs | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__()
        self.clock = clock or Clock()
        self.signs = signs or detect_signs()
        self.view = FleetView()
        self.interval_s = interval_s
        self._fleet = fleet
        self._operations = operations
        self._watcher = watcher
        self._read_only = read_only
        self._actions = Actions(
            fleet,
            operations,
            self.clock,
            read_only=read_only,
            schedule=schedule or Schedule(),
        )
        self._asking = Asking(
            self,
            view=self.view,
            actions=self._actions,
            tell=self._tell,
            clock=self.clock,
            signs=self.signs,
            read_only=read_only,
        )
        self._version = 0
        self._problems: tuple[str, ...] = ()
        self._touched_at = float("-inf")
        self._enlarged = False
        self._laid_out = False
        if self.signs.ascii:
            # Textual has no public place for a filter of all widgets; NO_COLOR's is here too.
            self._filters.append(AsciiFilter())
        self.register_theme(THEME)
        self.theme = THEME.name

    # -- layout ----------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Yield the parts, from top to bottom."""
        yield StatusLine(self.view, self.clock, self.signs, read_only=self._read_only)
        yield VmTable(self.view, self.clock, self.signs)
        yield DetailPane(self._fleet, self.clock, self.signs)
        yield NoticeLine(self.signs)
        yield FilterLine()
        yield KeyLine()

    def on_mount(self) -> None:
        """Show what is known already, and begin to follow."""
        self._table = self.query_one(VmTable)
        self._pane = self.query_one(DetailPane)
        self._status = self.query_one(StatusLine)
        self._notices = self.query_one(NoticeLine)
        self._filter = self.query_one(FilterLine)
        self._laid_out = True
        self._table.focus()
        self.drain()
        self._paint()
        self.set_interval(DRAIN_S, self.drain)
        self.set_interval(SECOND_S, self.second)

    def on_resize(self) -> None:
        """Share the height anew."""
        self._share_height()

    def _share_height(self) -> None:
        """Give the table what its rows need, but never so much that the pane can't say enough."""
        if not self._laid_out:
            return
        room = max(self.size.height - 3, 8)
        table = min(max(self.view.total + 2, 6), room * 3 // 5)
        pane = room - (4 if self._enlarged else table) if self.view.total else 1
        if self._pane.styles.height is None or self._pane.styles.height.value != pane:
            self._pane.styles.height = pane

    # -- what is known reaches the screen ----------------------------------------------------

    def drain(self) -> None:
        """Take over what changed in the fleet, and paint what differs."""
        for notice in self._actions.ended_thaws():
            self._tell(notice)
        if self._fleet.version == self._version:
            self._settle()
            self._pane.show_log()
            return
        change = self._fleet.changed_since(self._version)
        self._version = change.version
        at = self.clock.wall()
        news = [
            notice
            for state in change.changed
            for notice in news_of(self.view.state(state.id), state, at)
        ]
        self.view.apply(change, settle=self._may_move)
        self._share_height()
        self._paint()
        for notice in news:
            self._tell(notice)

    def second(self) -> None:
        """Let the clocks run."""
        self._table.update_lines(clocks_only=True)
        self._pane.update_facts()
        self._status.update_line()
        self._notices.update_line(self.clock.wall())
        self._tell_problems()

    def _settle(self) -> None:
        """Put rows where they belong once the operator's finger has left them."""
        if self._may_move and self.view.settle():
            self._paint()

    @property
    def _may_move(self) -> bool:
        return self.clock.monotonic() - self._touched_at >= FINGER_S

    def _paint(self) -> None:
        self._table.advise(self._advice())
        self._table.update_lines()
        self._status.update_line()
        self._show_pane()

    def _show_pane(self) -> None:
        cursor = self.view.cursor
        self._pane.show(self.view.state(cursor) if cursor is not None else None)

    def _advice(self) -> tuple[str, ...]:
        if self.view.total:
            return ("Nothing matches the filter.", "", "Escape clears it.")
        return (*EMPTY_FLEET, "", *self._problems)

    def _tell_problems(self) -> None:
        """Tell when a source can't look (any more)."""
        found = self._watcher.problems if self._watcher is not None else ()
        problems = tuple(safe(each, 400) for each in found)
        if problems == self._problems:
            return
        self._problems = problems
        if problems:
            self._tell(Notice(Level.WARNING, problems[0], self.clock.wall()))
        self._paint()

    def _tell(self, notice: Notice) -> None:
        self._notices.tell(notice)

    def _say(self, level: Level, text: str) -> None:
        self._tell(Notice(level, text, self.clock.wall(), answer=True))

    @on(VmTable.CursorMoved)
    def _cursor_moved(self) -> None:
        self._show_pane()

    @on(VmTable.Touched)
    def _touched(self) -> None:
        self._touched_at = self.clock.monotonic()

    # -- keys --------------------------------------------------------------------------------

    def action_freeze(self) -> None:
        """Freeze, after a question."""
        self._asking.freeze()

    def action_thaw(self) -> None:
        """Thaw, after a question."""
        self._asking.thaw()

    def action_stop(self) -> None:
        """Stop waiting, after a question."""
        self._asking.stop()

    def action_look(self) -> None:
        """Visit the VM under the cursor now."""
        cursor = self.view.cursor
        if cursor is not None and self._watcher is not None:
            self._watcher.visit_soon(cursor)
            self._say(Level.INFO, f"{safe(cursor.name, 60)}: looking again")

    def action_mark(self) -> None:
        """Mark the VM under the cursor, or take its mark away."""
        self.view.toggle_mark()
        self._paint()

    def action_sort(self) -> None:
        """Sort by the next thing."""
        self.view.sort_by(self.view.order.next())
        self._paint()
        self._say(Level.INFO, f"sorted {self.view.order.label}")

    def action_filter(self) -> None:
        """Open the line in which a filter is typed."""
        self._filter.open()

    @on(FilterLine.Changed)
    def _filter_changed(self, event: FilterLine.Changed) -> None:
        self.view.filter_by(Filter(event.text))
        self._paint()

    @on(FilterLine.Kept)
    def _filter_kept(self) -> None:
        self._table.focus()

    def action_clear(self) -> None:
        """Clear the filter; without one, the marks; make an enlarged pane small again."""
        if self._filter.is_open:
            self._filter.clear()
        elif self._enlarged:
            self.action_enlarge()
        else:
            self.view.clear_marks()
        self._table.focus()
        self._paint()

    def action_enlarge(self) -> None:
        """Enlarge the pane, or make it small again."""
        self._enlarged = not self._enlarged
        self._share_height()

    def action_help(self) -> None:
        """Show the keys and the signs."""
        groups = (
            ("Guests", keys.ACTIONS),
            ("The view", keys.VIEWS),
            ("Moving about", VmTable.BINDINGS),
        )
        self.push_screen(HelpDialog(groups, self.interval_s, self.signs))

    # -- leaving -----------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Quit; ask first while something is in flight."""
        if not self._operations.active():
            self.exit(Leave.CLEAN)
            return
        dialog = QuitDialog(self._fleet, self._operations, self.clock, self.signs)
        self.push_screen(dialog, lambda leave: self.exit(leave) if leave is not None else None)

    async def action_quit(self) -> None:
        """Quit as `q` does, whoever asks Textual for it."""
        self.action_leave()

    def on_frostwatch_app_must_leave(self) -> None:
        """Leave the screen; what is in flight is thawed after it."""
        self.exit(Leave.CLEAN)
