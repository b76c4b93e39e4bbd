"""Finds the line of each value of a TOML file.

Python's TOML reader does not tell lines. But each statement of a file is a valid TOML file by
itself, and the first lines of a longer statement are not. So lines are collected until they are
valid TOML: then they are one statement. This is done only where a line has to be named.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

Place = tuple[str | int, ...]
"""The path to a value: names of tables and values, and the index of a table in an array."""

# The most characters that are parsed in all: a longer statement is parsed again for each line.
_MOST_READ: Final = 4 * 1024 * 1024


def lines_of(text: str) -> dict[Place, int]:
    """Return the first line of the statement of each table and value.

    Args:
        text: a whole, valid TOML file. If it has statements of very many lines, only the first
            places are found.
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
    """Tracks the table to which the next statements belong."""

    def __init__(self) -> None:
        self.inside: Place = ()
        self._counts: dict[Place, int] = {}

    def enter(self, header: dict[str, object]) -> list[Place]:
        """Enter the table of a header; return its place, and those of the tables around it."""
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
    """The text of a settings file, and the lines of its values.

    Args:
        path: the file.
        text: its content, which is valid TOML.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._text = text
        self._lines: Mapping[Place, int] | None = None

    def line(self, place: Place) -> int | None:
        """Return the line of a place; None if it is not known."""
        if self._lines is None:
            self._lines = lines_of(self._text)
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place)

    def where(self, place: Place) -> str:
        """Return the file and the line of a place, as ``/path/config.toml:7``."""
        line = self.line(place)
        return f"{self.path}:{line}" if line is not None else str(self.path)
