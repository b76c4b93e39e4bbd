"""The console: layout, the view's keys, and the timer by which what is known reaches the screen.

Data flows one way: the fleet is drained on a timer into the view, the view is painted. A key starts
an operation in agentclient and nothing else; what comes of it arrives through the fleet. No thread
but Textual's touches a widget.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.reactive import Reactive
from textual.theme import Theme

from agentclient.fleet.store import Fleet
from agentclient.model.request import Schedule
from agentclient.model.states import Level
from tui.console import keymap, memory
from tui.console.actions.context import Desk
from tui.console.app_actions import ActingApp
from tui.console.ascii import AsciiFilter
from tui.console.model.filter import Filter
from tui.console.model.notices import Notice, news_of
from tui.console.model.order import Order
from tui.console.model.view import FleetView
from tui.console.ports import OperationsPort, WatcherPort
from tui.console.textual_internals import forget
from tui.console.theme import THEME
from tui.console.widgets.keyline import KeyLine
from tui.console.widgets.pane.widget import DetailPane
from tui.console.widgets.pinned import PinnedLine
from tui.console.widgets.prompt import TypedLine
from tui.console.widgets.status import DrillLine, NoticeLine, StatusLine
from tui.console.widgets.table.widget import VmTable
from tui.shared.clocks import Clock
from tui.shared.fit import safe
from tui.shared.glyphs import Signs, detect_signs

DRAIN_S = 0.25  # changes reach the screen at most this much later, and at most 4 times a second
EAGER_S = 0.02  # until the first VMs are known, for a second at the most
SECOND_S = 1.0
FILTER_HINT = "words to show, !word to hide; Enter keeps it, Esc clears it"
ROOMY = 24  # lines; on fewer the pane needs half of them to say what an outcome means
FINGER_S = 2.0  # rows stay where they are for so long after the operator moved
EMPTY_FLEET = (
    "No VM was found here (yet).",
    "",
    "frostwatch doctor",
    "    says what it can see on this machine, and what to do about the rest",
    "frostwatch --vm name=N,agent=PATH,monitor=PATH",
    "    names a VM by its sockets",
)


class FrostwatchApp(ActingApp):
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
        drill: the guests are simulated, and a line says so.
    """

    TITLE = "frostwatch"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*keymap.ACTIONS, *keymap.VIEWS]
    CSS = """
    Screen { layout: vertical; }
    #vms { height: 1fr; min-height: 4; }
    #pane { height: 9; }
    """

    # Its own from the beginning: to set a theme is to style everything anew.
    theme = Reactive(THEME.name)

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
        drill: bool = False,
    ) -> None:
        super().__init__()
        self.clock = clock or Clock()
        self.signs = signs or detect_signs()
        self._reader = fleet.reader()
        self.view = FleetView(self._reader.peek)
        self.interval_s = interval_s
        self._fleet = fleet
        self._watcher = watcher
        self._read_only = read_only
        self._drill = drill
        self.desk = Desk(
            self,
            self.view,
            fleet,
            operations,
            self._tell,
            self.clock,
            self.signs,
            read_only,
            schedule or Schedule(),
        )
        self._problems: tuple[str, ...] = ()
        self._touched_at = float("-inf")
        self._enlarged = False
        self._laid_out = False
        if self.signs.ascii:
            # Textual has no public place for a filter of all widgets; NO_COLOR's is here too.
            self._filters.append(AsciiFilter())

    def get_theme(self, theme_name: str) -> Theme | None:
        """Return a theme by its name; `theme` is looked up before one could be registered."""
        return THEME if theme_name == THEME.name else super().get_theme(theme_name)

    # -- layout ----------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Yield the parts, from top to bottom."""
        if self._drill:
            yield DrillLine()
        yield StatusLine(self.view, self.clock, self.signs, read_only=self._read_only)
        yield PinnedLine(self.view, self.clock, self.signs)
        yield VmTable(self.view, self.clock, self.signs, self.place)
        yield DetailPane(self._fleet, self.clock, self.signs, self.place)
        yield NoticeLine(self.signs)
        yield TypedLine(FILTER_HINT, id="filter")
        yield KeyLine()

    def on_mount(self) -> None:
        """Show what is known already, and begin to follow."""
        self._table = self.query_one(VmTable)
        self._pane = self.query_one(DetailPane)
        self._status = self.query_one(StatusLine)
        self._pinned = self.query_one(PinnedLine)
        self._notices = self.query_one(NoticeLine)
        self._filter = self.query_one("#filter", TypedLine)
        self._laid_out = True
        self._table.focus()
        self.drain()
        self._paint()
        self.call_after_refresh(self._shown)
        self.set_interval(DRAIN_S, self.drain)
        self._eager = self.set_interval(EAGER_S, self._look_eagerly, repeat=round(1 / EAGER_S))
        self.set_interval(SECOND_S, self.second)
        self.set_interval(memory.EVERY_S, self._tidy)

    def _shown(self) -> None:
        """Begin what would have kept the operator waiting for the first screen."""
        memory.share()
        if self._watcher is not None:
            self._watcher.start()
        self.prepare()

    def _tidy(self) -> None:
        """Keep what the console takes of the host's memory where it is."""
        forget()
        memory.give_back()

    def on_resize(self) -> None:
        """Share the height anew."""
        self._share_height()

    def _share_height(self) -> None:
        """Give the table what its rows need, but never so much that the pane can't say enough."""
        if not self._laid_out:
            return
        lines = 3 + self._drill + self._pinned.is_there + self._filter.is_open
        room = max(self.size.height - lines, 8)
        most = room * 3 // 5 if room > ROOMY else room // 2
        table = min(max(self.view.total + 2, 6), most)
        pane = room - (4 if self._enlarged else table) if self.view.total else 1
        if self._pane.styles.height is None or self._pane.styles.height.value != pane:
            self._pane.styles.height = pane

    # -- what is known reaches the screen ----------------------------------------------------

    def drain(self) -> None:
        """Take over what changed in the fleet, and paint what differs."""
        for notice in self.ended():
            self._tell(notice)
        if self._fleet.version == self._reader.version:
            self._settle()
            self._pane.show_log()
            return
        news = self.view.apply(self._reader.changes(), settle=self._may_move)
        self._share_height()
        self._paint()
        at = self.clock.wall()
        for before, after in news:
            for notice in news_of(before, after, at):
                self._tell(notice)

    def _look_eagerly(self) -> None:
        """Show the first VMs at once: somebody sits there and waits for them."""
        if self.view.total:
            self._eager.stop()
        else:
            self.drain()

    def second(self) -> None:
        """Let the clocks run."""
        self._table.update_lines(clocks_only=True)
        self._pane.update_facts()
        self._update_pinned()
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
        self._pane.tell_below(self._table.outside[1])
        self._update_pinned()
        self._status.update_line()
        self._show_pane()

    def _update_pinned(self) -> None:
        if self._pinned.update_line(may_move=self._may_move):
            self._share_height()

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

    @on(VmTable.Scrolled)
    def _scrolled(self) -> None:
        self._pane.tell_below(self._table.outside[1])

    @on(VmTable.NoTrouble)
    def _no_trouble(self) -> None:
        hidden = " that the filter shows" if self.view.filter else ""
        self._say(Level.INFO, f"no VM{hidden} is in trouble")

    @on(VmTable.Marked)
    def _marked(self) -> None:
        self._status.update_line()

    @on(VmTable.SortWanted)
    def _sort_wanted(self, event: VmTable.SortWanted) -> None:
        again = event.order is self.view.order
        self._sort(event.order, backwards=again and not self.view.backwards)

    @on(VmTable.Touched)
    def _touched(self) -> None:
        self._touched_at = self.clock.monotonic()

    # -- keys --------------------------------------------------------------------------------

    def action_look(self) -> None:
        """Visit the VM under the cursor now."""
        cursor = self.view.cursor
        if cursor is not None and self._watcher is not None:
            self._watcher.visit_soon(cursor)
            self._say(Level.INFO, f"{safe(cursor.name, 60)}: looking again")

    def action_mark(self) -> None:
        """Mark the VM under the cursor, or take its mark away."""
        self._table.action_mark()

    def action_sort(self) -> None:
        """Sort by the next thing."""
        self._sort(self.view.order.next(), backwards=False)

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._sort(self.view.order, backwards=not self.view.backwards)

    def _sort(self, order: Order, *, backwards: bool) -> None:
        self.view.sort_by(order, backwards=backwards)
        self._paint()
        self._say(Level.INFO, f"sorted {order.label}{', backwards' if backwards else ''}")

    @on(PinnedLine.Wanted)
    def action_longest(self) -> None:
        """Go to the VM that has been frozen longest; a filter that hides it is taken away."""
        state = self.view.longest_frozen(self.clock.moment())
        if state is None:
            self._say(Level.INFO, "nothing is frozen")
            return
        if self.view.index_of(state.id) is None:
            self._filter.clear()
            self.view.filter_by(Filter())
        self._table.go_to(state.id)
        self._table.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let `/` open the filter from the table alone: elsewhere it is a letter, or another's key.

        It is a key of priority, which is acted on before the next one is handed to anybody. Letters
        that come together with it (over a slow line, or pasted) would be keys of the table
        otherwise: ``/f`` and Enter a freeze.
        """
        if action == "filter":
            return isinstance(self.focused, VmTable)
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Open the line in which a filter is typed."""
        self._filter.open()
        self._share_height()

    @on(TypedLine.Changed)
    def _filter_changed(self, event: TypedLine.Changed) -> None:
        self.view.filter_by(Filter(event.text))
        self._paint()

    @on(TypedLine.Kept)
    def _filter_kept(self) -> None:
        self._share_height()
        self._table.focus()

    def action_clear(self) -> None:
        """Clear the filter; without one, the marks; make an enlarged pane small again."""
        if self._filter.is_open:
            self._filter.clear()
        elif self._enlarged:
            self.action_enlarge()
        else:
            self.view.marks.clear()
        self._share_height()
        self._table.focus()
        self._paint()

    def action_enlarge(self) -> None:
        """Enlarge the pane, or make it small again."""
        self._enlarged = not self._enlarged
        self._share_height()

    def action_help(self) -> None:
        """Show the keys and the signs."""
        groups = (
            ("Guests", keymap.ACTIONS),
            ("The view", keymap.VIEWS),
            ("Moving about", keymap.MOVES),
            ("Marks", keymap.MARKS),
            ("The log, after Tab", keymap.LOG),
        )
        self.hands.help(groups, self.interval_s)
