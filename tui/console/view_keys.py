"""The keys that change what is seen, and leave guests alone: sort, filter, marks, pane, help."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on

from agentclient.late import load
from agentclient.model.states import Level
from agentclient.model.vm import VmId
from tui.console import keymap
from tui.console.display import Display
from tui.console.guest_keys import GuestKeysApp
from tui.console.model.filter import Filter
from tui.console.model.order import Order
from tui.console.model.view import FleetView
from tui.console.widgets.pane.widget import Rule
from tui.console.widgets.pinned import PinnedLine
from tui.console.widgets.prompt import PromptLine
from tui.console.widgets.table.widget import VmTable
from tui.shared.clocks import Clock

if TYPE_CHECKING:
    from tui.console.model.commands import Command


class ViewKeysApp(GuestKeysApp):
    """An app with the keys that change what is seen.

    Attributes:
        HELP_GROUPS: the keys that the help tells, under a title each.
        PLACES: the actions that have a name in the palette, and whose they are.
        view: which VMs are shown; to be set before the first key.
        clock: where the time comes from.
        interval_s: seconds between two visits to an agent.
        keys: the keys that actions have in the place of their usual ones, by the actions' ids.
        journal: the journal's file, for the help; None if there is none.
        theme_name: what the theme of now is called.
    """

    HELP_GROUPS: ClassVar[keymap.Groups] = keymap.HELP
    PLACES: ClassVar[keymap.Groups] = keymap.PLACES

    view: FleetView
    clock: Clock
    interval_s: float
    keys: Mapping[str, str] = {}
    journal: Path | None = None
    theme_name: str
    _parts: Display | None = None  # None before it is on the screen

    @property
    def parts(self) -> Display:
        """The parts of the screen, once it is mounted."""
        assert self._parts is not None
        return self._parts

    @on(VmTable.NoTrouble)
    def _no_trouble(self) -> None:
        here = self.view.troubles.next_row(self.view.cursor_row, 1) is not None
        said = load("tui.console.actions.possible", "no_trouble")
        text = said(filtered=bool(self.view.filter), but_here=here)
        self.action_context.answer(Level.INFO, text)

    @on(VmTable.Marked)
    def _marked(self) -> None:
        self.parts.status.update_line()

    @on(VmTable.SortWanted)
    def _sort_wanted(self, event: VmTable.SortWanted) -> None:
        self.action_sort_by(event.order)

    def action_mark(self) -> None:
        """Mark the VM under the cursor, or take its mark away."""
        self.parts.table.action_mark()

    def action_sort(self) -> None:
        """Sort by the next thing."""
        self._sort(self.view.order.next(), backwards=False)

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._sort(self.view.order, backwards=not self.view.backwards)

    def action_sort_by(self, column: str) -> None:
        """Sort by a column; again, the other way round."""
        order = Order(column)
        self._sort(order, backwards=order is self.view.order and not self.view.backwards)

    def action_sort_column(self, direction: int) -> None:
        """Sort by the column to the right (1) or to the left (-1) of the one that decides now."""
        columns = [column.id for column in self.parts.table.columns]
        at = columns.index(self.view.order) if self.view.order in columns else -direction
        self._sort(Order(columns[(at + direction) % len(columns)]), backwards=False)

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
        self.go_to_vm(state.id)

    def go_to_vm(self, vm_id: VmId) -> None:
        """Put the cursor on a VM; a filter that hides it is taken away."""
        if self.view.index_of(vm_id) is None:
            self.parts.filter_line.clear()
            self.view.filter_by(Filter())
            self.parts.keep_filter()
        self.parts.table.go_to(vm_id)
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
        if not self.view.filter:
            self.parts.keep_filter()  # there is none to keep
        self.parts.paint()

    @on(PromptLine.Kept)
    def _filter_kept(self) -> None:
        self.parts.keep_filter()
        self.parts.table.focus()

    def action_clear(self) -> None:
        """Clear the filter; without one, the marks; make an enlarged pane small again."""
        if self.parts.filter_line.is_open:
            self.parts.filter_line.clear()
        elif self.parts.hide_handover():
            pass
        elif self.parts.enlarged:
            self.action_enlarge()
        else:
            self.view.marks.clear()
        self.parts.share_height()
        self.parts.table.focus()
        self.parts.paint()

    def on_handover_lines_closed(self) -> None:
        """Take the handover away at a click as well."""
        self.parts.hide_handover()

    def action_enlarge(self) -> None:
        """Enlarge the pane, or make it small again."""
        self.parts.enlarged = not self.parts.enlarged
        self.parts.share_height()

    def action_split(self, lines: int) -> None:
        """Give the pane a line more, or the table."""
        self.parts.split_by(lines)

    @on(Rule.Dragged)
    def _dragged(self, event: Rule.Dragged) -> None:
        self.parts.split_at(event.y)

    def action_columns(self) -> None:
        """Ask which columns are shown."""
        self.prompts.columns(self.parts.table.columns, self.parts.table.show_columns)

    # -- by name -----------------------------------------------------------------------------

    def action_palette(self) -> None:
        """Show every action by its name, and do the one that is chosen."""
        made = load("tui.console.actions.commands", "commands_of")
        commands = made(self.PLACES, self.prompts.why_not, self.keys, self.theme_names())
        self.prompts.palette(commands, self._do)

    @abstractmethod
    def theme_names(self) -> Sequence[str]:
        """Return the names of all themes."""

    def _do(self, command: Command) -> None:
        places = {"app": self, "table": self.parts.table, "pane": self.parts.pane}
        self.call_later(self.run_action, command.action, places[command.place])

    def action_help(self) -> None:
        """Show the keys and the signs."""
        made = load("tui.console.dialogs.help", "About")
        read_only = self.action_context.read_only and not self.action_context.replayed
        about = made(self.interval_s, self.keys, self.journal, self.theme_name, read_only)
        self.prompts.help(self.HELP_GROUPS, about)
