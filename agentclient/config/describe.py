"""Describes the settings: as rows with origins, as an example file, and as a JSON Schema."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from agentclient.config.document import MATCH, VM
from agentclient.config.keys import ACTIONS, TABLE, Action
from agentclient.config.origin import Given
from agentclient.config.punctuation import PUNCTUATION
from agentclient.config.settings import Settings
from agentclient.config.tree import KEYS, Key, Kind
from agentclient.config.values import NAME_PATTERN, as_text, quoted
from agentclient.model.json_contract import SCHEMA, JsonObject

_WIDTH: Final = 78

# A regular expression for the durations that `parse_duration` accepts; the empty text is none.
DURATION_PATTERN: Final = (
    r"^\s*(?:[0-9]+(?:\.[0-9]+)?|(?=[0-9])(?:[0-9]+(?:\.[0-9]+)?[hH])?(?:[0-9]+(?:\.[0-9]+)?[mM])?"
    r"(?:[0-9]+(?:\.[0-9]+)?[sS])?)\s*$"
)


class Row(NamedTuple):
    """One setting and its value.

    Attributes:
        key: the setting.
        given: its value and origin.
        match: the patterns of the section that sets it for some VMs; empty for all VMs.
    """

    key: Key
    given: Given
    match: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The value as a text for a person: as in a file, without quotes."""
        value = self.given.value
        if value is None:
            return self.key.unset
        if isinstance(value, tuple):
            return ", ".join(map(str, value))
        return as_text(self.key, value).strip('"')


def rows(settings: Settings) -> Iterator[Row]:
    """Yield the values for all VMs and for frostwatch as a whole, then those of each section."""
    for key in KEYS:
        yield Row(key, settings.given(key))
    for name, given in settings.keys.items():
        what = Key(f"{TABLE}.{name}", "", Kind.TEXTS, "A key of the console.", per_vm=False)
        yield Row(what, given._replace(value=tuple(map(_as_written, str(given.value).split(",")))))
    for section in settings.sections:
        for key in KEYS:
            if key.name in section.values:
                yield Row(key, section.values[key.name], section.patterns)


def rows_of_vm(settings: Settings, names: Iterable[str]) -> Iterator[Row]:
    """Yield the values for one VM; `names` are the VM's names."""
    called = tuple(names)
    for key in KEYS:
        if key.per_vm:
            yield Row(key, settings.given(key, called))


def row_object(row: Row, vm: str | None = None) -> JsonObject:
    """Return a row as JSON: a line of ``frostwatch config show --json``."""
    value, origin = row.given
    return {
        "schema": SCHEMA,
        "name": row.key.name,
        "value": _as_json(value),
        "match": list(row.match) or None,
        "vm": vm,
        "origin": {
            "kind": origin.kind.value,
            "name": origin.name or None,
            "file": str(origin.path) if origin.path is not None else None,
            "line": origin.line,
        },
    }


def _as_json(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def example() -> str:
    """Return an example file with the defaults of all settings, commented out."""
    lines = [
        *_wrapped(
            "Settings of frostwatch. A line without # in front of it counts; these say what is so"
            " anyway. `frostwatch config check` says whether all of it can be used, and"
            " `frostwatch config show` what counts in the end, and where that was said."
        ),
        *_headed("For all VMs, and for each below", _told(key for key in KEYS if key.per_vm)),
        *_headed("For frostwatch as a whole", _told(key for key in KEYS if not key.per_vm)),
        *_headed("Keys of the console: one, or a list of them", _told_keys()),
        *_headed(
            "For some VMs",
            _wrapped(
                "match takes a name, an id, a VMID or a UUID, or a pattern of them (* ? [abc]), or"
                " a list of those. All that is set for all VMs can be set here, and is stronger."
                " Where two fit a VM, the later one counts."
            ),
        ),
        "",
        "# [[vm]]",
        '# match = ["db-*", "mail"]',
        '# first_timeout = "30m"',
        '# max_hold = "5m"',
        "",
        "# [[vm]]",
        '# match = "firewall"',
        "# never_ask = true",
    ]
    return "\n".join(lines) + "\n"


def _headed(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield ""
    yield f"# -- {title} ".ljust(_WIDTH, "-")
    yield from lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _told(keys: Iterable[Key]) -> Iterator[str]:
    for key in keys:
        yield ""
        by = f" ({key.option})" if key.option else ""
        yield from _wrapped(f"{key.help.removesuffix('.')}{by}.")
        value = key.default
        shown = key.example if value is None else as_text(key, value)
        yield f"# {key.name} = {shown}"


def _told_keys() -> Iterator[str]:
    yield ""
    yield f"# [{TABLE}]"
    for action in ACTIONS:
        written = [quoted(_as_written(key)) for key in action.keys.split(",")]
        listed = f"[{', '.join(written)}]"
        yield f"# {action.name} = {written[0] if len(written) == 1 else listed}"


def _as_written(key: str) -> str:
    return next((sign for sign, name in PUNCTUATION.items() if name == key), key)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a settings file, for editors."""
    match = {"type": "string", "pattern": r"\S"}
    section = {
        "type": "object",
        "additionalProperties": False,
        "required": [MATCH],
        "properties": {
            MATCH: {
                "description": "The VMs that it is for: names, or patterns of names.",
                "anyOf": [match, {"type": "array", "minItems": 1, "items": match}],
            },
            **{key.name: _schema_of(key) for key in KEYS if key.per_vm},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of frostwatch",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{key.name: _schema_of(key) for key in KEYS},
            TABLE: {
                "description": "The keys of the console's actions.",
                "type": "object",
                "additionalProperties": False,
                "properties": {action.name: _schema_of_keys(action) for action in ACTIONS},
            },
            VM: {
                "description": "What is set for some VMs; of two that fit, the later one counts.",
                "type": "array",
                "items": section,
            },
        },
    }


def _schema_of_keys(action: Action) -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    written = [_as_written(key) for key in action.keys.split(",")]
    usual = written[0] if len(written) == 1 else written
    return {"default": usual, "anyOf": [text, {"type": "array", "minItems": 1, "items": text}]}


def _schema_of(key: Key) -> dict[str, Any]:
    told: dict[str, Any] = {"description": key.help}
    if key.default is not None:
        told["default"] = list(key.default) if isinstance(key.default, tuple) else key.default
    match key.kind:
        case Kind.FLAG:
            return {**told, "type": "boolean"}
        case Kind.COUNT:
            return {**told, "type": "integer", "minimum": key.low, "maximum": key.high}
        case Kind.PATH:
            return {**told, "type": "string", "pattern": "^(/|~/)"}
        case Kind.NAME:
            return {**told, "type": "string", "pattern": NAME_PATTERN}
        case Kind.TEXTS:
            text: dict[str, Any] = {"type": "string", "pattern": r"\S"}
            if key.choices:
                text["pattern"] = rf"^\s*({'|'.join(key.choices)})\s*$"
            return {**told, "anyOf": [text, {"type": "array", "items": text}]}
        case Kind.DURATION:
            number = {"type": "number", "minimum": key.low, "maximum": key.high}
            text = {"type": "string", "pattern": DURATION_PATTERN}
            return {**told, "anyOf": [text, number]}
