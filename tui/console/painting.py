"""Writes to the terminal what has changed, and nothing beside it.

Textual paints a line of a widget from its left edge to the last cell that changed: over a slow line
that is ten times what a clock's last digit takes, each second, in each row.
"""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import Segment
from textual._compositor import ChopsUpdate


class ExactUpdate(ChopsUpdate):
    """A partial update of the screen that leaves every cell alone that is not part of it."""

    def render_segments(self, console: Console) -> str:
        """Return what the terminal is written.

        Args:
            console: turns styles into the terminal's own.
        """
        written: list[str] = []
        for y, first, last in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= last or end <= first:
                    continue
                left, right = max(x, first), min(end, last)
                part = strip if (left, right) == (x, end) else strip.crop(left - x, right - x)
                written += (Control.move_to(left, y).segment.text, part.render(console))
        return "".join(written)


def exact(renderable: RenderableType | None) -> RenderableType | None:
    """Return the same update, but exact; anything else as it is."""
    if isinstance(renderable, ChopsUpdate):
        return ExactUpdate(renderable.chops, renderable.spans, renderable.chop_ends)
    return renderable


def forget() -> None:
    """Let go of what was cut out of screens that have gone: Rich keeps up to 16,384 such pieces.

    A screen has some hundred; a lively fleet takes hours to make so many others.
    """
    Segment._split_cells.cache_clear()
