"""The timeline of the VM under the cursor: its freeze as a line, with those of its group below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from textual.strip import Strip

from agentclient.model.snapshot import VmState
from tui.console.model.tracks import tracks_of
from tui.console.widgets.pane.fact import LABEL_WIDTH
from tui.console.widgets.toned import Toned
from tui.shared.clocks import Clock
from tui.shared.fit import fit, safe
from tui.shared.glyphs import Signs
from tui.shared.timeline_picture import picture
from tui.shared.tone import Line, Piece, Tone

_LABEL = Piece(fit("time", LABEL_WIDTH), Tone.DIM)


class TimelineView(Toned):
    """Draws freezes with the time to the right; it has no line where there is nothing to draw.

    Args:
        states: returns all VMs, among which those of a group are.
        clock: the time.
        signs: the set of signs that the terminal can show.
    """

    DEFAULT_CSS = """
    TimelineView { height: 0; padding: 0 0 0 1; }
    """

    def __init__(self, states: Callable[[], Iterable[VmState]], clock: Clock, signs: Signs) -> None:
        super().__init__(id="timeline")
        self._states = states
        self._clock = clock
        self._signs = signs
        self._lines: Sequence[Line] = ()

    def show(self, state: VmState | None, width: int, height: int, *, ruled: bool) -> bool:
        """Show a VM's freeze; return whether it takes another number of lines than before.

        Args:
            state: the VM; None for none.
            width: so many cells.
            height: so many lines at the most.
            ruled: whether a line of times stands below it.
        """
        drawn = state is not None and height > 0
        lines = self._drawn(state, width, height, ruled=ruled) if state and drawn else []
        before, self._lines = self._lines, lines
        if lines != before:
            self.refresh()
        if len(lines) == len(before):
            return False
        self.styles.height = len(lines)
        return True

    @property
    def count(self) -> int:
        """How many lines it takes."""
        return len(self._lines)

    def _drawn(self, state: VmState, width: int, height: int, *, ruled: bool) -> list[Line]:
        room = width - LABEL_WIDTH
        try:
            found = tracks_of(state, self._states(), self._clock.moment(), self._signs)
            drawn = picture(
                found.each, room, self._signs, height=height, size=found.size, ruled=ruled
            )
        except Exception as problem:  # noqa: BLE001 - P8: it is this VM's trouble alone
            drawn = [(Piece(safe(f"can't be drawn: {problem!r}"), Tone.BAD),)]
        blank = Piece(" " * LABEL_WIDTH)
        return [(blank if number else _LABEL, *line) for number, line in enumerate(drawn)]

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen."""
        line = self._lines[y] if y < len(self._lines) else ()
        return Strip(self.segments(line)).adjust_cell_length(self.size.width, self.base_style)
