"""One VM on the whole screen, in tabs: what is known now, evidence, guest, identity, log, past."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widget import Widget

from agentclient.journal.history import VmHistory
from agentclient.model.guest_report import GuestReport
from agentclient.model.place import NO_PLACE, Place
from agentclient.model.snapshot import VmState
from agentclient.model.vm import DRILL_SOURCE, VmId
from tui.console.actions.context import ActionContext
from tui.console.actions.take import TakePrompt
from tui.console.model.guest_lines import guest_lines
from tui.console.model.vm_lines import (
    evidence_lines,
    identity_lines,
    longest_answer,
    past_head,
    past_line,
)
from tui.console.pages.base import Page, dim
from tui.console.pages.explain import ExplainPage
from tui.console.widgets.choices import Choices
from tui.console.widgets.lines import LinesView
from tui.console.widgets.pane.fact import fact_lines
from tui.console.widgets.pane.facts import facts_of, identity
from tui.console.widgets.pane.log_view import LogView
from tui.console.widgets.table.cells import Paint
from tui.console.widgets.tabs import Tabs
from tui.shared.fit import safe
from tui.shared.tone import Line, Piece, Tone, hanging

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
    VmPage #vm-past { height: 1fr; }
    VmPage #vm-past-head { height: auto; max-height: 3; padding: 0 1; }
    VmPage #vm-past-text { height: 3; padding: 0 1; background: $surface; }
    VmPage #vm-past-all { height: 1fr; }
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
        self._gone = False
        self._tabs = Tabs(TITLES, id="vm-tabs")
        self._tabs.open = tab
        self._text = LinesView(id="vm-text")
        self._log = LogView(context.fleet, context.signs)
        self._past_head = LinesView(id="vm-past-head")
        self._past_text = LinesView(id="vm-past-text")
        self._past_head.can_focus = self._past_text.can_focus = False
        self._past_list = Choices(context.signs, id="vm-past")
        self._past_all = Vertical(
            self._past_head, self._past_list, self._past_text, id="vm-past-all"
        )
        self._report: Future[GuestReport] | None = None
        self._past: Future[VmHistory | None] | None = None
        self._past_lines: list[Line] = []

    def parts(self) -> Iterable[Widget]:
        """Return the tabs, and what is in them; all but one are hidden."""
        return (self._tabs, self._text, self._log, self._past_all)

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
        try:
            self._state = self.shared.fleet.get(self._state.id)
        except KeyError:
            self._gone = True
        signs = self.shared.signs
        self.title_is(identity(self._state, signs), "it is gone from the list" * self._gone)
        if self.tab == LOG:
            self._log.update_log()
        elif self.tab == PAST:
            self._show_past()
        else:
            self._text.show_lines(list(self._lines()))

    def _lines(self) -> Iterator[Line]:
        room = max(self._text.room - 2, 20)
        if self.tab == NOW:
            paint = Paint(self.shared.clock.moment(), self.shared.signs, self._place)
            yield from fact_lines(facts_of(self._state, paint), room)
            return
        for line in self._of_tab(room):
            yield from hanging(line, room)

    def _of_tab(self, room: int) -> Iterator[Line]:
        signs = self.shared.signs
        if self.tab == EVIDENCE:
            yield from evidence_lines(self._state, signs)
        elif self.tab == IDENTITY:
            yield from identity_lines(self._state)
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
        return self._report.result()

    def _ask(self) -> None:
        """Ask the agent, in another thread; what speaks against it is told in its report."""
        if self._report is None or self._report.done():
            self._report = self.shared.operations.inspect(self._state.vm)

    # -- the past ----------------------------------------------------------------------------------

    def _show_past(self) -> None:
        said, past = self._past_said(), None
        if said is None and self._past is not None:
            past = self._past.result()
        if past is None:
            lines: list[Line] = [said or dim("No journal is kept here: none is in a drill.")]
            self._past_head.show_lines(lines)
            self._past_list.show(0, lines.__getitem__)
            return
        if not self._past_lines:
            longest = longest_answer(past.windows)
            signs = self.shared.signs
            self._past_lines = [past_line(one, longest, signs) for one in past.windows]
            self._past_head.show_lines(list(past_head(past)))
            self._past_list.show(len(self._past_lines), self._past_lines.__getitem__)
        self._show_window()

    def _past_said(self) -> Line | None:
        """Return why there is no past to show (yet); None if there is, or if no journal is kept."""
        if self._past is None or not self._past.done():
            return dim("reading the journal …")
        error = self._past.exception()
        if error is not None:
            return (Piece(f"The journal can't be read: {safe(str(error), 200)}", Tone.WARN),)
        found = self._past.result()
        if found is not None and not found.windows:
            return dim("Nothing was frozen or thawed here yet.")
        return None

    @on(Choices.Moved)
    def _show_window(self) -> None:
        """Show the chosen window in full: its line may be cut."""
        if self._past_lines:
            said = (
                Piece("".join(piece.text for piece in self._past_lines[self._past_list.cursor])),
            )
            self._past_text.show_lines(hanging(said, max(self._past_text.room - 2, 20)))

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
        self._past_all.display = number == PAST
        if number == GUEST and self._report is None:
            self._ask()
        if number == PAST and self._past is None:
            self._past = self.shared.operations.history(self._state.vm, PAST_MOST)
        if other:
            self._text.scroll_home(animate=False)
        wanted = {LOG: self._log, PAST: self._past_list}.get(number, self._text)
        wanted.focus()
        self.call_after_refresh(self.update_page)

    def action_again(self) -> None:
        """Ask the agent, or the journal, once more; else visit the VM now."""
        if self.tab == PAST:
            self._past, self._past_lines = None, []
            self._open(PAST)
        elif self.tab == GUEST:
            self._ask()
            self.update_page()
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
        title = TITLES[self.tab].lower()
        self.copy(
            "\n".join(self._plain()) + "\n", f"the {title} of {safe(self._state.vm.name, 40)}"
        )

    def _plain(self) -> Iterator[str]:
        yield safe(str(self._state.id), 400)
        if self.tab == LOG:
            for entry in self.shared.fleet.log_since(self._state.id):
                yield f"{entry.at:%Y-%m-%d %H:%M:%S} {entry.level}: {entry.text}"
            return
        lines = self._past_lines if self.tab == PAST else list(self._lines())
        for line in lines:
            yield "".join(piece.text for piece in line).rstrip()

    def on_resize(self) -> None:
        """Break the lines anew."""
        self.call_after_refresh(self.update_page)
