"""Draws and writes what has changed, and nothing beside it.

Textual passes all lines of all widgets through its filters whenever anything on the screen
changes, and writes a line of a widget from its left edge to the last cell that changed: over a slow
line that is ten times what a clock's last digit takes, each second, in each row.

All of this leans on Textual's inside, which its pinned version keeps as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import Segment
from textual._compositor import ChopsUpdate
from textual._styles_cache import StylesCache
from textual.geometry import Region, Spacing
from textual.strip import Strip
from textual.widget import Widget


class OwnLines(StylesCache):
    """The lines of a widget that draws them itself, with nothing around them but left padding.

    They look as Textual's do, which draws those of a widget that is styled in any other way; but
    only those that are to be drawn anew are touched.
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn: list[Strip] = []
        self._plain: bool | None = None  # not known before it is drawn

    def clear(self) -> None:
        """Draw all lines anew the next time; the widget's style may be another one."""
        super().clear()
        self._drawn, self._plain = [], None

    def render_widget(self, widget: Widget, crop: Region) -> list[Strip]:
        """Return the lines of a widget; nobody may change the list.

        Args:
            widget: draws the lines.
            crop: the part of it that is wanted: all of it for the screen, one line for whoever
                asks what is under the mouse.
        """
        if self._plain is None:
            self._plain = is_plain(widget)
        if not self._plain:
            return super().render_widget(widget, crop)
        whole = widget.outer_size.region
        self._bring_up_to_date(widget, whole)
        if crop == whole:
            return self._drawn
        lines = self._drawn[crop.y : crop.bottom]
        return [line.crop(crop.x, crop.right) for line in lines]

    def _bring_up_to_date(self, widget: Widget, whole: Region) -> None:
        if (self._width, len(self._drawn)) != whole.size:
            self._width = whole.width
            self._drawn = self._draw(widget, whole.line_range)
        elif stale := self._dirty_lines.intersection(whole.line_range):
            drawn = dict(zip(stale, self._draw(widget, stale), strict=True))
            self._drawn = [drawn.get(y, strip) for y, strip in enumerate(self._drawn)]
        self._dirty_lines.clear()

    def _draw(self, widget: Widget, lines: Iterable[int]) -> list[Strip]:
        """Return lines as the screen wants them: padded and filtered."""
        base, background = widget.background_colors
        filters = widget.get_line_filters()
        left = widget.styles.padding.left
        inner = self.get_inner_outer(base, background)[0].rich_style
        edge = [Segment(" " * left, inner)] if left else []
        drawn = []
        for y in lines:
            line = widget.render_line(y).adjust_cell_length(self._width - left, inner)
            strip = Strip([*edge, *line], self._width) if left else line
            for each in filters:
                strip = strip.apply_filter(each, background)
            drawn.append(strip)
        return drawn


def is_plain(widget: Widget) -> bool:
    """Return whether a widget is styled by nothing but colours and padding at its left."""
    styles = widget.styles
    return (
        styles.gutter == Spacing(left=styles.padding.left)  # borders count into the gutter
        and not any(edge for edge, _ in styles.outline)
        and not styles.has_rule("hatch")
        and not styles.tint.a
        and widget.opacity == styles.text_opacity == 1.0
    )


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
