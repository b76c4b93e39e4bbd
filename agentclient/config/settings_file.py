"""The content of a settings file, as values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from agentclient.config.origin import Given, Origin
from agentclient.model.text import printable


class Section(NamedTuple):
    """A section of a settings file, for some VMs.

    Attributes:
        patterns: which VMs: names, or patterns of names.
        values: the values, by the names of their settings.
        origin: the section's place.
    """

    patterns: tuple[str, ...]
    values: Mapping[str, Given]
    origin: Origin

    def fits(self, names: Collection[str]) -> bool:
        """Return whether the section applies to a VM that has these names."""
        return any(
            pattern in names
            or (_is_pattern(pattern) and any(fnmatchcase(name, pattern) for name in names))
            for pattern in self.patterns
        )


class SettingsFile(NamedTuple):
    """The content of a settings file.

    Attributes:
        path: the file.
        values: the values for all VMs and for frostwatch as a whole, by the names of the settings.
        sections: the sections for some VMs, in the file's order.
        problems: the problems, a sentence with its line each.
        keys: the keys of the console's actions, by the actions' names.
    """

    path: Path
    values: Mapping[str, Given] = {}
    sections: tuple[Section, ...] = ()
    problems: tuple[str, ...] = ()
    keys: Mapping[str, Given] = {}


def _is_pattern(text: str) -> bool:
    return any(letter in text for letter in "*?[")


def shown(path: Path) -> str:
    """Return a file's path as the problems' sentences show it."""
    return printable(str(path), 300)
