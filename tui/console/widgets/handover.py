"""The handover at the console's start: what has happened since the operator left, until Esc."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.message import Message
from textual.strip import Strip

from agentclient.model.states import Level
from tui.console.widgets.passing import Passing
from tui.shared.fit import fit, safe, wrap
from tui.shared.glyphs import LEVEL, Signs

STAYS_S = 300.0  # it goes by itself
MOST_LINES = 3
LONGEST = 600
HINT = " Esc"


class HandoverLines(Passing):
    """Says what has happened since the operator left, in a line or a few; Esc takes it away.

    Args:
        signs: the set of signs that the terminal can show.
    """

    DEFAULT_CSS = """
    HandoverLines { background: $panel; }
    """

    class Closed(Message):
        """The operator clicked on it, to have it taken away."""

    def __init__(self, signs: Signs) -> None:
        super().__init__(id="handover")
        self._signs = signs
        self._text = ""
        self._level = Level.INFO
        self._gone_at = 0.0

    def lines_when_there(self) -> int:
        """Return how many lines its text needs."""
        return len(self._lines(self.app.size.width))

    def show(self, text: str, level: Level, now: float) -> None:
        """Show a handover.

        Args:
            text: what has happened.
            level: how much it matters.
            now: seconds of the monotonic clock.
        """
        self._gone_at = now + STAYS_S
        self.be_there(True)
        self.tell(text, level)

    def tell(self, text: str, level: Level) -> None:
        """Show another text in its place, for as long as it stays anyway."""
        self._text, self._level = safe(text, LONGEST), level
        self.on_resize()

    def hide(self) -> bool:
        """Take it away; return whether it was there."""
        return self.be_there(False)

    def is_old(self, now: float) -> bool:
        """Return whether it has been there for long enough."""
        return self.is_there and now >= self._gone_at

    def on_resize(self) -> None:
        """Take as many lines as the text needs."""
        self.styles.height = max(self.lines_when_there(), 1)
        self.refresh()

    def _lines(self, width: int) -> list[str]:
        """Return the text in at most a few lines of the screen; what is left over is cut."""
        sign = f" {self._signs.of(LEVEL[self._level])} "
        room = max(width - cell_len(sign) - cell_len(HINT) - 1, 20)
        found = list(wrap(self._text, room))
        if len(found) > MOST_LINES:
            rest = " ".join(found[MOST_LINES - 1 :])
            found = [*found[: MOST_LINES - 1], fit(rest, room).rstrip()]
        blank = " " * cell_len(sign)
        return [f"{blank if number else sign}{text}" for number, text in enumerate(found)]

    def render_line(self, y: int) -> Strip:
        """Return a line of it."""
        width = self.size.width
        lines = self._lines(width)
        base = self.base_style
        tone = base + self.tone_style(LEVEL[self._level].tone)
        text = fit(lines[y] if y < len(lines) else "", max(width - len(HINT) - 1, 1))
        hint = Segment(f"{HINT} " if y == 0 else "", base)
        return Strip([Segment(text, tone), hint]).adjust_cell_length(width, base)

    def on_click(self) -> None:
        """Ask for it to be taken away: its lines are to be shared anew."""
        self.post_message(self.Closed())
