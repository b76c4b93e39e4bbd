"""The first line (what state the fleet is in) and the last but one (what the operator is told).

In a drill another line stands above them all, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from agentclient.model.states import AgentState, FreezeState, OutcomeKind, Phase
from tui.console.model.notices import Notice
from tui.console.model.tally import Tag
from tui.console.model.view import FleetView
from tui.console.widgets.toned import Toned
from tui.shared.clocks import Clock
from tui.shared.fit import fit
from tui.shared.glyphs import (
    AGENT,
    FOREIGN,
    FREEZE,
    JOB,
    LEFT,
    LEFT_BY,
    LEFT_JOB,
    LEVEL,
    OTHERS_LOST,
    OTHERS_PENDING,
    OUTCOME,
    PHASE,
    UNENDED,
    Look,
    Signs,
)
from tui.shared.tone import Piece, Tone

_COUNTS: tuple[tuple[Tag, Look], ...] = (
    (Tag.LEFT, LEFT),
    (Tag.LEFT_BY, LEFT_BY),
    (Tag.FROZEN, FREEZE[FreezeState.FROZEN]),
    (Tag.FREEZING, FREEZE[FreezeState.FREEZING]),
    (Tag.QUEUED, PHASE[Phase.QUEUED]),
    (Tag.COPYING, JOB),
    (Tag.LEFT_COPY, LEFT_JOB),
    (Tag.UNENDED, UNENDED),
    (Tag.OTHERS_LOST, OTHERS_LOST),
    (Tag.OTHERS_PENDING, OTHERS_PENDING),
    (Tag.FOREIGN, FOREIGN),
    (Tag.SILENT, AGENT[AgentState.SILENT]),
    (Tag.LOST, OUTCOME[OutcomeKind.LOST]),
)


# Words in the place of a tag's own. The table has those for what only goes on.
_WORDS: Mapping[Tag, str] = {}
_SHORT_WORDS: Mapping[Tag, str] = {Tag.OTHERS_PENDING: " pending"}
_NO_WORDS: Mapping[Tag, str] = dict.fromkeys(
    (Tag.FREEZING, Tag.QUEUED, Tag.COPYING, Tag.OTHERS_PENDING), ""
)
_SELDOM = (
    Tag.LEFT,
    Tag.LEFT_BY,
    Tag.QUEUED,
    Tag.COPYING,
    Tag.LEFT_COPY,
    Tag.UNENDED,
    Tag.OTHERS_LOST,
    Tag.OTHERS_PENDING,
)
DRILL = " DRILL: simulated guests; nothing here is real"
_DRILL_STYLE = Style(reverse=True, bold=True)


class Part(NamedTuple):
    """A part of the status line.

    Attributes:
        rank: how dispensable it is where the line is too short; 0 never.
    """

    piece: Piece
    rank: int = 0


class DrillLine(Toned):
    """Says that the guests are simulated; in reverse, so that it is seen without colour."""

    DEFAULT_CSS = """
    DrillLine { height: 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="drill")

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - it has one line
        """Return the line."""
        style = self.base_style + self.tone_style(Tone.WARN) + _DRILL_STYLE
        return Strip([Segment(DRILL, style)]).adjust_cell_length(self.size.width, style)


