"""The line across the top of a replay: that it is one, what time it shows, and how it is played."""

from __future__ import annotations

from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from agentclient.model.durations import clock
from agentclient.replay.player import Replay
from tui.console.widgets.toned import Toned
from tui.shared.fit import fit
from tui.shared.tone import Tone

_STYLE: Final = Style(reverse=True, bold=True)
NOTHING_REAL: Final = "nothing here is real"


class ReplayLine(Toned):
    """Says what is shown; in reverse, so that it is seen without colour.

    Args:
        replay: what is played.
    """

    DEFAULT_CSS = """
    ReplayLine { height: 1; }
    """

    def __init__(self, replay: Replay) -> None:
        super().__init__(id="replay")
        self._replay = replay
        self._shown = ""

    def update_line(self) -> None:
        """Show the line as it is now."""
        text = line_of(self._replay, self.size.width)
        if text != self._shown:
            self._shown = text
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - it has one line
        """Return the line."""
        style = self.base_style + self.tone_style(Tone.ACTIVE) + _STYLE
        width = self.size.width
        return Strip([Segment(fit(line_of(self._replay, width), width), style)])


def line_of(replay: Replay, width: int = 80) -> str:
    """Return what the line says; where it is too long, what is least wanted is left out."""
    done, events = replay.place
    how = "paused" if replay.paused else f"x{replay.speed:g}"
    next_in_s = replay.next_in_s
    if replay.over:
        how, then = "over", "b plays it again"
    elif next_in_s is None:
        then = "all shown"
    else:
        then = f"next in {clock(next_in_s + 0.999)}"
    shown = replay.wall().strftime("%Y-%m-%d %H:%M:%S")
    head, tail = f" REPLAY {how}: {shown}", f"; {NOTHING_REAL}"
    for more in (f", {done}/{events}, {then}", f", {then}", f", {done}/{events}"):
        if len(head) + len(more) + len(tail) <= width:
            return head + more + tail
    return head + tail
