"""One VM on the whole screen, in tabs: what is known now, evidence, guest, identity, log, past."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from agentclient.model.guest_report import GuestReport
from agentclient.model.place import NO_PLACE, Place
from agentclient.model.snapshot import VmState
from agentclient.model.vm import DRILL_SOURCE, VmId
from tui.console.actions.context import ActionContext
from tui.console.actions.next_command import NextCommandPrompt
from tui.console.actions.replay import ReplayPrompt
from tui.console.actions.take import TakePrompt
from tui.console.dialogs.past_window import PastWindows
from tui.console.model.guest_lines import guest_lines
from tui.console.model.vm_lines import evidence_lines, identity_lines
from tui.console.pages.base import LEAST_ROOM, Page
from tui.console.pages.explain import ExplainPage
from tui.console.pages.past_tab import PastTab
from tui.console.widgets.lines import LinesView
from tui.console.widgets.pane.fact import fact_lines
from tui.console.widgets.pane.facts import facts_of, identity
from tui.console.widgets.pane.log_view import LogView
from tui.console.widgets.table.cells import Paint
from tui.console.widgets.tabs import Tabs
from tui.shared.fit import safe
from tui.shared.tone import Line, hanging

NOW, EVIDENCE, GUEST, IDENTITY, LOG, PAST = range(6)
TITLES = ("Now", "Evidence", "Guest", "Identity", "Log", "Past")
PAST_MOST = 200  # windows


class VmPage(Page):
    """One VM; the page stays with it, whatever the table does.

    Args:
        context: what is shared by all actions.
        state: the VM of the key press.
        tab: which tab is open at first.
    """

    DEFAULT_CSS = """
    VmPage #vm-text, VmPage #log { height: 1fr; padding: 0 1; }
    VmPage.-low #vm-past-text { height: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"tab({number - 1})", title, show=False, id=f"vm.tab_{number}")
            for number, title in enumerate(TITLES, start=1)
        ),
        Binding("tab,right,l", "next_tab(1)", "Next tab", key_display="Tab", id="vm.next_tab"),
        Binding("shift+tab,left,h", "next_tab(-1)", "Tab before", show=False, id="vm.last_tab"),
        Binding("r", "again", "Ask again", id="vm.again", tooltip="Ask its agent again, politely"),
        Binding("i,f2", "explain", "Explain", id="vm.explain"),
        Binding("w", "take", "Take away", id="vm.take", tooltip="Copy it, or save it in a file"),
        Binding("y", "copy_tab", "Copy", id="vm.copy", tooltip="Copy what this tab says"),
    ]

    def __init__(self, context: ActionContext, state: VmState, tab: int = NOW) -> None:
        super().__init__(context, drill=state.vm.source == DRILL_SOURCE)
        self._state = state
        self._tabs = Tabs(TITLES, id="vm-tabs")
        self._tabs.open = tab
        self._text = LinesView(id="vm-text")
        self._log = LogView(context.fleet, context.signs)
        replay = ReplayPrompt(context, NextCommandPrompt(context))
        windows = PastWindows(context.clock, context.signs, replay.play)
        self._past = PastTab(windows, context.signs, id="vm-past-all")
        self._report: Future[GuestReport] | None = None
        self._clock_set = timedelta()  # when the report was asked for

    def parts(self) -> Iterable[Widget]:
        """Return the tabs, and what is in them; all but one are hidden."""
        return (self._tabs, self._text, self._log, self._past)

    def on_mount(self) -> None:
        """Open the first tab."""
        self._log.show_vm(self._state.id)
        super().on_mount()
        self._open(self._tabs.open)

    @property
    def tab(self) -> int:
        """Which tab is open."""
        return self._tabs.open

    # -- what is shown -----------------------------------------------------------------------------

    def update_page(self) -> None:
        """Show the open tab as of now."""
        self._state = self.state_now(self._state)
        self.title_is(identity(self._state, self.shared.signs), self.whether_gone)
        if self.tab == LOG:
            self._log.update_log()
        elif self.tab == PAST:
            self._past.update_past()
        else:
            self._text.show_lines(list(self._lines()))

    def _lines(self) -> Iterator[Line]:
        room = max(self._text.room - 2, LEAST_ROOM)
        if self.tab == NOW:
            shared = self.shared
            moment = shared.clock.moment()
            paint = Paint(moment, shared.signs, self._place, shared.sending)
            yield from fact_lines(facts_of(self._state, paint), room)
            return
        for line in self._of_tab(room):
            yield from hanging(line, room)

    def _of_tab(self, room: int) -> Iterator[Line]:
        signs = self.shared.signs
        if self.tab == EVIDENCE:
            yield from evidence_lines(self._state, signs)
        elif self.tab == IDENTITY:
            yield from identity_lines(self._state, replayed=self.shared.replayed)
        else:
            moment = self.shared.clock.moment()
            yield from guest_lines(self._state, self._told(), moment, signs, room)

    def _place(self, vm_id: VmId) -> Place:
        """Return which one its freeze or copy is of those that wait for their turn."""
        waiting = self.shared.operations.on(vm_id) or self.shared.copies.on(vm_id)
        return waiting.place if waiting is not None else NO_PLACE

    # -- the guest: its agent is asked when the tab is first opened --------------------------------

    def _told(self) -> GuestReport | None:
        """Return what the agent has told; None while it is asked."""
        if self._report is None or not self._report.done():
            return None
        error = self._report.exception()
        if error is not None:
            return GuestReport(self.shared.clock.wall(), safe(str(error) or repr(error), 300))
        report = self._report.result()
        return report._replace(at=report.at + (self.shared.fleet.clock_set - self._clock_set))

    def _ask(self) -> None:
        """Ask the agent, in another thread; what speaks against it is told in its report."""
        if self._report is None or self._report.done():
            self._clock_set = self.shared.fleet.clock_set
            self._report = self.shared.operations.inspect(self._state.vm)

    def _ask_journal(self) -> None:
        """Ask the journal for the VM's past, in its own thread."""
        self._past.look(self.shared.operations.history(self._state.vm, PAST_MOST))

    # -- keys --------------------------------------------------------------------------------------

    @on(Tabs.Wanted)
    def _tab_wanted(self, event: Tabs.Wanted) -> None:
        self._open(event.number)

    def action_tab(self, number: int) -> None:
        """Open a tab."""
        self._open(number)

    def action_next_tab(self, step: int) -> None:
        """Open the next tab, or the one before."""
        self._open((self.tab + step) % len(TITLES))

    def _open(self, number: int) -> None:
        other = number != self._tabs.open
        self._tabs.show(number)
        self._text.display = number not in (LOG, PAST)
        self._log.display = number == LOG
        self._past.display = number == PAST
        if number == GUEST and self._report is None:
            self._ask()
        if number == PAST and not self._past.asked:
            self._ask_journal()
        if other:
            self._text.scroll_home(animate=False)
        wanted = {LOG: self._log, PAST: self._past.choices}.get(number, self._text)
        wanted.focus()
        self.call_after_refresh(self.update_safely)

    def action_again(self) -> None:
        """Ask the agent, or the journal, once more; else visit the VM now."""
        if self.tab == PAST:
            self._ask_journal()
            self.update_safely()
        elif self.tab == GUEST:
            self._ask()
            self.update_safely()
        else:
            self.call_later(self.app.run_action, "look")

    def action_explain(self) -> None:
        """Explain what is true of it."""
        self.app.push_screen(ExplainPage(self.shared, self._state))

    def action_take(self) -> None:
        """Ask what is to be copied or saved."""
        told = self._told()
        report = told if told is not None and told.problem is None else None
        TakePrompt(self.shared, self.say).ask(self._state, report)

    def action_copy_tab(self) -> None:
        """Copy what the open tab says."""
        what = f"the {TITLES[self.tab].lower()} of {safe(self._state.vm.name, 40)}"
        self.safely(lambda: self.copy("\n".join(self._plain()) + "\n", what))

    def _plain(self) -> Iterator[str]:
        yield safe(str(self._state.id), 400)
        if self.tab == LOG:
            for entry in self.shared.fleet.log_since(self._state.id):
                yield f"{entry.at:%Y-%m-%d %H:%M:%S} {entry.level}: {entry.text}"
            return
        if self.tab == PAST:
            yield from self._past.plain()
            return
        for line in self._lines():
            yield "".join(piece.text for piece in line).rstrip()

    def on_resize(self) -> None:
        """Break the lines anew."""
        self.call_after_refresh(self.update_safely)
