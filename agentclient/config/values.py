"""Checks and converts the values of settings, from a file or an environment variable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from agentclient.config.home import home
from agentclient.config.tree import Key, Kind
from agentclient.model.durations import MAXIMUM_S, parse_duration, written
from agentclient.model.errors import BadInput
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable

NAME_PATTERN = "[a-z0-9][a-z0-9_-]{0,39}"
_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off")


def from_file(key: Key, value: object) -> object:
    """Return the setting's value for a value of a TOML file.

    Args:
        key: the setting.
        value: the value, as the TOML reader returns it.

    Raises:
        BadInput: the value is of another kind, or out of bounds; the text is one clause.
    """
    if key.kind is Kind.FLAG and isinstance(value, bool):
        return value
    if key.kind is Kind.COUNT and isinstance(value, int) and not isinstance(value, bool):
        return _bounded(key, value)
    if key.kind is Kind.DURATION:
        if isinstance(value, str):
            return _bounded(key, parse_duration(value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _bounded(key, _seconds(value))
    if key.kind is Kind.PATH and isinstance(value, str):
        return _path(value)
    if key.kind is Kind.NAME and isinstance(value, str):
        return _name(value)
    if key.kind is Kind.TEXTS and isinstance(value, str | list):
        return _texts(key, [value] if isinstance(value, str) else value)
    raise BadInput(f"{_shown(value)} is {_kind_of(value)}: write {key.kind.value}")


def from_text(key: Key, text: str) -> object:
    """Return the setting's value for the text of an environment variable.

    Args:
        key: the setting.
        text: the variable's value.

    Raises:
        BadInput: the text is no such value, or it is out of bounds; the text is one clause.
    """
    plain = text.strip()
    if key.kind is Kind.FLAG:
        if plain.lower() in (*_YES, *_NO):
            return plain.lower() in _YES
        raise BadInput(f"{printable(text, 60)!r} is neither yes nor no: write 1 or 0")
    if key.kind is Kind.COUNT:
        # A bound on the digits: Python's int() raises for thousands of them.
        if plain.isascii() and plain.isdecimal() and len(plain) < 20:
            return _bounded(key, int(plain))
        raise BadInput(f"{printable(text, 60)!r} is no whole number")
    if key.kind is Kind.DURATION:
        return _bounded(key, parse_duration(text))
    if key.kind is Kind.NAME:
        return _name(plain)
    if key.kind is Kind.TEXTS:
        return _texts(key, text.split())
    return _path(text)


def as_text(key: Key, value: object) -> str:
    """Return a value as it is written in a TOML file; empty quotes for a path that is not set."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if key.kind is Kind.DURATION and isinstance(value, int | float):
        return f'"{written(value)}"'
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(quoted(str(one)) for one in value)}]"
    return quoted(str(value))


def quoted(text: str) -> str:
    """Return a text in quotes, as in a TOML file."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _bounded(key: Key, value: float) -> float:
    if key.low <= value <= key.high:
        return value
    if key.kind is Kind.COUNT:
        raise BadInput(f"{value} is not in {key.low:g} to {key.high:g}")
    raise BadInput(f"{written(value)} is not in {written(key.low)} to {written(key.high)}")


def _seconds(value: float) -> float:
    """Return a number of a file as seconds.

    Raises:
        BadInput: the number is negative, or more than a year.
    """
    if not 0 <= value <= MAXIMUM_S:  # nor is a nan
        raise BadInput(f"{_shown(value)} is no number of seconds between 0 and a year")
    return float(value)


def _path(text: str) -> Path:
    if "\0" in text or not text.isprintable():
        raise BadInput(f"{printable(text, 80)!r} is no path")
    if text.startswith("~/"):
        base = home()
        if base is None:
            raise BadInput(f"nobody knows where {printable(text, 80)!r} is: set HOME")
        return base / text[2:]
    if not text.startswith("/"):
        raise BadInput(f"{printable(text, 80)!r} depends on the current folder: begin it with /")
    return Path(text)


def _name(text: str) -> str:
    if not re.fullmatch(NAME_PATTERN, text):
        raise BadInput(f"{printable(text, 60)!r} is no name: use small letters, digits, - and _")
    return text


def _texts(key: Key, items: Sequence[object]) -> tuple[str, ...]:
    for item in items:
        if not isinstance(item, str) or not item.strip() or not item.isprintable():
            raise BadInput(f"{_shown(item)} is no text that could be meant")
        if key.choices and item.strip() not in key.choices:
            known = ", ".join(key.choices)
            raise BadInput(f"{_shown(item)} is none of {known}{did_you_mean(item, key.choices)}")
    return tuple(str(item).strip() for item in items)


def _shown(value: object) -> str:
    """Return a value of a file for a sentence, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and not -(10**18) < value < 10**18:
        return "that number"
    if isinstance(value, int | float | str):
        return printable(repr(value), 60)
    return "that"


def _kind_of(value: object) -> str:
    for kind, words in _KINDS:
        if isinstance(value, kind):
            return words
    return "a date or a time"


_KINDS = (
    (bool, "a yes or no"),
    (int, "a number"),
    (float, "a number"),
    (str, "a text"),
    (list, "a list"),
    (dict, "a table"),
)
