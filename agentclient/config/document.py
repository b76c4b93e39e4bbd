"""Reads the settings of a TOML file, strictly: an unknown name is a problem, told with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from agentclient.config.keys import BY_NAME as ACTION_NAMES
from agentclient.config.keys import TABLE, parse_keys
from agentclient.config.lines import Place, Text
from agentclient.config.origin import Given, Origin, OriginKind
from agentclient.config.settings_file import Section, SettingsFile, shown
from agentclient.config.tree import BY_NAME
from agentclient.config.values import from_file
from agentclient.model.errors import BadInput
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable

VM, MATCH = "vm", "match"
_EXAMPLE = "frostwatch config example shows all there are"
_HOW_TO_MATCH = 'write match = "NAME" or match = ["NAME", "PATTERN-*"]'
# Parts of the messages of Python's TOML reader: errors that missing quotes may cause, the position.
_MAY_LACK_QUOTES = ("Expected newline", "Invalid value")
_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


def parse(path: Path, text: str) -> SettingsFile:
    """Return the settings of a file, and its problems.

    Args:
        path: the file, for the problems' sentences.
        text: the file's content.
    """
    try:
        document = tomllib.loads(text)
    except RecursionError:
        return SettingsFile(path, problems=(f"{shown(path)}: no TOML: it is nested too deeply",))
    except ValueError as error:
        return SettingsFile(path, problems=(no_toml(path, text, error),))
    reader = _Reader(Text(path, text))
    values = reader.values(document, (), per_vm=False)
    keys = reader.keys(document.get(TABLE))
    sections = tuple(reader.sections(document.get(VM)))
    return SettingsFile(path, values, sections, reader.problems, keys)


class _Reader:
    """Reads the known settings of a document, and collects the problems."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._noted: list[tuple[int, str]] = []

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems, a sentence each, in the order of their lines."""
        return tuple(sentence for _, sentence in sorted(self._noted, key=lambda one: one[0]))

    def values(
        self, table: Mapping[str, object], place: Place, *, per_vm: bool
    ) -> Mapping[str, Given]:
        """Return the values of a table; `per_vm` if the table is for some VMs only."""
        found: dict[str, Given] = {}
        for name, value in table.items():
            here = (*place, name)
            if name in ((MATCH,) if per_vm else (VM, TABLE)):
                continue
            problem = _misplaced(name, per_vm=per_vm)
            if problem is not None:
                self._note(here, problem)
                continue
            try:
                given = from_file(BY_NAME[name], value)
            except BadInput as error:
                self._note(here, f"{name}: {error}")
            else:
                found[name] = Given(given, Origin(OriginKind.FILE, text=self._text, place=here))
        return found

    def keys(self, table: object) -> Mapping[str, Given]:
        """Return the keys of the console's actions, by the actions' names."""
        found: dict[str, Given] = {}
        if table is not None and not isinstance(table, dict):
            self._note((TABLE,), f'write [{TABLE}], and below it lines such as freeze = "F"')
        for name, value in table.items() if isinstance(table, dict) else ():
            here = (TABLE, name)
            if name not in ACTION_NAMES:
                alike = did_you_mean(name[:100], ACTION_NAMES)
                no = f"the console has no action {printable(name, 60)!r}"
                self._note(here, no + (alike or f"; {_EXAMPLE}"))
                continue
            try:
                given = parse_keys(value, everywhere=ACTION_NAMES[name].everywhere)
            except BadInput as error:
                self._note(here, f"{name}: {error}")
            else:
                found[name] = Given(given, Origin(OriginKind.FILE, text=self._text, place=here))
        return found

    def sections(self, tables: object) -> Iterator[Section]:
        """Yield the sections, each for some VMs."""
        if tables is None:
            return
        if not isinstance(tables, list):
            self._note((VM,), "write [[vm]] with two brackets: there may be many of them")
            return
        for index, table in enumerate(tables):
            place = (VM, index)
            if not isinstance(table, dict):
                self._note(place, f"a {VM} is a table: write [[vm]], and what is set below it")
                continue
            values = self.values(table, place, per_vm=True)
            patterns = _patterns(table.get(MATCH))
            if patterns:
                origin = Origin(OriginKind.FILE, text=self._text, place=place)
                yield Section(patterns, values, origin)
            elif MATCH in table:
                self._note((*place, MATCH), f"match names no VM: {_HOW_TO_MATCH}")
            else:
                self._note(place, f"[[vm]] does not say which VMs it is for: {_HOW_TO_MATCH}")

    def _note(self, place: Place, text: str) -> None:
        where = printable(self._text.where(place), 300)
        self._noted.append((self._text.line(place) or 0, f"{where}: {text}"))


def _misplaced(name: str, *, per_vm: bool) -> str | None:
    """Return why a name is not allowed in this table; None if it is."""
    shown = printable(name, 60)
    if name == MATCH:
        return "match stands below a [[vm]] alone"
    key = BY_NAME.get(name)
    if key is None:
        extra = (MATCH,) if per_vm else (VM, TABLE)
        known = [each for each in BY_NAME if BY_NAME[each].per_vm or not per_vm]
        alike = did_you_mean(name[:100], (*known, *extra))
        return f"nothing is called {shown!r}{alike}" + ("" if alike else f"; {_EXAMPLE}")
    if per_vm and not key.per_vm:
        return f"{shown} is for all VMs: it stands above the first [[vm]]"
    return None


def _patterns(value: object) -> tuple[str, ...]:
    """Return the patterns of a section; none if they can't be used."""
    listed = value if isinstance(value, list) else [value]
    if all(isinstance(each, str) and each.strip() for each in listed):
        return tuple(listed)
    return ()


def no_toml(path: Path, text: str, error: ValueError) -> str:
    """Return the error of an invalid TOML file, with its line."""
    said = str(error)
    found = _AT.search(said)
    if found is None:  # Python's int() failed, not the TOML reader itself
        return f"{shown(path)}: no TOML: a number has too many digits"
    what = printable(said[: found.start()], 200)
    what = what[:1].lower() + what[1:]
    if found[1] is None:
        line, where = text.rstrip("\n").count("\n") + 1, "at its end"
    else:
        line, where = int(found[1]), f"at column {found[2]}"
    stands = printable(text.split("\n")[line - 1].strip(), 60)
    quotes = ""
    if said.startswith(_MAY_LACK_QUOTES):
        quotes = "; texts and durations stand in quotes, yes is true and no is false"
    return f"{shown(path)}:{line}: no TOML: {what}, {where} of {stands!r}{quotes}"
