"""A search in a log: which entries match, which match is the current one, and what to highlight.

Entries are told apart by their numbers, so that a search goes on while lines are written and
forgotten.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from agentclient.model.snapshot import LogLine
from tui.shared.tone import Line, Piece, Tone


class LogSearch:
    """What is searched for, and what has been found.

    Attributes:
        at: the number of the current match's entry, None if nothing matches.
    """

    def __init__(self) -> None:
        self.at: int | None = None
        self._words = ""
        self._found: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._words)

    def look_for(self, text: str, entries: Iterable[LogLine], *, near: int) -> None:
        """Search for something else.

        Args:
            text: what to look for, in any case; nothing ends the search.
            entries: the whole log.
            near: the number of the last entry that is seen: the newest match up to it is the
                first one to go to, since a log is read from its end.
        """
        self._words = text.strip().casefold()
        self._found = []
        self.add(entries)
        before = bisect_right(self._found, near)
        self.at = self._found[max(before - 1, 0)] if self._found else None

    def add(self, entries: Iterable[LogLine]) -> None:
        """Search in what has been written since."""
        if self._words:
            self._found.extend(each.number for each in entries if self.matches(each))

    def forget(self, oldest: int) -> None:
        """Forget what stands before the log's oldest entry by now."""
        del self._found[: bisect_left(self._found, oldest)]
        if self.at is not None and self.at < oldest:
            self.at = self._found[0] if self._found else None

    def matches(self, entry: LogLine) -> bool:
        """Return whether an entry has what is searched for."""
        return self._words in entry.text.casefold()

    def step(self, direction: int) -> None:
        """Go to the next match below (1) or above (-1); behind the last one is the first."""
        if not self._found:
            self.at = None
            return
        here = self._found.index(self.at) if self.at in self._found else -1
        self.at = self._found[(here + direction) % len(self._found)]

    @property
    def place(self) -> tuple[int, int]:
        """Which match one is at, counted from 1, and of how many."""
        here = self._found.index(self.at) + 1 if self.at in self._found else 0
        return here, len(self._found)

    def highlighted(self, line: Line, *, found: bool) -> Line:
        """Return a line of the screen with the words in a tone of their own.

        Args:
            line: the clock, perhaps a sign, and the text.
            found: it belongs to the match that one is at: its clock says so as well, for words
                that are broken between two lines.
        """
        *before, text = line
        if found and before:
            before[0] = Piece(before[0].text, Tone.FOUND)
        tone = Tone.FOUND if found else Tone.MATCH
        return (*before, *_split(text, self._words, tone))


def _split(piece: Piece, words: str, tone: Tone) -> Iterator[Piece]:
    """Yield a piece in parts, those that are the words in `tone`."""
    text, folded = piece.text, piece.text.casefold()
    if len(text) != len(folded):  # a letter that folds into two: its place can't be told
        yield piece
        return
    start = 0
    while (at := folded.find(words, start)) >= 0:
        yield Piece(text[start:at], piece.tone)
        start = at + len(words)
        yield Piece(text[at:start], tone)
    yield Piece(text[start:], piece.tone)
