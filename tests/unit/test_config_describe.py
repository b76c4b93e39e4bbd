"""The example, the schema and the rows: what is told about the settings is what they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.config.describe import example, json_schema, row_object, rows, rows_of_vm
from agentclient.config.document import parse
from agentclient.config.settings import Settings
from agentclient.config.tree import KEYS, Key
from agentclient.config.values import from_file
from agentclient.model.errors import BadInput

PATH = Path("/c.toml")
DOCS = Path(__file__).parents[2] / "docs"


def uncommented() -> str:
    """Return the example with every line that could be set."""
    return re.sub(r"(?m)^# ?((?:[a-z_]+ = |\[\[vm|\[keys).*)$", r"\1", example())


def settings_of(text: str) -> Settings:
    found = parse(PATH, text)
    assert not found.problems
    return Settings(found.values, found.sections)


def test_the_example_is_accepted_and_changes_nothing() -> None:
    assert settings_of(example()) == Settings()
    assert all(line.startswith("#") or not line for line in example().splitlines())
    assert all(len(line) <= 80 for line in example().splitlines())


def test_the_example_uncommented_says_what_is_so_anyway() -> None:
    found = parse(PATH, uncommented())
    assert not found.problems
    assert set(found.values) == {key.name for key in KEYS}
    for key in KEYS:
        if key.default is not None:
            assert found.values[key.name].value == key.default, key.name
    assert len(found.sections) == 2


def test_the_schema_in_the_docs_is_the_one_of_the_code() -> None:
    text = (DOCS / "settings.schema.json").read_text()
    assert json.loads(text) == json_schema()
    assert text == json.dumps(json_schema(), indent=2) + "\n"


def test_the_docs_name_every_setting_with_its_default() -> None:
    text = (DOCS / "settings.md").read_text()
    for key in KEYS:
        rows = [line for line in text.splitlines() if line.startswith(f"| `{key.name}` ")]
        assert len(rows) == 1, key.name
        assert key.option is None or f"`{key.option}`" in rows[0]
    assert set(re.findall(r"(?m)^\| `(\w+)` \|", text)) == {key.name for key in KEYS}


def accepts(schema: dict[str, Any], value: object) -> bool:
    """Return whether a schema takes a value, as far as the settings' one goes."""
    if "anyOf" in schema:
        return any(accepts(each, value) for each in schema["anyOf"])
    match schema["type"]:
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list) and all(accepts(schema["items"], one) for one in value)
        case "string":
            return isinstance(value, str) and bool(re.search(schema["pattern"], value, re.ASCII))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if schema["type"] == "integer" and value != int(value):
        return False
    return bool(schema["minimum"] <= value <= schema["maximum"])


_SENSIBLE = st.one_of(
    st.booleans(),
    st.integers(-5, 12_000),
    st.floats(0, 1000, allow_nan=False),
    st.sampled_from(["90", "90s", "1h30m", "1.5h", "", " ", "s", "1s1m", "5 m", "/a", "~/a", "a"]),
    st.lists(st.integers(), max_size=2),
    st.lists(st.sampled_from(["a", "", " ", "qemu:///system"]), max_size=2),
)


@given(st.sampled_from(KEYS), _SENSIBLE)
def test_the_schema_takes_what_the_code_takes(key: Key, value: object) -> None:
    schema = json_schema()["properties"][key.name]
    try:
        from_file(key, value)
    except BadInput:
        # Whether a text is too short or too long a time, no pattern says.
        out_of_bounds = isinstance(value, str) and accepts(schema, value)
        assert out_of_bounds or not accepts(schema, value) or isinstance(value, float)
    else:
        assert accepts(schema, value)


def test_the_schema_has_all_for_all_vms_and_what_may_stand_below_a_vm() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == {*(key.name for key in KEYS), "vm", "keys"}
    section = schema["properties"]["vm"]["items"]
    assert set(section["properties"]) == {*(key.name for key in KEYS if key.per_vm), "match"}
    assert section["required"] == ["match"]
    assert schema["additionalProperties"] is section["additionalProperties"] is False


def test_rows_say_what_counts_and_where_that_was_said() -> None:
    settings = settings_of('hold = "90s"\n[[vm]]\nmatch = ["a", "b*"]\nread_only = true')
    found = list(rows(settings))
    assert [row.key.name for row in found[: len(KEYS)]] == [key.name for key in KEYS]
    assert (found[0].text, str(found[0].given.origin)) == ("90s", "/c.toml:1")
    last = row_object(found[-1])
    assert last == {
        "schema": 1,
        "name": "read_only",
        "value": True,
        "match": ["a", "b*"],
        "vm": None,
        "origin": {"kind": "file", "name": None, "file": "/c.toml", "line": 4},
    }
    (own,) = [row for row in rows_of_vm(settings, ("b1",)) if row.key.name == "read_only"]
    assert own.given.value is True
    assert row_object(own, "qemu:b1")["vm"] == "qemu:b1"


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_row_is_json_and_text(key: Key) -> None:
    (row,) = [each for each in rows(Settings()) if each.key == key]
    assert json.loads(json.dumps(row_object(row)))["name"] == key.name
    assert row.text
