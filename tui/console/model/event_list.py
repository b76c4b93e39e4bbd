"""The lines of all VMs' logs that an operator wants to see, oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from agentclient.fleet.recent_lines import FleetLine
from agentclient.fleet.store import Fleet
from agentclient.model.states import Level

GRADES: tuple[tuple[str, frozenset[Level]], ...] = (
    ("all but details", frozenset(Level) - {Level.DEBUG}),
    ("warnings and errors", frozenset({Level.WARNING, Level.ERROR})),
    ("errors", frozenset({Level.ERROR})),
    ("all", frozenset(Level)),
)


class Wanted(NamedTuple):
    """Which lines are wanted.

    Attributes:
        text: words that a line or its VM's name has to have; ``!word`` for one that it may not.
        grade: which of `GRADES`.
    """

    text: str = ""
    grade: int = 0

    def matches(self, line: FleetLine) -> bool:
        """Return whether a line is wanted."""
        if line.level not in GRADES[self.grade][1]:
            return False
        if not self.text:
            return True
        said = f"{line.vm} {line.text}".lower()
        return all(
            (word[1:] not in said) if len(word) > 1 and word[0] == "!" else word in said
            for word in self.text.lower().split()
        )


class EventList:
    """Follows the fleet's lines; nothing that it keeps is replaced by something newer.

    Args:
        fleet: whose lines these are.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._last = 0
        self._shown: deque[FleetLine] = deque()
        self.wanted = Wanted()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._shown)

    def __getitem__(self, place: int) -> FleetLine:
        return self._shown[place]

    def update(self) -> int:
        """Take what is new; return how many of the oldest lines have fallen out of those shown."""
        new = self._fleet.lines_since(self._last)
        self._take(new)
        self.dropped = self._fleet.lines_dropped
        fallen = 0
        while self._shown and self._shown[0].number <= self.dropped:
            self._shown.popleft()
            fallen += 1
        return fallen

    def want(self, wanted: Wanted) -> None:
        """Show other lines from now on."""
        self.wanted = wanted
        self._shown.clear()
        self._last = 0
        self.update()

    def place_of(self, number: int) -> int:
        """Return the place of a line, by its number; of the next one if it isn't shown."""
        for place, line in enumerate(self._shown):
            if line.number >= number:
                return place
        return max(len(self._shown) - 1, 0)

    def _take(self, lines: Iterable[FleetLine]) -> None:
        for line in lines:
            self._last = line.number
            if self.wanted.matches(line):
                self._shown.append(line)
