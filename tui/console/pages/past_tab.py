"""One VM's past in a tab: its windows with a bar for how long each took, the chosen one in full."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from agentclient.journal.history import VmHistory
from tui.console.dialogs.past_window import WINDOW_KEYS, PastWindows
from tui.console.model.vm_lines import longest_answer, past_head, past_line
from tui.console.pages.base import LEAST_ROOM
from tui.console.widgets.choices import Choices, ChoicesWithoutEnter
from tui.console.widgets.lines import LinesView
from tui.shared.fit import safe
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Tone, hanging


class PastTab(Vertical):
    """What the journal knows of a VM, with the keys that the history has as well.

    Args:
        windows: what can be done with a window.
        signs: the set of signs that the terminal can show.
        id: its name on the screen.
    """

    DEFAULT_CSS = """
    PastTab { height: 1fr; }
    PastTab #vm-past { height: 1fr; }
    PastTab #vm-past-head { height: auto; max-height: 3; padding: 0 1; }
    PastTab #vm-past-text { height: 3; padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = WINDOW_KEYS

    def __init__(self, windows: PastWindows, signs: Signs, *, id: str) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._windows = windows
        self._signs = signs
        self._head = LinesView(id="vm-past-head")
        self._text = LinesView(id="vm-past-text")
        self._head.can_focus = self._text.can_focus = False
        self.choices = ChoicesWithoutEnter(signs, id="vm-past")
        self._look: Future[VmHistory | None] | None = None
        self._lines: list[Line] = []

    def compose(self) -> ComposeResult:
        """Yield how long its freezes take, its windows, and the chosen one."""
        yield self._head
        yield self.choices
        yield self._text

    @property
    def asked(self) -> bool:
        """Whether the journal has been asked."""
        return self._look is not None

    def look(self, look: Future[VmHistory | None]) -> None:
        """Show what the journal tells from now on."""
        self._look, self._lines = look, []

    @property
    def _past(self) -> VmHistory | None:
        """What the journal has told; None while there are no windows to show."""
        look = self._look
        if look is None or not look.done() or look.cancelled() or look.exception() is not None:
            return None
        found = look.result()
        return found if found is not None and found.windows else None

    # -- what is shown -----------------------------------------------------------------------------

    def update_past(self) -> None:
        """Show what is known by now."""
        past = self._past
        if past is None:
            lines: list[Line] = [self._why_nothing()]
            self._head.show_lines(hanging(lines[0], max(self._head.room, LEAST_ROOM)))
            self.choices.show(0, lines.__getitem__)
            self._text.show_lines(())
            return
        if not self._lines:
            longest = longest_answer(past.windows)
            self._lines = [past_line(one, longest, self._signs) for one in past.windows]
            self._head.show_lines(list(past_head(past)))
            self.choices.show(len(self._lines), self._lines.__getitem__)
        self._show_window()

    def _why_nothing(self) -> Line:
        """Return why there is no past to show (yet)."""
        if self._look is None or not self._look.done():
            return _dim("reading the journal …")
        error = None if self._look.cancelled() else self._look.exception()
        if error is not None:
            return (Piece(f"The journal can't be read: {safe(str(error), 200)}", Tone.WARN),)
        found = None if self._look.cancelled() else self._look.result()
        if found is None:
            return _dim("No journal is kept here: none is in a drill.")
        if found.missing is not None:
            text = f"What was frozen is not known: {safe(found.missing, 300)}"
            return (Piece(text, Tone.WARN),)
        return _dim("Nothing was frozen or thawed here yet.")

    @on(Choices.Moved)
    def _show_window(self) -> None:
        """Show the chosen window in full: its line may be cut."""
        if self._lines:
            said = (Piece("".join(piece.text for piece in self._lines[self.choices.cursor])),)
            self._text.show_lines(hanging(said, max(self._text.room - 2, LEAST_ROOM)))

    def plain(self) -> Iterator[str]:
        """Yield the windows as plain text."""
        for line in self._lines:
            yield "".join(piece.text for piece in line).rstrip()

    # -- keys --------------------------------------------------------------------------------------

    @on(Choices.Picked)
    def action_certificate(self) -> None:
        """Open the certificate of the chosen window."""
        past = self._past
        if past is not None:
            self._windows.open_certificate(self.app, past, self.choices.cursor)

    def action_replay(self) -> None:
        """Play the chosen window, and what was frozen with it, again."""
        past = self._past
        if past is not None:
            self._windows.play(past, self.choices.cursor)


def _dim(text: str) -> Line:
    return (Piece(text, Tone.DIM),)
