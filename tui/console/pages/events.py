"""What has happened to all VMs, in one list: filtered by words and by how much it matters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from agentclient.fleet.recent_lines import FleetLine
from agentclient.model.states import Level
from agentclient.model.vm import DRILL_SOURCE, VmId
from tui.console.actions.context import ActionContext
from tui.console.model.event_list import GRADES, EventList, Wanted
from tui.console.pages.base import LEAST_ROOM, Page
from tui.console.pages.explain import ExplainPage
from tui.console.pages.vm import VmPage
from tui.console.widgets.choices import Choices, ChoicesWithoutEnter
from tui.console.widgets.lines import LinesView
from tui.console.widgets.prompt import PromptLine
from tui.shared.fit import fit, fit_middle, safe
from tui.shared.glyphs import LEVEL
from tui.shared.tone import Line, Piece, Tone, hanging

HINT = "words of a line or a VM, !word hides; Enter keeps them, Esc clears"
NAME = 18  # cells of a VM's name; more where there is room
ROOMY_NAME = 28
ROOMY = 110
_DETAIL = 3  # lines below the list, in which the chosen one is told in full
_TEXT = 1000
_NARROW = 40  # cells; on fewer the chosen line alone tells when it was


class EventsPage(Page):
    """All events, the newest last; the list goes on while its end is chosen.

    Args:
        context: what is shared by all actions.
    """

    DEFAULT_CSS = f"""
    EventsPage #events {{ height: 1fr; }}
    EventsPage #event {{ height: {_DETAIL}; padding: 0 1; background: $surface; }}
    EventsPage.-low #event {{ height: 2; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "to_vm", "To the VM", id="events.vm"),
        Binding("slash", "filter", "Filter", key_display="/", priority=True, id="events.filter"),
        Binding("l", "grade", "Level", id="events.level", tooltip="Show warnings alone, or all"),
        Binding("d", "details", "Details", id="events.details"),
        Binding("i,f2", "explain", "Explain", id="events.explain"),
        Binding("y", "copy_line", "Copy", id="events.copy", tooltip="Copy the event"),
        Binding("escape,q", "leave", "Back", key_display="Esc", id="page.leave"),
    ]

    def __init__(self, context: ActionContext) -> None:
        states = context.fleet.states()
        super().__init__(context, drill=any(one.vm.source == DRILL_SOURCE for one in states))
        self._events = EventList(context.fleet)
        self._list = ChoicesWithoutEnter(context.signs, id="events")
        self._detail = LinesView(id="event")
        self._detail.can_focus = False
        self._filter = PromptLine(HINT, id="events-filter")
        self._seen = 0  # lines that were shown the last time

    def parts(self) -> Iterable[Widget]:
        """Return the list, and what its chosen line says in full."""
        return (self._list, self._detail, self._filter)

    def on_mount(self) -> None:
        """Begin at the end."""
        self._events.update()
        self._show(len(self._events) - 1)
        super().on_mount()
        self._list.focus()

    # -- what is shown ---------------------------------------------------------------------------

    def update_page(self) -> None:
        """Take what is new; who has chosen the end stays there, everybody else where they are."""
        at_end = self._list.cursor >= self._seen - 1
        fallen = self._events.update()
        if fallen or len(self._events) != self._seen or self._seen == 0:
            self._show(len(self._events) - 1 if at_end else self._list.cursor - fallen)
        self._retitle()

    def _show(self, cursor: int) -> None:
        self._seen = len(self._events)
        self._list.show(max(self._seen, 1), self._line, cursor, self._key)
        self._show_detail()
        self._retitle()

    def _retitle(self) -> None:
        count, wanted = len(self._events), self._events.wanted
        which = GRADES[wanted.grade][0] + (f", {safe(wanted.text, 30)}" if wanted.text else "")
        out = f"; the oldest {self._events.dropped:,} fell out" if self._events.dropped else ""
        self.title_is(f"Events: {which}", f"{count:,} since this console began{out}")

    def _line(self, place: int) -> Line:
        if not len(self._events):
            what = " that is wanted" if self._events.wanted.text else ""
            return (Piece(f"nothing{what} has happened since this console began", Tone.DIM),)
        line, signs = self._events[place], self.shared.signs
        look, width = LEVEL[line.level], self._list.room
        name = ROOMY_NAME if width >= ROOMY else min(NAME, max(width // 3, 4))
        text = Tone.NORMAL if look.tone is Tone.GOOD else look.tone
        at = f"{line.at:%H:%M:%S} " if width >= _NARROW else ""
        return (
            Piece(at, Tone.DIM),
            Piece(f"{signs.of(look)} ", look.tone),
            Piece(fit(fit_middle(safe(line.vm.name), name), name) + " ", Tone.HEAD),
            Piece(fit(safe(line.text, _TEXT), max(width - name - len(at) - 3, 4)), text),
        )

    def _key(self, place: int) -> int | None:
        """Return the event's own number: its place is another one once the oldest fall out."""
        return self._events[place].number if len(self._events) else None

    @property
    def _chosen(self) -> FleetLine | None:
        return self._events[self._list.cursor] if len(self._events) else None

    @on(Choices.Moved)
    def _show_detail(self) -> None:
        """Show the chosen line in full."""
        line = self._chosen
        if line is None:
            self._detail.show_lines(())
            return
        said = (Piece(f"{line.at:%Y-%m-%d} {safe(str(line.vm), 120)}: ", Tone.DIM),)
        text = (*said, Piece(safe(line.text, _TEXT)))
        room = max(self.app.size.width - 4, LEAST_ROOM)
        whole = "".join(piece.text for piece in text)
        lines = hanging((Piece(whole),), room)
        self._detail.show_lines(lines)

    def on_resize(self) -> None:
        """Show everything anew for another width."""
        self.call_after_refresh(self._show, self._list.cursor)

    # -- keys --------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let `/` be a letter, and Enter keep the words, while they are typed."""
        if action in ("filter", "to_vm"):
            return self.focused is self._list
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Open the line in which words are typed."""
        self._filter.open()

    def action_leave(self) -> None:
        """Clear the filter; without one leave the page."""
        if self._filter.is_open:
            self._filter.clear()
            self._list.focus()
        else:
            self.dismiss(None)

    @on(PromptLine.Changed)
    def _filter_changed(self, event: PromptLine.Changed) -> None:
        event.stop()
        self._want(self._events.wanted._replace(text=event.text.strip()))

    @on(PromptLine.Kept)
    def _filter_kept(self, event: PromptLine.Kept) -> None:
        event.stop()
        self._list.focus()

    def action_grade(self) -> None:
        """Show fewer lines, and all again in the end."""
        grade = (self._events.wanted.grade + 1) % len(GRADES)
        self._want(self._events.wanted._replace(grade=grade))
        self.say(Level.INFO, f"shown: {GRADES[grade][0]}")

    def _want(self, wanted: Wanted) -> None:
        chosen = self._chosen
        self._events.want(wanted)
        place = self._events.place_of(chosen.number) if chosen is not None else len(self._events)
        self._show(place)

    @on(Choices.Picked)
    def action_to_vm(self) -> None:
        """Go to the VM of the chosen line, in the table."""
        line = self._chosen
        if line is not None and self._is_known(line.vm):
            self.dismiss(line.vm)

    def action_explain(self) -> None:
        """Explain what is true of the VM of the chosen line now."""
        line = self._chosen
        if line is not None and self._is_known(line.vm):
            self.app.push_screen(ExplainPage(self.shared, self.shared.fleet.get(line.vm)))

    def action_details(self) -> None:
        """Show the VM of the chosen line on the whole screen."""
        line = self._chosen
        if line is not None and self._is_known(line.vm):
            self.app.push_screen(VmPage(self.shared, self.shared.fleet.get(line.vm)))

    def _is_known(self, vm_id: VmId) -> bool:
        try:
            self.shared.fleet.get(vm_id)
        except KeyError:
            self.say(Level.WARNING, f"{safe(vm_id.name, 60)} is not known any more")
            return False
        return True

    def action_copy_line(self) -> None:
        """Copy the chosen line."""
        line = self._chosen
        if line is not None:
            vm = safe(str(line.vm), 400)  # it is pasted into a shell, perhaps
            self.copy(f"{line.at:%Y-%m-%d %H:%M:%S} {vm}: {line.level}: {line.text}", "it")
