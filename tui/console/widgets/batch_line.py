"""The line above the notices while many are frozen, thawed or copied at once: how far they are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from tui.console.model.batch import BatchProgress
from tui.console.widgets.passing import Passing
from tui.shared.bulk_words import about, recap
from tui.shared.fit import fit
from tui.shared.glyphs import Signs
from tui.shared.job_words import bar
from tui.shared.tone import Tone

_LEAST_BAR, _MOST_BAR = 10, 30  # cells


class BatchLine(Passing):
    """Shows a bar, how many have ended and how, and when the last one's turn is likely to come.

    It is hidden while nothing of that kind goes on.

    Args:
        signs: the set of signs that the terminal can show.
    """

    DEFAULT_CSS = """
    BatchLine { background: $panel; }
    """

    def __init__(self, signs: Signs) -> None:
        super().__init__(id="batch")
        self._signs = signs
        self._shown: tuple[BatchProgress, ...] = ()

    def lines_when_there(self) -> int:
        """Return 1."""
        return 1

    def show(self, batches: tuple[BatchProgress, ...]) -> bool:
        """Show how far batches are; return whether the line has come or gone.

        Args:
            batches: those that have not ended.
        """
        if batches == self._shown:
            return False
        self._shown = batches
        self.refresh()
        return self.be_there(bool(batches))

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - it has one line
        """Return the line: of several batches the one that was begun last."""
        width, base = self.size.width, self.base_style
        if not self._shown:
            return Strip.blank(width, base)
        newest = self._shown[-1]
        head, ended = f" {newest.what} ", len(newest.words)
        said = _fitting(_facts(self._shown), width - cell_len(head) - _LEAST_BAR - 2, self._signs)
        room = width - cell_len(head) - cell_len(said) - 2
        cells = min(max(room, 0), _MOST_BAR)
        drawn = bar(ended / newest.total, cells, ascii_only=self._signs.ascii)
        segments = [
            Segment(head, base + self.tone_style(Tone.HEAD)),
            Segment(drawn, base + self.tone_style(Tone.ACTIVE)),
            Segment(f" {fit(said, max(width - cell_len(head) - cells - 1, 0))}", base),
        ]
        return Strip(segments).adjust_cell_length(width, base)


def _facts(batches: Sequence[BatchProgress]) -> list[str]:
    """Return what is said beside the bar, the most wanted first."""
    newest, further = batches[-1], len(batches) - 1
    said = [f"{len(newest.words)}/{newest.total}"]
    if newest.last:
        soon = about(newest.last).removeprefix(";")
        said.append(f"{int(newest.last)} queued{f', the last in{soon}' if soon else ''}")
    if newest.words:
        said.insert(1, recap(newest.words))
    if further:
        said.append(f"{further} more of the kind")
    return said


def _fitting(facts: list[str], room: int, signs: Signs) -> str:
    """Return as many facts as fit; the first one always."""
    dot = f" {signs.dot} "
    while len(facts) > 1 and cell_len(dot.join(facts)) > room:
        facts = facts[:-1]
    return dot.join(facts)
