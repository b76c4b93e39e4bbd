"""Reads a settings file, strictly: what it does not know, it names with the line it stands on."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.config.lines import Place
from agentclient.config.origin import Given, Origin, OriginKind, Text
from agentclient.config.tree import BY_NAME
from agentclient.config.values import from_file
from agentclient.model.errors import BadInput
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable

MOST_BYTES: Final = 1024 * 1024
_TOO_LARGE = f"it is too large: settings have {MOST_BYTES} bytes at the most"
VM, MATCH = "vm", "match"
_EXAMPLE = "frostwatch config example shows all there are"
_HOW_TO_MATCH = 'write match = "NAME" or match = ["NAME", "PATTERN-*"]'
# How Python tells where a file is no TOML.
_MAY_LACK_QUOTES = ("Expected newline", "Invalid value")
_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


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


def read(path: Path, *, needed: bool = False) -> SettingsFile | None:
    """Read a settings file; nothing about it is raised, whatever stands in its place.

    Args:
        path: the file.
        needed: that it is missing is a problem.

    Returns:
        None if there is none.
    """
    try:
        text = _text_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return (
            SettingsFile(path, problems=(f"{_at(path)}: there is no such file",))
            if needed
            else None
        )
    except OSError as error:
        return SettingsFile(path, problems=(f"{_at(path)}: {_why(error)}",))
    except BadInput as problem:
        return SettingsFile(path, problems=(str(problem),))
    return parse(path, text)


def parse(path: Path, text: str) -> SettingsFile:
    """Return what a settings file says.

    Args:
        path: the file, for the sentences.
        text: what stands in it.
    """
    if not text.strip():
        return SettingsFile(path)
    import tomllib  # noqa: PLC0415 - without a file nobody needs it

    try:
        document = tomllib.loads(text)
    except RecursionError:
        return SettingsFile(path, problems=(f"{_at(path)}: no TOML: it is nested too deeply",))
    except ValueError as error:
        return SettingsFile(path, problems=(_no_toml(path, text, error),))
    reader = _Reader(Text(path, text))
    values = reader.values(document, (), per_vm=False)
    sections = tuple(reader.sections(document.get(VM)))
    return SettingsFile(path, values, sections, reader.problems)


class _Reader:
    """Takes what it knows out of a document, and notes what it does not."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._noted: list[tuple[int, str]] = []

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, each a sentence, from the file's first line to its last."""
        return tuple(sentence for _, sentence in sorted(self._noted, key=lambda one: one[0]))

    def values(
        self, table: Mapping[str, object], place: Place, *, per_vm: bool
    ) -> Mapping[str, Given]:
        """Return what a table sets; `per_vm` if that is for some VMs alone."""
        found: dict[str, Given] = {}
        for name, value in table.items():
            here = (*place, name)
            if name == (MATCH if per_vm else VM):
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

    def sections(self, tables: object) -> Iterator[Section]:
        """Yield what is set for some VMs."""
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
    """Return why a name may not stand here; None if it may."""
    shown = printable(name, 60)
    if name == MATCH:
        return "match stands below a [[vm]] alone"
    key = BY_NAME.get(name)
    if key is None:
        extra = (MATCH,) if per_vm else (VM,)
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


def _text_of(path: Path) -> str:
    """Return what stands in a file.

    Raises:
        OSError: it can't be read.
        BadInput: it is none, or not fit to be read; one sentence.
    """
    # Not to wait for whoever writes into a pipe.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        found = os.fstat(number)
        problem = None if str(path) == os.devnull else _unfit(found)
        if problem is not None:
            raise BadInput(f"{_at(path)}: {problem}")
        data = b""
        while len(data) <= MOST_BYTES and (more := os.read(number, MOST_BYTES)):
            data += more
    finally:
        os.close(number)
    if len(data) > MOST_BYTES:
        raise BadInput(f"{_at(path)}: {_TOO_LARGE}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise BadInput(
            f"{_at(path)}:{line}: not UTF-8: 0x{byte:02x} begins or continues no character"
        ) from None


def _unfit(found: os.stat_result) -> str | None:
    """Return why a file is not read, as a clause; None if it is.

    What is set may name a file that is written to: nobody else may decide that.
    """
    if stat.S_ISDIR(found.st_mode):
        return "it is a folder, no file"
    if not stat.S_ISREG(found.st_mode):
        return "it is a device, a pipe or a socket, no file"
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to it, and so set what frostwatch does: chmod o-w it"
    if found.st_uid not in (0, os.geteuid()):
        return (
            f"it belongs to another user (uid {found.st_uid}), who could set what frostwatch does:"
            " chown it to root or to yourself"
        )
    return _TOO_LARGE if found.st_size > MOST_BYTES else None


def _no_toml(path: Path, text: str, error: ValueError) -> str:
    """Return what is wrong with the TOML, with its line."""
    said = str(error)
    found = _AT.search(said)
    if found is None:  # the one thing that Python's reader leaves to Python
        return f"{_at(path)}: no TOML: a number has too many digits"
    what = printable(said[: found.start()], 200)
    what = what[:1].lower() + what[1:]
    if found[1] is None:
        line, where = text.rstrip("\n").count("\n") + 1, "at its end"
    else:
        line, where = int(found[1]), f"at column {found[2]}"
    stands = printable(text.split("\n")[line - 1].strip(), 60)
    quotes = "; a text and a duration stand in quotes" if said.startswith(_MAY_LACK_QUOTES) else ""
    return f"{_at(path)}:{line}: no TOML: {what}, {where} of {stands!r}{quotes}"


def _why(error: OSError) -> str:
    reason = error.strerror or str(error)
    without = "; --no-config goes without it" if isinstance(error, PermissionError) else ""
    return f"it can't be read: {printable(reason[:1].lower() + reason[1:], 200)}{without}"


def _at(path: Path) -> str:
    return printable(str(path), 300)
