"""Where a value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from agentclient.config.lines import Place, lines_of


class OriginKind(StrEnum):
    """Who has set a value, weakest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    OPTION = "option"


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


class Origin(NamedTuple):
    """Where a value comes from; as text, what a person needs to find it.

    Attributes:
        kind: who has set it.
        name: the variable or the option; empty for the others.
        text: the file; None for the others.
        place: where it stands in that.
    """

    kind: OriginKind = OriginKind.DEFAULT
    name: str = ""
    text: Text | None = None
    place: Place = ()

    @property
    def path(self) -> Path | None:
        """The file that it stands in; None if it is in none."""
        return self.text.path if self.text is not None else None

    @property
    def line(self) -> int | None:
        """The line of that file; None if it is in none."""
        return self.text.line(self.place) if self.text is not None else None

    def __str__(self) -> str:
        if self.text is not None:
            return self.text.where(self.place)
        return self.name or self.kind.value


class Given(NamedTuple):
    """A value that somebody has given."""

    value: object
    origin: Origin = Origin()
