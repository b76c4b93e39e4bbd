"""The frame of every page: a title, what it shows, what the operator is told, and the keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget

from agentclient.late import load
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from agentclient.model.vm import VmId
from tui.console.actions.context import ActionContext
from tui.console.clipboard import clipboard_sequence
from tui.console.model.notices import Notice
from tui.console.terminal import TerminalApp
from tui.console.textual_internals import forget_drawn_widgets
from tui.console.widgets.keyline import KeyLine
from tui.console.widgets.left_once import LeftOnce
from tui.console.widgets.pane.widget import Rule
from tui.console.widgets.status import DrillLine, NoticeLine
from tui.shared.fit import safe
from tui.shared.tone import Line, Piece, Tone

UPDATE_S = 0.5
LEAST_ROOM = 8  # cells for a text, however narrow the screen is
_LOW, _TINY = 12, 8  # lines; on fewer there is little room, and none for what says nothing
AGAIN = "y again shows it, should your terminal not take it"


class Page(LeftOnce[VmId]):
    """A page over the whole screen; Escape leaves it. Its keys are its own: no guest is touched.

    It may be left with a VM to which the operator wants to go.

    Args:
        context: what is shared by all actions.
        drill: the guests are simulated, and a line says so.
    """

    DEFAULT_CSS = """
    Page { background: $background; layout: vertical; align: left top; }
    Page.-tiny Rule { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Back", key_display="Esc", id="page.leave"),
        Binding("question_mark", "app.help", "Help", key_display="?", id="page.help"),
    ]

    def __init__(self, context: ActionContext, *, drill: bool = False) -> None:
        super().__init__()
        self.shared = context
        self._drill = drill
        self._rule = Rule(context.signs)
        self._notices = NoticeLine(context.signs)
        self._copied: str | None = None
        self._taken: Notice | None = None
        self._marks: tuple[Any, ...] = ()  # what says that nothing here is real
        self._is_gone = False

    def compose(self) -> ComposeResult:
        """Yield the frame."""
        if self._drill:
            yield DrillLine()
        marks = getattr(self.app, "marks_of_a_page", None)
        self._marks = tuple(marks()) if marks is not None else ()
        yield from self._marks
        yield self._rule
        yield from self.parts()
        yield self._notices
        yield KeyLine()

    def parts(self) -> Iterable[Widget]:
        """Return the widgets between the title and what the operator is told."""
        return ()

    def on_mount(self) -> None:
        """Follow what is known, from now on."""
        self._taken = self.app.screen_stack[0].query_one(NoticeLine).notice
        self.update_safely()
        self.set_interval(UPDATE_S, self._tick)

    def _tick(self) -> None:
        if self.is_running:
            self._take_notice()
            for mark in self._marks:
                mark.update_line()
            self._notices.update_line(self.shared.clock.wall())
            self._share()
            self.update_safely()

    def on_resize(self) -> None:
        """Give what is read the lines of a low screen."""
        height = self.app.size.height
        self.set_class(height < _LOW, "-low")
        self.set_class(height < _TINY, "-tiny")
        self._share()

    def _share(self) -> None:
        """Take no line for notices on a screen of few lines while there is none."""
        low = self.app.size.height < _LOW
        self._notices.display = not low or self._notices.notice is not None

    def _take_notice(self) -> None:
        """Show what is told in the line behind the page, once that is something new."""
        notice = self.app.screen_stack[0].query_one(NoticeLine).notice
        if notice is not None and notice is not self._taken:
            self._taken = notice
            self.show_notice(notice)

    def update_safely(self) -> None:
        """Show everything as it is now."""
        self.safely(self.update_page)

    def safely(self, show: Callable[[], object]) -> None:
        """Show something; what can't be shown costs this page's news alone (P8)."""
        try:
            show()
        except Exception as problem:  # noqa: BLE001 - P8
            self.say(Level.ERROR, f"can't be shown: {safe(repr(problem), 200)}")

    def state_now(self, before: VmState) -> VmState:
        """Return what is known of a VM now; once it is gone, what was known of it."""
        try:
            now = self.shared.fleet.get(before.id)
        except KeyError:
            now = None
        self._is_gone = now is None
        return before if now is None else now

    @property
    def whether_gone(self) -> str:
        """What the title says of a VM that was gone at the last `state_now`; else empty."""
        return "it is gone from the list" if self._is_gone else ""

    def on_unmount(self) -> None:
        """Let go of what was painted."""
        forget_drawn_widgets(self)

    def update_page(self) -> None:
        """Show everything as it is now."""

    def title_is(self, left: str, right: str = "") -> None:
        """Show a title, which is safe to show."""
        self._rule.show((Piece(left, Tone.HEAD),), (Piece(right, Tone.DIM),))

    def show_notice(self, notice: Notice) -> None:
        """Show what the operator is told."""
        self._notices.show_notice(notice)
        self._share()

    def say(self, level: Level, text: str) -> None:
        """Answer a key."""
        self.show_notice(Notice(level, text, self.shared.clock.wall(), answer=True))

    # -- copying -------------------------------------------------------------------------------

    def copy(self, text: str, what: str) -> None:
        """Copy a text; the same once more is shown, to be marked with the mouse.

        Args:
            text: what is copied.
            what: what that is, for the answer.
        """
        sequence = clipboard_sequence(text, os.environ)
        if not sequence or text == self._copied:
            self._copied = None
            self.show_text(text, what)
            return
        self._copied = text
        if isinstance(self.app, TerminalApp):
            self.app.write_to_terminal(sequence)
        self.say(Level.GOOD, f"copied {what}; {AGAIN}")

    def show_text(self, text: str, what: str) -> None:
        """Show a text as it is, to be marked with the mouse."""
        page = load("tui.console.pages.plain", "PlainPage")
        self.app.push_screen(page(self.shared, text, what))


def dim(text: str) -> Line:
    """Return a line that is not urgent."""
    return (Piece(text, Tone.DIM),)
