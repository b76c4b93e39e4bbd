"""Replaces what is not ASCII in all that is drawn, for terminals that show nothing else.

Our own signs have ASCII forms (`tui.shared.glyphs`); this filter catches the rest: Textual's frames
and scroll bars, and what people put into the names of VMs.
"""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

# No quote that ends a word of a shell: the name of a VM in a command that is pasted may have one.
_SAME_MEANING = {
    "…": "~",
    "–": "-",
    "—": "-",
    "·": ".",
    "•": "*",
    "×": "x",
    "←": "<",
    "→": ">",
    "↑": "^",
    "↓": "v",
    "⏎": "<",
    "◂": "<",
    "▸": ">",
    "≥": ">",
    "“": '"',
    "”": '"',
}


class AsciiFilter(LineFilter):
    """Replaces everything that is not ASCII by something of the same width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """Return the segments of one line in ASCII."""
        return [
            segment if segment.text.isascii() else segment._replace(text=to_ascii(segment.text))
            for segment in segments
        ]


@lru_cache(maxsize=4096)
def to_ascii(text: str) -> str:
    """Return `text` in ASCII, in as many cells as before."""
    return "".join(map(_in_ascii, text))


def _in_ascii(character: str) -> str:
    if character.isascii():
        return character
    if character in _SAME_MEANING:
        return _SAME_MEANING[character]
    if "\u2500" <= character <= "\u257f":  # box drawing
        return _box(character)
    if "\u2580" <= character <= "\u259f":  # blocks, which scroll bars are made of
        return " "
    return "?" * cell_len(character)


def _box(character: str) -> str:
    if character in "─━┄┅┈┉╌╍═╴╶╸╺╼╾":
        return "-"
    if character in "│┃┆┇┊┋╎╏║╵╷╹╻╽╿":
        return "|"
    return "+"
