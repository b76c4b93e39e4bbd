"""Shows what is known: takes changes of the fleet into the view, and paints the widgets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from agentclient.fleet.store import Fleet, FleetReader
from agentclient.late import load
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from agentclient.model.vm import VmId
from tui.console.model.notices import Notice, notice_of_change
from tui.console.model.sending import Sending
from tui.console.model.view import FleetView
from tui.console.ports import WatcherPort
from tui.console.widgets.pane.widget import DetailPane
from tui.console.widgets.pinned import PinnedLine
from tui.console.widgets.prompt import PromptLine
from tui.console.widgets.status import NoticeLine, StatusLine
from tui.console.widgets.table.widget import VmTable
from tui.shared.clocks import Clock
from tui.shared.fit import safe

if TYPE_CHECKING:
    from agentclient.journal.handover import Handover
    from tui.console.model.batch import Batch
    from tui.console.model.open_window import OpenWindow
    from tui.console.telling import Teller
    from tui.console.widgets.banner import Banner
    from tui.console.widgets.batch_line import BatchLine
    from tui.console.widgets.handover import HandoverLines

ROOMY = 24  # lines; on fewer the pane needs half of them to say what an outcome means
_LEAST_TABLE, _LEAST_PANE = 4, 3  # lines
STAY_S = 2.0  # rows stay where they are for so long after the operator moved the cursor
EMPTY_FLEET = (
    "No VM was found here (yet).",
    "",
    "frostwatch doctor",
    "    says what it can see on this machine, and what to do about the rest",
    "frostwatch --vm name=N,agent=PATH,monitor=PATH",
    "    names a VM by its sockets",
)


class Display:
    """The parts of the screen, and what they show.

    Args:
        fleet: what is known about all VMs.
        reader: tells what has changed in it.
        view: which VMs are shown.
        watcher: which sources could not look; None where nothing watches.
        clock: where the time comes from.
        above: how many lines stand above all else, such as the one that says that it is a drill.
        sending: whether its keys act; one that only looks, or replays, has no window to offer.
        teller: calls an operator who does not look; None for nothing of that kind.
        batches: returns what was begun of many VMs at once, and goes on.
        parts: table, pane, status, pinned line, notices and filter.
    """

    def __init__(
        self,
        fleet: Fleet,
        reader: FleetReader,
        view: FleetView,
        watcher: WatcherPort | None,
        clock: Clock,
        *,
        above: int,
        sending: Sending,
        teller: Teller | None,
        batches: Callable[[], Iterable[Batch]],
        table: VmTable,
        pane: DetailPane,
        status: StatusLine,
        pinned: PinnedLine,
        notices: NoticeLine,
        filter_line: PromptLine,
    ) -> None:
        self._fleet = fleet
        self._reader = reader
        self._view = view
        self._watcher = watcher
        self._clock = clock
        self._teller = teller
        self._batches = batches
        self._above = above
        self._sending = sending
        self.table = table
        self._pane = pane
        self.status = status
        self._pinned = pinned
        # Made when they are wanted: a start is sooner without.
        self._banner: Banner | None = None
        self._handover: HandoverLines | None = None
        self._told: Handover | None = None
        self._batch: BatchLine | None = None
        self._notices = notices
        self.filter_line = filter_line
        self.enlarged = False  # the pane
        self.split = 0  # lines that the operator gave the pane, or took from it
        self._kept_rows: int | None = None  # what a filter has shown since it was kept
        self._problems: tuple[str, ...] = ()
        self._touched_at = float("-inf")

    @property
    def pane(self) -> DetailPane:
        """What is known about the VM under the cursor."""
        return self._pane

    # -- what is known reaches the screen ----------------------------------------------------

    def drain(self, ended: Collection[VmId | None] = ()) -> None:
        """Take over what changed in the fleet, and paint what differs.

        Args:
            ended: the VMs on which something of this console has ended just now, which is told.
        """
        if ended:
            self._update_batch()
        if self._fleet.version == self._reader.version:
            self._settle()
            self._pane.show_log()
            return
        news = self._view.apply(self._reader.changes(), settle=self._may_move)
        self.share_height()
        self.paint()
        for before, after in news:
            self._tell_change(before, after, ours=after.id in ended)
        if self._teller is not None:
            self._teller.changed((after for _, after in news), self._fleet.clock_set)
            self._teller.ring()

    def _tell_change(self, before: VmState | None, after: VmState, *, ours: bool) -> None:
        """Tell what has happened to a VM; what can't be told is told as such (P8)."""
        at = self._clock.wall()
        try:
            notices = tuple(notice_of_change(before, after, at, ours=ours, sending=self._sending))
        except Exception as problem:  # noqa: BLE001 - P8: it is this VM's trouble alone
            name, why = safe(after.vm.name, 60), safe(repr(problem))
            text = f"{name}: what has happened can't be told: {why}"
            notices = (Notice(Level.ERROR, text, at, after.id),)
        for notice in notices:
            self.show_notice(notice)

    def second(self) -> None:
        """Let the clocks run."""
        self._view.pass_time()
        self._settle()
        self.table.update_lines(clocks_only=True)
        self._pane.update_facts()
        self._update_banner()
        self._update_pinned()
        self._update_batch()
        self.status.update_line()
        self._notices.update_line(self._clock.wall())
        self._update_handover()
        self._tell_problems()
        if self._teller is not None:
            for notice in self._teller.second(self._fleet.states(), self._fleet.clock_set):
                self.show_notice(notice)
            self._teller.ring()

    def show_notice(self, notice: Notice) -> None:
        """Show a notice."""
        self._notices.show_notice(notice)
        if self._teller is not None:
            self._teller.take(notice)

    def touched(self) -> None:
        """Leave the rows where they are for a moment: the operator has moved the cursor."""
        self._touched_at = self._clock.monotonic()

    def _settle(self) -> None:
        """Put rows where they belong, once the operator has not moved the cursor for a moment."""
        if self._may_move and self._view.settle():
            self.paint()

    @property
    def _may_move(self) -> bool:
        return self._clock.monotonic() - self._touched_at >= STAY_S

    def _tell_problems(self) -> None:
        """Tell when a source can't look (any more); each once for as long as that lasts."""
        found = self._watcher.problems if self._watcher is not None else ()
        before, self._problems = self._problems, tuple(safe(each, 400) for each in found)
        if self._problems == before:
            return
        new = [each for each in self._problems if each not in before]
        if new:
            more = len(new) - 1
            also = f" (and {more} source{'s' if more > 1 else ''} more)" if more else ""
            self.show_notice(Notice(Level.WARNING, f"{new[0]}{also}", self._clock.wall()))
        self.paint()

    # -- painting ----------------------------------------------------------------------------

    def paint(self) -> None:
        """Show the view as it is now."""
        self.table.advise(self._advice())
        self.filter_line.tell(self._view.hint)
        self.table.update_lines()
        self.show_outside()
        self._update_banner()
        self._update_pinned()
        self.status.update_line()
        self.show_pane()

    def show_pane(self) -> None:
        """Show what is known about the VM under the cursor."""
        cursor = self._view.cursor
        self._pane.show(self._view.state(cursor) if cursor is not None else None)

    def show_outside(self) -> None:
        """Say how many VMs in trouble stand below what the table shows."""
        self._pane.tell_below(self.table.outside[1])

    def _update_pinned(self) -> None:
        told = [vm.id for one in self._windows for vm in one.vms]
        if self._pinned.update_line(may_move=self._may_move, told=told):
            self.share_height()

    def _update_banner(self) -> None:
        """Show what is held now; tell once of what is nearly over."""
        if self._banner is None:
            if not (self._sending is Sending.BY_KEYS and self._view.frozen):
                return
            made = load("tui.console.widgets.banner", "Banner")
            self._banner = made(self._frozen, self._clock, self._pane.signs)
            self._pane.screen.mount(self._banner, before=self.table)
        if self._banner.update_lines():
            self.share_height()
        for notice in self._banner.notices():
            self.show_notice(notice)

    def _frozen(self) -> Iterable[VmState]:
        return self._fleet.states() if self._view.frozen else ()

    @property
    def _windows(self) -> tuple[OpenWindow, ...]:
        """The windows that are open, the one that ends first on top."""
        return self._banner.windows if self._banner is not None else ()

    def show_handover(self, found: Handover) -> None:
        """Show what has happened since the operator left; nothing is one notice, and no more."""
        at = self._clock.wall()
        told = load("tui.shared.handover_text", "handover_told")
        text, level = told(found, at)
        if level is Level.INFO and not found.held:
            self.show_notice(Notice(level, safe(text, 400), at))
            return
        if self._handover is None:
            made = load("tui.console.widgets.handover", "HandoverLines")
            self._handover = made(self._pane.signs)
            self._pane.screen.mount(self._handover, before=self.table)
        self._handover.show(text, level, self._clock.monotonic())
        self._told = found
        self.share_height()

    def _update_handover(self) -> None:
        """Take the handover away once it is old, and out of it what is over by now."""
        if self._handover is None or not self._handover.is_there:
            return
        if self._handover.is_old(self._clock.monotonic()):
            self.hide_handover()
            return
        before, at = self._told, self._clock.wall()
        assert before is not None
        self._told = load("tui.console.model.handover_now", "handover_now")(
            before, self._fleet.states()
        )
        if self._told is before:
            return
        if not self._told.held and not self._told.windows:
            self.hide_handover()
        else:
            told = load("tui.shared.handover_text", "handover_told")
            self._handover.tell(*told(self._told, at))
            self.share_height()

    def _update_batch(self) -> None:
        """Show how far what goes on in many VMs at once is."""
        going_on = tuple(self._batches())
        if self._batch is None:
            if not going_on:
                return
            made = load("tui.console.widgets.batch_line", "BatchLine")
            self._batch = made(self._pane.signs)
            self._pane.screen.mount(self._batch, before=self._notices)
        found = load("tui.console.model.batch", "progress_of")(going_on)
        if self._batch.show(found):
            self.share_height()

    def hide_handover(self) -> bool:
        """Take the handover away; return whether it was there."""
        there = self._handover is not None and self._handover.hide()
        if there:
            self.share_height()
        return there

    def _advice(self) -> tuple[str, ...]:
        if self._view.total:
            hint = self._view.hint
            return (
                "Nothing matches the filter.",
                "",
                *([hint] if hint else ()),
                "Escape clears it.",
            )
        return (*EMPTY_FLEET, "", *self._problems)

    @property
    def _room(self) -> int:
        """Lines for table and pane."""
        lines = 3 + self._above + self.filter_line.is_open
        passing = (self._pinned, self._banner, self._handover, self._batch)
        lines += sum(one.count for one in passing if one is not None)
        return max(self._pane.app.size.height - lines, 8)

    @property
    def _rows(self) -> int:
        """Rows that the table is to have room for."""
        if self._kept_rows is None or not self._view.filter:
            return self._view.total
        return self._kept_rows

    def keep_filter(self) -> None:
        """Give the pane the rows that a filter leaves empty.

        Nothing moves while one is typed. From then on the table grows with what the filter shows,
        and does not shrink again: VMs that come and go under it move nothing.
        """
        self._kept_rows = self._view.shown if self._view.filter else None
        self.share_height()

    def _pane_lines(self, split: int) -> int:
        room = self._room
        most = room * 3 // 5 if room > ROOMY else room // 2
        table = min(max(self._rows + 2, 6), most)
        return min(max(room - table + split, _LEAST_PANE), room - _LEAST_TABLE)

    def split_by(self, lines: int) -> None:
        """Give the pane so many lines more, or take them; as far as both can be read."""
        self.enlarged = False
        self.split = self._pane_lines(self.split) + lines - self._pane_lines(0)
        self.split = self._pane_lines(self.split) - self._pane_lines(0)
        self.share_height()

    def split_at(self, y: int) -> None:
        """Have the pane begin at a line of the screen, as far as both can be read."""
        self.split_by(self._pane.region.bottom - y - self._pane_lines(self.split))

    def share_height(self) -> None:
        """Give the table what its rows need, but never so much that the pane can't say enough."""
        if self._kept_rows is not None:
            self._kept_rows = max(self._kept_rows, self._view.shown)
        pane = self._room - _LEAST_TABLE if self.enlarged else self._pane_lines(self.split)
        self._pane.take_lines(pane if self._view.total else 1)