class StatusLine(Toned):
    """Counts, read-only flag, what is shown of how many, and the time.

    Args:
        view: what is counted.
        clock: the time.
        signs: the set of signs that the terminal can show.
        read_only: whether nothing may be sent.
    """

    DEFAULT_CSS = """
    StatusLine { height: 1; background: $panel; }
    """

    def __init__(self, view: FleetView, clock: Clock, signs: Signs, *, read_only: bool) -> None:
        super().__init__(id="status")
        self._view = view
        self._clock = clock
        self._signs = signs
        self._read_only = read_only
        self._shown: list[Piece] = []

    def update_line(self) -> None:
        """Repaint the line if it says something else now."""
        shown = self._pieces(self.size.width)
        if shown != self._shown:
            self._shown = shown
            self.refresh()

    def on_resize(self) -> None:
        """Fit the line to its new width."""
        self._shown = self._pieces(self.size.width)
        self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - it has one line
        """Return the line."""
        strip = Strip(self.segments(self._shown))
        return strip.adjust_cell_length(self.size.width, self.base_style)

    def _pieces(self, width: int) -> list[Piece]:
        """Return what fits.

        Dispensable parts go first, then spaces, the clock, a long word's beginning, and the words
        for what only goes on.
        """
        clock = Part(Piece(f" {self._clock.wall().strftime('%H:%M:%S')} "), 1)
        parts = _fitting([*self._parts(" "), clock], width, rank=1)
        if _width(parts) > width:
            parts = _fitting([*self._parts(""), clock], width, rank=0)
        for words in (_SHORT_WORDS, _NO_WORDS):
            if _width(parts) > width:
                parts = _fitting([*self._parts("", words), clock], width, rank=0)
        pieces = [part.piece for part in parts]
        if parts[-1] is clock:
            pieces.insert(-1, Piece(" " * (width - _width(parts))))
        return pieces

    def _parts(self, space: str, words: Mapping[Tag, str] = _WORDS) -> Iterator[Part]:
        view = self._view
        if self._read_only:
            yield Part(Piece(" READ-ONLY", Tone.WARN))
        if words is _WORDS:
            yield Part(Piece(" frostwatch", Tone.HEAD), 9)
        plural = "" if view.total == 1 else "s"
        shown = f"{view.shown} of " if view.filter else ""
        yield Part(Piece(f" {shown}{view.total} VM{plural}{space}"))
        for number, (tag, look) in enumerate(_COUNTS):
            count = view.tally[tag]
            if tag in _SELDOM and not count:
                continue  # what must never be needs no place while it is not
            text = f" {self._signs.of(look)}{space}{count}{words.get(tag, f' {tag}')}{space}"
            # A count of nothing goes before the title, one of something stays.
            yield Part(Piece(text, look.tone if count else Tone.DIM), 0 if count else 10 + number)
        yield from self._marks(space)
        backwards = ", backwards" if view.backwards else ""
        yield Part(Piece(f" {view.order.label}{backwards}", Tone.DIM), 50)

    def _marks(self, space: str) -> Iterator[Part]:
        """Yield how many VMs an action would hit, and how many of them nobody sees now."""
        marked, hidden = len(self._view.marks), self._view.hidden_marks
        if marked:
            unseen = f", {hidden} hidden" if hidden else ""
            text = f" {self._signs.mark}{space}{marked} marked{unseen}{space}"
            yield Part(Piece(text, Tone.ACTIVE))


def _fitting(parts: list[Part], width: int, *, rank: int) -> list[Part]:
    """Return the parts that fit; none of that `rank`, or less dispensable, is left out."""
    while _width(parts) > width and any(part.rank > rank for part in parts):
        parts.remove(max(parts, key=lambda part: part.rank))
    return parts


def _width(parts: list[Part]) -> int:
    return sum(cell_len(part.piece.text) for part in parts)


class NoticeLine(Toned):
    """What the operator was last told; it stays until there is something else to say.

    Args:
        signs: the set of signs that the terminal can show.
    """

    DEFAULT_CSS = """
    NoticeLine { height: 1; }
    """

    def __init__(self, signs: Signs) -> None:
        super().__init__(id="notice")
        self._signs = signs
        self._notice: Notice | None = None
        self._held_back: Notice | None = None

    @property
    def notice(self) -> Notice | None:
        """What is shown."""
        return self._notice

    def show_notice(self, notice: Notice) -> None:
        """Show a notice, unless a graver one has only just been shown."""
        if self._notice is not None and not self._notice.gives_way_to(notice):
            self._held_back = notice
            return
        self._notice, self._held_back = notice, None
        self.refresh()

    def update_line(self, at: datetime) -> None:
        """Show what was held back, once the graver notice has been there for long enough."""
        if self._held_back is not None and self._notice is not None and self._notice.is_old(at):
            self._notice, self._held_back = self._held_back, None
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - it has one line
        """Return the line."""
        base, width = self.base_style, self.size.width
        if self._notice is None:
            return Strip.blank(width, base)
        look = LEVEL[self._notice.level]
        clock = f" {self._notice.at.strftime('%H:%M:%S')} "
        text = fit(f"{self._signs.of(look)} {self._notice.text}", max(width - len(clock), 1))
        segments = [
            Segment(clock, base + self.tone_style(Tone.DIM)),
            Segment(text, base + self.tone_style(look.tone)),
        ]
        return Strip(segments).adjust_cell_length(width, base)
