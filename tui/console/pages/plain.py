"""A text as it is, to be marked with the mouse: for terminals that take nothing to a clipboard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from textual.widget import Widget

from agentclient.model.states import Level
from agentclient.model.text import printable
from tui.console.actions.context import ActionContext
from tui.console.dialogs.copied import NOT_SENT, SENT
from tui.console.pages.base import Page
from tui.console.widgets.lines import LinesView
from tui.shared.fit import wrap
from tui.shared.tone import Line, Piece

_LONGEST = 20_000


class PlainPage(Page):
    """Shows a text, from the left edge on and with nothing beside it.

    Args:
        context: what is shared by all actions.
        text: the text.
        what: what it is, for the title.
        sent: it was sent to the terminal's clipboard; None if that is known already.
    """

    DEFAULT_CSS = """
    PlainPage #plain { height: 1fr; }
    """

    def __init__(
        self, context: ActionContext, text: str, what: str, *, sent: bool | None = None
    ) -> None:
        super().__init__(context)
        self._sent = sent
        self._text = text
        self._what = what
        self._view = LinesView(id="plain")

    def parts(self) -> Iterable[Widget]:
        """Return the text's view."""
        return (self._view,)

    def on_mount(self) -> None:
        """Say where the text is."""
        super().on_mount()
        if self._sent is not None:
            self.say(Level.INFO if self._sent else Level.WARNING, SENT if self._sent else NOT_SENT)

    def update_page(self) -> None:
        """Show the text."""
        self.title_is(self._what, "Shift and drag marks it")
        self._view.show_lines(list(self._lines()))

    def _lines(self) -> Iterator[Line]:
        for line in self._text.split("\n"):
            for part in wrap(printable(line, _LONGEST), self._view.room, whole=True):
                yield (Piece(part),)

    def on_resize(self) -> None:
        """Break the lines anew."""
        self.call_after_refresh(self.update_safely)
