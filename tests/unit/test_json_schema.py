"""The schema of the JSON is written from the code, and what is really printed is as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

pytest.importorskip("click_man", reason="make .venv/.dev installs it")

from agentclient.journal.figures import figures
from agentclient.journal.json_contract import durations_object, window_object
from tests.console.guest_report import past
from tests.console.past import past_of_web1
from tests.manual.json_schema import FILE, LINES, document, text
from tui.main import run

DOCS = Path(__file__).parents[2] / "docs" / "json.md"
READ = document()
Json = dict[str, Any]


def check(name: str, found: Json) -> None:
    """Compare an object with what the schema says of its kind."""
    schema = READ | {"anyOf": [{"$ref": f"#/$defs/{name}"}]}
    checker = Draft202012Validator.FORMAT_CHECKER
    problems = list(Draft202012Validator(schema, format_checker=checker).iter_errors(found))
    assert not problems, (
        name,
        [one.message for each in problems for one in each.context or [each]],
    )


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Json]:
    """Run a command with `--json`, and return what it prints."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    run([*arguments[:at], "--json", *arguments[at:]])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found, arguments
    return found


def test_it_is_as_the_code_is() -> None:
    Draft202012Validator.check_schema(READ)
    assert FILE.read_text() == text(), "write it again with: make man"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vm", ["--drill", "list"]),
        ("finding", ["--drill", "24", "doctor"]),
        ("left", ["--drill", "jobs"]),
        ("rung", ["--drill", "rescue", "db3"]),
        ("word", ["explain"]),
        ("setting", ["config", "show"]),
        ("event", ["--drill", "--drill-speed", "20", "freeze", "db1", "files1", "mail2"]),
        ("event", ["--drill", "thaw", "--foreign", "db3"]),
        ("event", ["--drill", "--drill-speed", "20", "freeze", "db3", "ci1"]),
    ],
    ids=lambda one: one if isinstance(one, str) else "-".join(one),
)
def test_what_is_printed_is_as_it_says(
    capsys: pytest.CaptureFixture[str], name: str, arguments: list[str]
) -> None:
    for found in lines(capsys, *arguments):
        check(name, found)


def test_a_group_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--drill", "freeze", "db1", "app1", "--together", "--hold", "1s")
    found = lines(capsys, *arguments)
    groups = [one for one in found if one["event"] == "group"]
    assert groups
    for one in found:
        check("group" if one in groups else "event", one)


def test_a_copy_ends_with_a_job(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = lines(capsys, "--drill", "freeze", "db1", "--", "true")
    assert found[-1]["event"] == "job"
    for one in found:
        check("event", one)


def test_a_window_of_the_journal_is_as_it_says() -> None:
    windows = [*past().windows, *past_of_web1().windows]
    assert len(windows) > 3
    for one in windows:
        check("window", json.loads(json.dumps(window_object(one))))
    check("durations", durations_object("qemu:web1", figures([2.1, 4.0]), figures([])))


def examples() -> Iterator[Json]:
    """Yield the objects that the page shows."""
    for block in re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL):
        yield json.loads(block)


def test_the_examples_of_the_page_are_as_it_says() -> None:
    shown = list(examples())
    assert len(shown) > 5
    for one in shown:
        assert Draft202012Validator(READ).is_valid(one), one


def test_each_command_with_json_is_on_the_page() -> None:
    told = DOCS.read_text()
    for name, (by, _) in LINES.items():
        assert by.split()[0].strip(",") in told, name
    assert "output.schema.json" in told


@pytest.mark.parametrize(
    ("key", "value"), [("run_state", "asleep"), ("also", None), ("schema", 2), ("freeze", {})]
)
def test_what_is_no_vm_is_none(capsys: pytest.CaptureFixture[str], key: str, value: object) -> None:
    (found,) = lines(capsys, "--drill", "1", "list")
    check("vm", found)
    other = deepcopy(found) | {key: value}
    with pytest.raises(AssertionError):
        check("vm", other)
    check("vm", found | {"a_key_of_next_year": 1})
