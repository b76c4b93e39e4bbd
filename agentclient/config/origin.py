"""The origin of a setting's value."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agentclient.config.lines import Place, Text


class OriginKind(StrEnum):
    """The kinds of origins, the weakest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    OPTION = "option"


class Origin(NamedTuple):
    """The origin of a value; its text tells a person where to find it.

    Attributes:
        kind: the kind of origin.
        name: the variable or the option; empty for other kinds.
        text: the file's text; None for other kinds.
        place: the value's place in the file.
    """

    kind: OriginKind = OriginKind.DEFAULT
    name: str = ""
    text: Text | None = None
    place: Place = ()

    @property
    def path(self) -> Path | None:
        """The file in which the value is set; None if it is not set in a file."""
        return self.text.path if self.text is not None else None

    @property
    def line(self) -> int | None:
        """The line of that file; None if the value is not set in a file."""
        return self.text.line(self.place) if self.text is not None else None

    def __str__(self) -> str:
        if self.text is not None:
            return self.text.where(self.place)
        return self.name or self.kind.value


class Given(NamedTuple):
    """A value and its origin."""

    value: object
    origin: Origin = Origin()
