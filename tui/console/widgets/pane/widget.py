"""The pane: a title with the VM's identity, its facts, and its log.

Small screens get the facts above the log, the most urgent ones first; large ones beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.strip import Strip

from agentclient.fleet.store import Fleet
from agentclient.late import load
from agentclient.model.place import Place
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from agentclient.model.vm import VmId
from tui.console import widget_keys
from tui.console.model.sending import Sending
from tui.console.widgets.lines import LinesView
from tui.console.widgets.pane.fact import fact_lines, urgent_first
from tui.console.widgets.pane.facts import facts_of, identity
from tui.console.widgets.pane.log_view import LogView
from tui.console.widgets.prompt import PromptLine
from tui.console.widgets.table.cells import Paint
from tui.console.widgets.toned import Toned
from tui.shared.clocks import Clock
from tui.shared.fit import fit
from tui.shared.glyphs import LEVEL, Signs
from tui.shared.key_hints import key
from tui.shared.tone import Line, Piece, Tone

if TYPE_CHECKING:
    from tui.console.widgets.pane.timeline import TimelineView

SIDE_BY_SIDE = 110  # cells; from here on facts and log stand side by side
SEARCH_HINT = (
    f"words to find in the log; then {key('log.next', 'n')} and {key('log.previous', 'N')} go on, "
    "Esc leaves"
)
LEAST_LOG = 2  # lines; more where there is room for all that is urgent
MOST_TIMELINE = 10  # lines
LEAST_WIDTH = 40


def facts_height(height: int) -> int:
    """Return how many lines of a narrow pane are the facts'; the rest are the log's.

    Args:
        height: the pane's, with its title.
    """
    room = height - 1
    return max(min(room - LEAST_LOG, max(room * 3 // 5, 7), 14), min(room, 3))


def is_drawn(state: VmState) -> bool:
    """Return whether there may be a freeze of it to draw; what draws it is imported with it."""
    seen = (state.progress, state.timeline, state.held_by, state.others)
    return any(one is not None for one in seen) or state.freeze.foreign


class Rule(Toned):
    """The pane's title: a rule across the screen, with words in it; it can be dragged."""

    DEFAULT_CSS = """
    Rule { height: 1; }
    """

    class Dragged(Message):
        """The operator drags it to another line of the screen."""

        def __init__(self, y: int) -> None:
            super().__init__()
            self.y = y

    def __init__(self, signs: Signs) -> None:
        super().__init__(id="pane-title")
        self._signs = signs
        self._left: Line = ()
        self._right: Line = ()

    def on_mouse_down(self) -> None:
        """Follow the mouse until its button is up again."""
        self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Go where the mouse goes."""
        if self.app.mouse_captured is self:
            self.post_message(self.Dragged(event.screen_y))

    def on_mouse_up(self) -> None:
        """Stay where it is."""
        self.release_mouse()

    def show(self, left: Line, right: Line) -> None:
        """Show words at the left, and at the right where there is room."""
        if (left, right) != (self._left, self._right):
            self._left, self._right = left, right
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - it has one line
        """Return the rule."""
        width, rule = self.size.width, self._signs.rule
        said = [piece for piece in self._right if piece.text]
        right = f" {''.join(piece.text for piece in said)} " if said else ""
        room = max(width - cell_len(right) - 4, 0)
        left = "".join(piece.text for piece in self._left)
        left = fit(left, room) if cell_len(left) > room else left
        base, dim = self.base_style, self.tone_style(Tone.DIM)
        segments = [
            Segment(f"{rule} ", base + dim),
            Segment(left, base + self.tone_style(Tone.HEAD)),
            Segment(" ", base),
        ]
        used = sum(segment.cell_length for segment in segments)
        segments.append(Segment(rule * max(width - used - cell_len(right) - 1, 0), base + dim))
        space = Segment(" " if said else "", base)
        segments += [space, *self.segments(said), space, Segment(rule, base + dim)]
        return Strip(segments).adjust_cell_length(width, base)


class FactsView(LinesView):
    """The facts: they are wrapped anew for another width, whatever has changed it.

    Args:
        update: shows them anew.
    """

    def __init__(self, update: Callable[[], None]) -> None:
        super().__init__(id="facts")
        self._update = update

    def on_resize(self) -> None:
        """Wrap them anew."""
        self._update()


class DetailPane(Container):
    """What is known about the VM under the cursor.

    Args:
        fleet: whose logs are read.
        clock: where running clocks get their time from.
        signs: the set of signs that the terminal can show.
        place: tells which one a VM's freeze is of those that wait for their turn.
    """

    DEFAULT_CSS = """
    DetailPane {
        layout: vertical;
        height: 9;
        #pane-title { dock: top; }
        #timeline { dock: top; margin: 1 0 0 0; }
        #search { dock: bottom; }
        #facts { height: 3; padding: 0 0 0 1; }
        #log { height: 1fr; padding: 0 0 0 1; }
        #facts:focus, #log:focus { background: $panel; }
        &.-beside { layout: horizontal; }
        &.-beside #facts { width: 2fr; height: 1fr; }
        &.-beside #log { width: 3fr; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [*widget_keys.LOG]

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        signs: Signs,
        place: Callable[[VmId], Place],
        sending: Sending = Sending.BY_KEYS,
    ) -> None:
        super().__init__(id="pane")
        self.sending = sending
        self._place = place
        self._clock = clock
        self.signs = signs
        self._rule = Rule(signs)
        self._timeline: TimelineView | None = None  # made with the first freeze
        self._states = fleet.states
        self._facts = FactsView(self.update_facts)
        self._log = LogView(fleet, signs)
        self._search = PromptLine(SEARCH_HINT, id="search")
        self._state: VmState | None = None
        self._position = LogView.Position(following=True)
        self._more = False
        self._below = 0

    def compose(self) -> ComposeResult:
        """Yield title, facts and log, and the line in which a search is typed."""
        # Before they are there: their styles need not be looked up again.
        self.set_class(self.app.size.width >= SIDE_BY_SIDE, "-beside")
        yield self._rule
        yield self._facts
        yield self._log
        yield self._search

    @property
    def vm_id(self) -> VmId | None:
        """The VM that is shown."""
        return self._state.id if self._state is not None else None

    def show(self, state: VmState | None) -> None:
        """Show a VM as it is now; another VM's log starts at its end."""
        other = (state.id if state else None) != self.vm_id
        self._state = state
        if other:
            self._search.clear()
            self._facts.scroll_home(animate=False)
            self._log.show_vm(state.id if state else None)
        else:
            self._log.update_log()
        self.update_facts()

    def show_log(self) -> None:
        """Show what came to the log."""
        self._log.update_log()

    def tell_below(self, count: int) -> None:
        """Say in the title how many VMs in trouble stand below what the table shows."""
        if count != self._below:
            self._below = count
            self._retitle()

    def update_facts(self) -> None:
        """Show the facts as of now: their clocks run."""
        state, width = self._state, self._facts.room
        self._show_timeline(state)
        if state is None:
            self._facts.show_lines(())
            self._rule.show((), ())
            return
        facts = facts_of(state, Paint(self._clock.moment(), self.signs, self._place, self.sending))
        arranged = fact_lines if self.has_class("-beside") else urgent_first
        lines, height = arranged(facts, width), self._facts.size.height
        self._more = len(lines) > height
        if self._more:  # a scroll bar stands beside them, and they don't touch it
            lines = arranged(facts, width - 1)
        self._facts.show_lines(lines)
        self._show_title(state)

    def _show_timeline(self, state: VmState | None) -> None:
        """Show its freeze with the time to the right, where that leaves enough for facts and log.

        A narrow pane takes its lines from the log's, a wide one from both, and has a ruler.
        """
        height, beside = self.size.height, self.has_class("-beside")
        spare = (height - 1) // 3 if beside else height - 1 - facts_height(height) - LEAST_LOG
        width = max(self.size.width - 2, LEAST_WIDTH)
        if self._timeline is None:
            if state is None or not is_drawn(state):
                return
            made = load("tui.console.widgets.pane.timeline", "TimelineView")
            self._timeline = made(self._states, self._clock, self.signs)
            self.mount(self._timeline, after=self._rule)
        if self._timeline.show(state, width, min(spare, MOST_TIMELINE), ruled=beside):
            self.call_after_refresh(self.update_facts)

    def _show_title(self, state: VmState) -> None:
        title = Piece(identity(state, self.signs), Tone.HEAD)
        sign = self.signs.of(LEVEL[Level.WARNING])
        below = f"{sign}{self._below} below   " if self._below else ""
        self._rule.show((title,), (Piece(below, Tone.BAD), self._log_title()))

    def _log_title(self) -> Piece:
        position = self._position
        unread = f", {position.unread} new below" if position.unread else ""
        if position.match is not None:
            here, count = position.match
            if not count:
                return Piece(f"not in this log{unread}: Esc leaves", Tone.WARN)
            return Piece(f"match {here} of {count}{unread}: n N Esc", Tone.WARN)
        if self.app.focused is self._facts:
            return Piece("FACTS have the keys: Tab, or Esc", Tone.WARN)
        if not position.following:
            return Piece(f"log paused{unread}: End follows", Tone.WARN)
        if self.app.focused is self._log:
            return Piece("LOG has the keys: Tab, or Esc", Tone.WARN)
        return Piece("Tab: more facts, log" if self._more else "log", Tone.DIM)

    def on_descendant_focus(self) -> None:
        """Say in the title who has the keys now."""
        self._retitle()

    def on_descendant_blur(self) -> None:
        """Say in the title that the table has the keys again."""
        self.call_after_refresh(self._retitle)

    def _retitle(self) -> None:
        if self._state is not None:
            self._show_title(self._state)

    # -- searching in the log --------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys of a search to others while there is none; letters are typed."""
        if action == "search":
            return isinstance(self.app.focused, LinesView)
        if action in ("match", "leave_search"):
            return self._search.is_open
        return super().check_action(action, parameters)

    def action_search(self) -> None:
        """Open the line in which words are typed."""
        self._search.open()

    def action_match(self, direction: int) -> None:
        """Go to another match."""
        self._log.step(direction)

    def action_leave_search(self) -> None:
        """Take the search away; the log stays where it is."""
        self._search.clear()
        self._log.focus()

    @on(PromptLine.Changed)
    def _search_changed(self, event: PromptLine.Changed) -> None:
        event.stop()
        self._log.search(event.text)

    @on(PromptLine.Kept)
    def _search_kept(self, event: PromptLine.Kept) -> None:
        event.stop()
        self._log.focus()

    def on_log_view_position(self, message: LogView.Position) -> None:
        """Tell in the title whether the log follows."""
        message.stop()
        self._position = message
        self._retitle()

    def take_lines(self, lines: int) -> None:
        """Take so many lines of the screen, across all of it."""
        if self.styles.height is None or self.styles.height.value != lines:
            self.styles.height = lines
            # At once: with the first layout of the screen all parts have their places.
            self._arrange(self.app.size.width, lines)

    def _arrange(self, width: int, height: int) -> None:
        """Put facts and log side by side where there is room for both."""
        beside = width >= SIDE_BY_SIDE
        self.set_class(beside, "-beside")
        self._facts.styles.height = None if beside else facts_height(height)

    def on_resize(self) -> None:
        """Share the new room."""
        self._arrange(*self.size)
        self.call_after_refresh(self.update_facts)
