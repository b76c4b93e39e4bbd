"""Where a value comes from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agentclient.config.lines import Place, Text


class OriginKind(StrEnum):
    """Who has set a value, weakest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    OPTION = "option"


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
