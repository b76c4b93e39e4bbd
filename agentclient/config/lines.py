"""On which line of a TOML file each value stands.

Python's reader of TOML tells no lines. But each statement of a file is a file by itself, and no
beginning of one is, as long as it ends with a line: so the statements are found by reading line
after line until what has been gathered can be read. Only who must name a line pays for it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

Place = tuple[str | int, ...]
"""The way to a value: names of tables and of values, and the number of a table in an array."""

# Each line is read about once; what stands in many lines by itself, again with each of them.
_MOST_READ: Final = 4 * 1024 * 1024


def lines_of(text: str) -> dict[Place, int]:
    """Return the first line of the statement of each table and value.

    Args:
        text: a whole file that can be read. Of one with statements of very many lines, the first
            places alone are found.
    """
    found: dict[Place, int] = {}
    tables = _Tables()
    gathered, first, read = "", 1, 0
    for number, line in enumerate(text.split("\n"), 1):
        if not gathered:
            first = number
        gathered += f"{line}\n"
        read += len(gathered)
        if read > _MOST_READ:
            break
        try:
            statement = tomllib.loads(gathered)
        except ValueError:
            continue
        if gathered.lstrip().startswith("["):
            for place in tables.enter(statement):
                found.setdefault(place, first)
        else:
            _note(statement, tables.inside, first, found)
        gathered = ""
    return found


class _Tables:
    """Which table the statements belong to."""

    def __init__(self) -> None:
        self.inside: Place = ()
        self._counts: dict[Place, int] = {}

    def enter(self, header: dict[str, object]) -> list[Place]:
        """Go into the table of a header, and return the places of it and of those around it."""
        places: list[Place] = []
        place: Place = ()
        node: object = header
        while isinstance(node, dict) and node:
            ((key, node),) = node.items()
            place += (key,)
            if isinstance(node, list):  # the last part of [[a.b]]
                self._counts[place] = self._counts.get(place, -1) + 1
                node = None
            if place in self._counts:
                places.append(place)
                place += (self._counts[place],)
            places.append(place)
        self.inside = place
        return places


def _note(value: object, place: Place, line: int, found: dict[Place, int]) -> None:
    if place:
        found.setdefault(place, line)
    if isinstance(value, dict):
        for key, each in value.items():
            _note(each, (*place, key), line, found)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _note(each, (*place, index), line, found)


class Text:
    """The text of a settings file, and the lines of what stands in it.

    Args:
        path: the file.
        text: what stands in it; it can be read as TOML.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._text = text
        self._lines: Mapping[Place, int] | None = None

    def line(self, place: Place) -> int | None:
        """Return the line on which something stands; None if that can't be told."""
        if self._lines is None:
            self._lines = lines_of(self._text)
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place)

    def where(self, place: Place) -> str:
        """Return ``/path/config.toml:7`` for something that stands in it."""
        line = self.line(place)
        return f"{self.path}:{line}" if line is not None else str(self.path)
