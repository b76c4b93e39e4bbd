"""The console: its layout, its keys, and the timers by which what is known reaches the screen.

Data flows one way: the fleet is drained on a timer into the view, the view is painted. A key starts
an operation in agentclient and nothing else; what comes of it arrives through the fleet. No thread
but Textual's touches a widget.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer
from textual.widget import Widget

from agentclient.fleet.store import Fleet
from agentclient.late import load, load_module
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
from tui.console.handover import HandoverKnown, Handovers
from tui.console.kept import Keeper
from tui.console.kept_view_app import KeptViewApp
from tui.console.model.exit_kind import ExitKind
from tui.console.model.notices import Notice
from tui.console.model.view import FleetView
from tui.console.page_keys import PageKeysApp
from tui.console.ports import HandoverPort, JobsPort, MemoryPort, OperationsPort, WatcherPort
from tui.console.textual_internals import forget_split_segments
from tui.console.widgets.keyline import KeyLine
from tui.console.widgets.pane.widget import DetailPane
from tui.console.widgets.pinned import PinnedLine
from tui.console.widgets.prompt import PromptLine
from tui.console.widgets.status import DrillLine, NoticeLine, StatusLine
from tui.console.widgets.table.widget import VmTable
from tui.shared.clocks import Clock
from tui.shared.colours import Colours
from tui.shared.fit import safe
from tui.shared.glyphs import Signs, detect_signs
from tui.shared.notify import Notify

if TYPE_CHECKING:
    from tui.console.telling import Teller

DRAIN_S = 0.25  # changes reach the screen at most this much later, and at most 4 times a second
EAGER_S = 0.02  # until the first VMs are known, for a second at the most
SECOND_S = 1.0
TIDY_S = 60.0
# What is drawn with the first window, the first copy, many at once, the handover or the first
# outcome: nothing is to be missing then, not even a descriptor to read it with.
DRAWN_LATER = (
    "tui.console.widgets.banner",
    "tui.console.widgets.batch_line",
    "tui.console.widgets.handover",
    "tui.console.model.batch",
    "tui.console.model.handover_now",
    "tui.shared.handover_text",
    "tui.console.widgets.pane.timeline",
    "tui.console.widgets.pane.job_facts",
    "tui.console.widgets.table.job_cells",
    "tui.console.model.job_notices",
    "agentclient.model.meaning",
    "agentclient.model.next_step",
)
FILTER_HINT = "words to show, !word to hide; Enter keeps it, Esc clears it"


class FrostwatchApp(KeptViewApp, PageKeysApp):
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
        handover: returns what keeps when the console was left; None where nothing is kept.
        journal_options: the options by which another frostwatch finds the same journal; None where
            none can play it again.
        keys: the keys that actions have in the place of their usual ones, by the actions' ids.
        journal: the journal's file, which the help names; None if there is none.
        theme: the name of the theme that is set, and its colours; None for the last console's.
        keeper: what is kept of the view from one console to the next; None for nothing.
    """

    TITLE = "frostwatch"
    IS_REPLAY: ClassVar[bool] = False
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*keymap.ACTIONS, *keymap.PAGES, *keymap.VIEWS]
    CSS = """
    Screen { layout: vertical; }
    #vms { height: 1fr; min-height: 4; }
    #pane { height: 9; }
    """

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
        handover: Callable[[], HandoverPort] | None = None,
        journal_options: tuple[str, ...] | None = None,
        keys: Mapping[str, str] | None = None,
        journal: Path | None = None,
        theme: tuple[str, Colours] | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(keeper, theme, drill=drill)
        self.journal = journal
        if keys:
            self.keys = keys
            self.set_keymap(dict(keys))
        self.clock = clock or Clock()
        self.signs = signs or detect_signs()
        self.interval_s = interval_s
        self._fleet = fleet
        self._reader = fleet.reader()
        self.view = FleetView(self._reader.peek, self.clock.moment)
        self._watcher = watcher
        self._drill, self._read_only = drill, read_only
        self._began = False  # the first screen is there
        self._memory = memory
        self.handovers = Handovers(handover)
        self.teller: Teller | None = None
        if notify.wanted:  # most consoles start without it, and sooner
            make = load("tui.console.telling", "Teller")
            self.teller = make(self.write_to_terminal, self.clock, self.signs, notify)
        times, copies, show = schedule or Schedule(), Copies(jobs, copy_to), self.show_notice
        clock, signs, view = self.clock, self.signs, self.view
        self.action_context = ActionContext(
            self,
            view,
            fleet,
            operations,
            copies,
            show,
            clock,
            signs,
            read_only,
            times,
            self.write_to_terminal,
            journal_options,
            self.IS_REPLAY,
        )
        self._top = tuple(self.lines_on_top())
        if self.signs.ascii:
            self.filters.append(AsciiFilter())

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
        sending = self.action_context.sending
        yield DetailPane(self._fleet, self.clock, self.signs, self._place, sending)
        yield NoticeLine(self.signs)
        yield PromptLine(FILTER_HINT, id="filter")
        yield KeyLine(keymap.ACTING if self._read_only else ())

    def on_mount(self) -> None:
        """Show what is known already, and begin to follow."""
        self._parts = Display(
            self._fleet,
            self._reader,
            self.view,
            self._watcher,
            self.clock,
            above=len(self._top),
            sending=self.action_context.sending,
            teller=self.teller,
            batches=self.batches,
            table=self.query_one(VmTable),
            pane=self.query_one(DetailPane),
            status=self.query_one(StatusLine),
            pinned=self.query_one(PinnedLine),
            notices=self.query_one(NoticeLine),
            filter_line=self.query_one("#filter", PromptLine),
        )
        self.parts.table.focus()
        self.begin_as_kept()
        self.drain()
        self._paint_first()
        self._repeat(DRAIN_S, self.drain)
        self._eager = self._repeat(EAGER_S, self._look_eagerly, times=round(1 / EAGER_S))
        self._repeat(SECOND_S, self._second)
        self._repeat(TIDY_S, self._tidy)

    def _paint_first(self) -> None:
        """Paint nothing before the parts know their sizes, so that the first picture has it all.

        Textual paints as soon as it has laid them out, but paints what they do then a sixtieth of
        a second later.
        """
        unpainted = ExitStack()
        unpainted.enter_context(self.batch_update())

        def paint() -> None:
            with unpainted:
                self.parts.paint()
            self.call_after_refresh(self._shown)

        # The screen has been told to lay out its parts before.
        if not self.screen.call_later(paint):
            unpainted.close()

    def _repeat(self, interval_s: float, function: Callable[[], None], times: int = 0) -> Timer:
        """Call a function every `interval_s` seconds; `times` times, or until the console ends.

        Textual takes the screen away before it stops these timers.
        """
        guarded = self.guarded(function)

        def tick() -> None:
            if self.is_running:
                guarded()

        return self.set_interval(interval_s, tick, repeat=times)

    def on_resize(self) -> None:
        """Share the height anew, once Textual has noted it: it calls us before that."""
        if self._parts is not None:
            self.call_next(self._parts.share_height)

    def _shown(self) -> None:
        """Begin what would have kept the operator waiting for the first screen."""
        if self._memory is not None:
            self._memory.limit_heaps()
        self._began = True
        if self._watcher is not None:
            self._watcher.start()
        try:
            threading.Thread(target=self._prepare, name="prepare", daemon=True).start()
        except NO_THREAD:  # the first key that acts imports it
            self._exempt_loaded_objects()

    def _prepare(self) -> None:
        """Import what is behind the keys, and ask for the handover; in a thread of its own."""
        try:
            self.prepare_prompts()
            for module in DRAWN_LATER:
                load_module(module)
        finally:
            self._exempt_loaded_objects()
        known = self.handovers.ask()
        if known is not None:
            self.post_message(known)

    @on(HandoverKnown)
    def _handover_known(self, event: HandoverKnown) -> None:
        self.parts.show_handover(event.found)

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

    def _second(self) -> None:
        """Let the clocks run, and keep how the operator looks at the fleet."""
        if self._watcher is not None and self._began:
            self._watcher.start()  # what could not be begun is tried again
        self.parts.second()
        self.keep_view()

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
