"""Fits text from outside into cells of a terminal: makes it printable, measures, cuts and wraps it.

`agentclient.model.text.printable` makes a string harmless; here it is made to *fit*, so that a wide
letter or a name of 10 kB never moves what stands beside it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

from agentclient.model.text import printable

ELLIPSIS = "…"

_UP_TO_A_SLASH = re.compile(r".[^/]*/?", re.DOTALL)
_UP_TO_A_COLON = re.compile(r".[^:]*:?", re.DOTALL)

# Terminals disagree about the width of a character in front of these.
_VARIATION_SELECTORS = dict.fromkeys([*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])


@lru_cache(maxsize=4096)
def safe(value: str, limit: int = 200) -> str:
    """Return a string from outside as one harmless line.

    Args:
        value: anything that a guest or a host's administrator chose.
        limit: characters of the result at the most.
    """
    # Only what can be shown is normalised: a name may have megabytes.
    composed = unicodedata.normalize("NFC", value[: limit * 4])
    return printable(composed.translate(_VARIATION_SELECTORS), limit)


def shown_cells(value: str) -> int:
    """Return how many cells a string from outside takes; most names have plain letters alone."""
    return len(value) if value.isascii() and value.isprintable() else cell_len(safe(value))


@lru_cache(maxsize=1024)  # what a screen shows; its clocks bring other texts each second
def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` in exactly `width` cells; what is cut off is shown as an ellipsis."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(set_cell_size(text, width - 1) + ELLIPSIS, width) if width else ""
    padding = " " * (width - length)
    return padding + text if right else text + padding


def fit_end(text: str, width: int) -> str:
    """Return the end of a text in at most `width` cells: what is typed at is seen."""
    if cell_len(text) <= width:
        return text
    start, used = len(text), 1  # the ellipsis
    while start and used + cell_len(text[start - 1]) <= width:
        start -= 1
        used += cell_len(text[start])
    return f"{ELLIPSIS}{text[start:]}" if width else ""


@lru_cache(maxsize=4096)
def fit_middle(text: str, width: int) -> str:
    """Return `text` in at most `width` cells, cut in its middle: names differ at their ends."""
    if cell_len(text) <= width:
        return text
    tail = max((width - 1) // 2, 0)
    end, used = len(text), 0
    while end and used + cell_len(text[end - 1]) <= tail:
        end -= 1
        used += cell_len(text[end])
    head = set_cell_size(text, width - 1 - used).rstrip(" ") if width > used else ""
    return f"{head}{ELLIPSIS}{text[end:]}" if width else ""


def fit_apart(names: Sequence[str], width: int) -> list[str]:
    """Return names in at most `width` cells each, cut so that different ones look different.

    Where a cut in the middle would make several look the same, they begin where they differ; and
    where that is not enough, with a number.
    """
    found = {name: fit_middle(name, width) for name in names}
    for number, name in enumerate(found):
        same = [one for one in found if one != name and found[one] == found[name]]
        if same:
            start = max(_alike([name, *same]) - 1, 0)
            found[name] = fit_middle(f"{ELLIPSIS}{name[start:]}", width)
            if any(found[one] == found[name] for one in found if one != name):
                found[name] = fit_middle(f"{number + 1}{ELLIPSIS}{name}", width)
    return [found[name] for name in names]


def _alike(names: Sequence[str]) -> int:
    """Return how many letters names begin with that are the same."""
    pairs = enumerate(zip(*names, strict=False))
    return next((place for place, letters in pairs if len({*letters}) > 1), min(map(len, names)))


@lru_cache(maxsize=128)  # the facts of the pane, which are wrapped twice a second
def wrap(text: str, width: int, *, whole: bool = False) -> tuple[str, ...]:
    """Return `text` in lines of at most `width` cells, broken at spaces where there are any.

    Spaces in front of the text are kept, those where a line is broken are not. A word that is
    longer than a line is broken behind a slash, if it has one, or else behind a colon.

    Args:
        text: the text.
        width: so many cells.
        whole: a long word overflows, so that it can be copied; further lines stand below the text.
    """
    width = max(width, 1)
    words = text.lstrip(" ")
    spaces = len(text) - len(words)
    line = " " * spaces if whole or spaces < width else ""
    indent = line if whole else ""
    lines: list[str] = []
    for number, word in enumerate(words.split(" ")):
        for place, part in enumerate([word] if whole else _parts(word, width)):
            space = " " if number and not place and line.strip() else ""
            candidate = f"{line}{space}{part}"
            if cell_len(candidate) <= width:
                line = candidate
                continue
            if line.strip():
                lines.append(line)
            *full, line = [f"{indent}{part}"] if whole else _chopped(part, width)
            lines.extend(full)
    return (*lines, line)


def _parts(word: str, width: int) -> list[str]:
    """Return the parts of a word that may stand on lines of their own; there is always one."""
    if cell_len(word) <= width:
        return [word]
    found: list[str] = []
    for part in _UP_TO_A_SLASH.findall(word):
        found += [part] if cell_len(part) <= width else _UP_TO_A_COLON.findall(part)
    return found


def _chopped(word: str, width: int) -> list[str]:
    """Return a word in pieces of at most `width` cells; there is always one."""
    pieces: list[str] = []
    piece, used = "", 0
    for character in word:
        size = cell_len(character)
        if used + size > width and piece:
            pieces.append(piece)
            piece, used = "", 0
        piece += character
        used += size
    return [*pieces, piece]
