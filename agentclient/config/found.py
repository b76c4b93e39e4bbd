"""What is found in a settings file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from agentclient.config.origin import Given, Origin


class Section(NamedTuple):
    """What a file sets for some VMs.

    Attributes:
        patterns: which VMs: names, or patterns of names.
        values: what is set for them, by its name.
        origin: where it stands.
    """

    patterns: tuple[str, ...]
    values: Mapping[str, Given]
    origin: Origin

    def fits(self, names: Collection[str]) -> bool:
        """Return whether a VM that is called so is one of these."""
        return any(
            pattern in names
            or (_is_pattern(pattern) and any(fnmatchcase(name, pattern) for name in names))
            for pattern in self.patterns
        )


class SettingsFile(NamedTuple):
    """What was found in a file.

    Attributes:
        path: the file.
        values: what is set for all VMs and for frostwatch as a whole, by its name.
        sections: what is set for some VMs, as it stands there.
        problems: what is wrong, each a sentence with its line; empty if nothing is.
    """

    path: Path
    values: Mapping[str, Given] = {}
    sections: tuple[Section, ...] = ()
    problems: tuple[str, ...] = ()


def _is_pattern(text: str) -> bool:
    return any(letter in text for letter in "*?[")
