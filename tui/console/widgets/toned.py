"""The base of all widgets that draw with the Line API: gives each tone its style."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.widget import Widget

from tui.console.textual_internals import draw_changed_lines_only
from tui.shared.tone import Piece, Tone

_STYLES = {
    Tone.NORMAL: "$foreground",
    Tone.DIM: "$tone-dim",
    Tone.HEAD: "bold $tone-head",
    Tone.GOOD: "$tone-good",
    Tone.ACTIVE: "$tone-active",
    Tone.FROZEN: "bold $tone-frozen",
    Tone.WARN: "bold $tone-warn",
    Tone.BAD: "bold $tone-bad",
    Tone.MATCH: "bold underline $tone-warn",
    Tone.FOUND: "bold reverse $tone-warn",
}


class Toned(Widget):
    """A widget that draws its own lines in tones."""

    _base_style: Style | None = None
    _tone_styles: dict[Tone, Style] | None = None

    def __init__(self, *children: Widget, **options: Any) -> None:
        super().__init__(*children, **options)
        draw_changed_lines_only(self)

    @property
    def base_style(self) -> Style:
        """The widget's own style; `rich_style` puts it together from all ancestors each time."""
        if self._base_style is None:
            self._base_style = self.rich_style
        return self._base_style

    def tone_style(self, tone: Tone) -> Style:
        """Return a tone's own style, without any background."""
        if self._tone_styles is None:
            parse = self.app.stylesheet.parse_style
            self._tone_styles = {each: parse(_STYLES[each]).rich_style for each in Tone}
        return self._tone_styles[tone]

    def segments(self, line: Iterable[Piece]) -> list[Segment]:
        """Return the pieces of a line as the screen takes them, on the widget's own background."""
        base = self.base_style
        return [Segment(piece.text, base + self.tone_style(piece.tone)) for piece in line]

    def notify_style_update(self) -> None:
        """Forget styles that a theme has changed."""
        self._base_style = self._tone_styles = None
        super().notify_style_update()
