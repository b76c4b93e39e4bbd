"""The console: its layout, its keys, and the timers by which what is known reaches the screen.

Data flows one way: the fleet is drained on a timer into the view, the view is painted. A key starts
an operation in agentclient and nothing else; what comes of it arrives through the fleet. No thread
but Textual's touches a widget.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.reactive import Reactive
from textual.theme import Theme
from textual.timer import Timer
from textual.widget import Widget

from agentclient.fleet.store import Fleet
from agentclient.late import load
from agentclient.model.errors import NO_THREAD
from agentclient.model.place import NO_PLACE, Place
from agentclient.model.request import Schedule
from agentclient.model.states import Level
from agentclient.model.vm import VmId
from tui.console import keymap
from tui.console.actions.context import ActionContext
from tui.console.ascii import AsciiFilter
from tui.console.bare_terminal import stopped_lines
from tui.console.copies import Copies, no_jobs
from tui.console.display import Display
from tui.console.guest_keys import GuestKeysApp
from tui.console.model.exit_kind import ExitKind
from tui.console.model.filter import Filter
from tui.console.model.notices import Notice
from tui.console.model.order import Order
from tui.console.model.view import FleetView
from tui.console.ports import JobsPort, MemoryPort, OperationsPort, WatcherPort
from tui.console.textual_internals import forget_split_segments
from tui.console.theme import THEME
from tui.console.widgets.keyline import KeyLine
from tui.console.widgets.pane.widget import DetailPane
from tui.console.widgets.pinned import PinnedLine
from tui.console.widgets.prompt import PromptLine
from tui.console.widgets.status import DrillLine, NoticeLine, StatusLine
from tui.console.widgets.table.widget import VmTable
from tui.shared.clocks import Clock
from tui.shared.fit import safe
from tui.shared.glyphs import Signs, detect_signs
from tui.shared.notify import Notify

if TYPE_CHECKING:
    from tui.console.telling import Teller

DRAIN_S = 0.25  # changes reach the screen at most this much later, and at most 4 times a second
EAGER_S = 0.02  # until the first VMs are known, for a second at the most
SECOND_S = 1.0
TIDY_S = 60.0
FILTER_HINT = "words to show, !word to hide; Enter keeps it, Esc clears it"


class FrostwatchApp(GuestKeysApp):
    """The console.

    Args:
        fleet: what is known about all VMs.
        operations: what starts freezes and thaws.
        jobs: returns what begins copies; called with the first one.
        watcher: visits a VM before its time; None where nothing watches.
        read_only: nothing is sent to any guest.
        interval_s: seconds between two visits to an agent.
        clock: where the time comes from.
        signs: the set of signs to use; found out if None.
        schedule: how long freezes are waited for.
        copy_to: the folder with which the form of a copy begins; None for the current one.
        drill: the guests are simulated, and a line says so.
        notify: how an operator is called who does not look at the screen.
        memory: what is done about the process's memory; None leaves it alone.
    """

    TITLE = "frostwatch"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*keymap.ACTIONS, *keymap.VIEWS]
    CSS = """
    Screen { layout: vertical; }
    #vms { height: 1fr; min-height: 4; }
    #pane { height: 9; }
    """

    theme = Reactive(THEME.name)  # from the beginning: to set one styles everything anew

    def __init__(
        self,
        fleet: Fleet,
        operations: OperationsPort,
        watcher: WatcherPort | None,
        *,
        jobs: Callable[[], JobsPort] = no_jobs,
        read_only: bool,
        interval_s: float,
        clock: Clock | None = None,
        signs: Signs | None = None,
        schedule: Schedule | None = None,
        copy_to: Path | None = None,
        drill: bool = False,
        notify: Notify = Notify(),  # noqa: B008 - it can't be changed
        memory: MemoryPort | None = None,
    ) -> None:
        super().__init__()
        self.clock = clock or Clock()
        self.signs = signs or detect_signs()
        self.interval_s = interval_s
        self._fleet = fleet
        self._reader = fleet.reader()
        self.view = FleetView(self._reader.peek)
        self._watcher = watcher
        self._drill, self._read_only = drill, read_only
        self._memory = memory
        self.teller: Teller | None = None
        if notify.wanted:  # most consoles start without it, and sooner
            make = load("tui.console.telling", "Teller")
            self.teller = make(self.write_to_terminal, self.clock, self.signs, notify)
        times, copies, show = schedule or Schedule(), Copies(jobs, copy_to), self.show_notice
        clock, signs, view = self.clock, self.signs, self.view
        self.action_context = ActionContext(
            self, view, fleet, operations, copies, show, clock, signs, read_only, times
        )
        self._parts: Display | None = None  # None before it is on the screen
        self._top = tuple(self.lines_on_top())
        if self.signs.ascii:
            self.filters.append(AsciiFilter())

    def get_theme(self, theme_name: str) -> Theme | None:
        """Return a theme by its name; `theme` is looked up before one could be registered."""
        return THEME if theme_name == THEME.name else super().get_theme(theme_name)

    # -- layout ----------------------------------------------------------------------------

    def lines_on_top(self) -> Iterable[Widget]:
        """Return what stands above all else, a line each."""
        return (DrillLine(),) if self._drill else ()

    def compose(self) -> ComposeResult:
        """Yield the parts, from top to bottom."""
        yield from self._top
        yield StatusLine(self.view, self.clock, self.signs, read_only=self._read_only)
        yield PinnedLine(self.view, self.clock, self.signs)
        yield VmTable(self.view, self.clock, self.signs, self._place)
        yield DetailPane(self._fleet, self.clock, self.signs, self._place)
        yield NoticeLine(self.signs)
        yield PromptLine(FILTER_HINT, id="filter")
        yield KeyLine()

    def on_mount(self) -> None:
        """Show what is known already, and begin to follow."""
        self._parts = Display(
            self._fleet,
            self._reader,
            self.view,
            self._watcher,
            self.clock,
            above=len(self._top),
            teller=self.teller,
            table=self.query_one(VmTable),
            pane=self.query_one(DetailPane),
            status=self.query_one(StatusLine),
            pinned=self.query_one(PinnedLine),
            notices=self.query_one(NoticeLine),
            filter_line=self.query_one("#filter", PromptLine),
        )
        self.parts.table.focus()
        self.drain()
        self.parts.paint()
        self.call_after_refresh(self._shown)
        self._repeat(DRAIN_S, self.drain)
        self._eager = self._repeat(EAGER_S, self._look_eagerly, times=round(1 / EAGER_S))
        self._repeat(SECOND_S, self.parts.second)
        self._repeat(TIDY_S, self._tidy)

    def _repeat(self, interval_s: float, function: Callable[[], None], times: int = 0) -> Timer:
        """Call a function every `interval_s` seconds; `times` times, or until the console ends.

        Textual takes the screen away before it stops these timers.
        """

        def tick() -> None:
            if self.is_running:
                function()

        return self.set_interval(interval_s, tick, repeat=times)

    @property
    def parts(self) -> Display:
        """The parts of the screen, once it is mounted."""
        assert self._parts is not None
        return self._parts

    def on_resize(self) -> None:
        """Share the height anew."""
        if self._parts is not None:
            self._parts.share_height()

    def _shown(self) -> None:
        """Begin what would have kept the operator waiting for the first screen."""
        if self._memory is not None:
            self._memory.limit_heaps()
        if self._watcher is not None:
            self._watcher.start()
        try:
            threading.Thread(target=self._prepare, name="prepare", daemon=True).start()
        except NO_THREAD:  # the first key that acts imports it
            self._exempt_loaded_objects()

    def _prepare(self) -> None:
        """Import what is behind the keys; runs in a thread of its own."""
        try:
            self.prepare_prompts()
        finally:
            self._exempt_loaded_objects()

    def _exempt_loaded_objects(self) -> None:
        if self._memory is not None:
            self._memory.exempt_loaded_objects()

    def _tidy(self) -> None:
        """Keep what the console takes of the host's memory where it is."""
        forget_split_segments()
        if self._memory is not None:
            self._memory.return_free_memory()

    # -- what is known reaches the screen ----------------------------------------------------

    def drain(self) -> None:
        """Take over what changed in the fleet, and tell what has ended."""
        ended = tuple(self.what_ended())
        for notice in ended:
            self.show_notice(notice)
        self.parts.drain({notice.about for notice in ended})

    def _look_eagerly(self) -> None:
        """Show the first VMs at once: somebody sits there and waits for them."""
        if self.view.total:
            self._eager.stop()
        else:
            self.drain()

    def show_notice(self, notice: Notice) -> None:
        """Show a notice."""
        self.parts.show_notice(notice)

    def _place(self, vm_id: VmId) -> Place:
        """Return which one a VM's freeze or copy is of those that wait; 0 if it doesn't."""
        context = self.action_context
        waiting = context.operations.on(vm_id) or context.copies.on(vm_id)
        return waiting.place if waiting is not None else NO_PLACE

    @on(VmTable.CursorMoved)
    def _cursor_moved(self) -> None:
        self.parts.show_pane()

    @on(VmTable.Scrolled)
    def _scrolled(self) -> None:
        self.parts.show_outside()

    @on(VmTable.NoTrouble)
    def _no_trouble(self) -> None:
        hidden = " that the filter shows" if self.view.filter else ""
        self.action_context.answer(Level.INFO, f"no VM{hidden} is in trouble")

    @on(VmTable.Marked)
    def _marked(self) -> None:
        self.parts.status.update_line()

    @on(VmTable.SortWanted)
    def _sort_wanted(self, event: VmTable.SortWanted) -> None:
        again = event.order is self.view.order
        self._sort(event.order, backwards=again and not self.view.backwards)

    @on(VmTable.Touched)
    def _touched(self) -> None:
        self.parts.touched()

    # -- keys that do nothing to a guest -----------------------------------------------------

    def action_look(self) -> None:
        """Visit the VM under the cursor now."""
        cursor = self.view.cursor
        if cursor is not None and self._watcher is not None:
            self._watcher.visit_soon(cursor)
            self.action_context.answer(Level.INFO, f"{safe(cursor.name, 60)}: looking again")

    # -- leaving, and being stopped ----------------------------------------------------------

    def action_leave(self) -> None:
        """Quit; ask first while something is in flight. Asked again, it is the question's `q`."""
        context = self.action_context
        if not context.operations.active() and not context.copies.active():
            self.exit(ExitKind.CLEAN)
            return
        self.prompts.leave(lambda leave: self.exit(leave) if leave is not None else None)

    async def action_quit(self) -> None:
        """Quit as `q` does, whoever asks Textual for it."""
        self.action_leave()

    def lines_when_stopped(self) -> Iterable[str]:
        """Return what happens to guests while the console is stopped."""
        return stopped_lines(self._fleet, self.action_context.operations)

    def warn(self, text: str) -> None:
        """Tell the operator what a key could not do."""
        self.action_context.answer(Level.WARNING, text)

    # -- the view's keys ---------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark the VM under the cursor, or take its mark away."""
        self.parts.table.action_mark()

    def action_sort(self) -> None:
        """Sort by the next thing."""
        self._sort(self.view.order.next(), backwards=False)

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._sort(self.view.order, backwards=not self.view.backwards)

    def _sort(self, order: Order, *, backwards: bool) -> None:
        self.view.sort_by(order, backwards=backwards)
        self.parts.paint()
        self.action_context.answer(
            Level.INFO, f"sorted {order.label}{', backwards' if backwards else ''}"
        )

    @on(PinnedLine.Wanted)
    def action_longest(self) -> None:
        """Go to the VM that has been frozen longest; a filter that hides it is taken away."""
        state = self.view.longest_frozen(self.clock.moment())
        if state is None:
            self.action_context.answer(Level.INFO, "nothing is frozen")
            return
        if self.view.index_of(state.id) is None:
            self.parts.filter_line.clear()
            self.view.filter_by(Filter())
        self.parts.table.go_to(state.id)
        self.parts.table.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let `/` open the filter from the table alone: elsewhere it is a letter, or another's key.

        Its binding has priority, so that it is handled before the next key is passed on. Letters
        that come together with it (over a slow line, or pasted) would be the table's keys
        otherwise: ``/f`` and Enter would freeze a VM.
        """
        if action == "filter":
            return isinstance(self.focused, VmTable)
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Open the line in which a filter is typed."""
        self.parts.filter_line.open()
        self.parts.share_height()

    @on(PromptLine.Changed)
    def _filter_changed(self, event: PromptLine.Changed) -> None:
        self.view.filter_by(Filter(event.text))
        self.parts.paint()

    @on(PromptLine.Kept)
    def _filter_kept(self) -> None:
        self.parts.share_height()
        self.parts.table.focus()

    def action_clear(self) -> None:
        """Clear the filter; without one, the marks; make an enlarged pane small again."""
        if self.parts.filter_line.is_open:
            self.parts.filter_line.clear()
        elif self.parts.enlarged:
            self.action_enlarge()
        else:
            self.view.marks.clear()
        self.parts.share_height()
        self.parts.table.focus()
        self.parts.paint()

    def action_enlarge(self) -> None:
        """Enlarge the pane, or make it small again."""
        self.parts.enlarged = not self.parts.enlarged
        self.parts.share_height()

    def action_help(self) -> None:
        """Show the keys and the signs."""
        self.prompts.help(keymap.HELP, self.interval_s)
