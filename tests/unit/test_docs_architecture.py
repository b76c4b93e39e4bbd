"""docs/architecture.md names files and tests that exist, and leaves out no promise."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text()


@cache
def written_tests() -> frozenset[str]:
    """The names of all tests."""
    texts = (path.read_text() for path in (ROOT / "tests").glob("*/test_*.py"))
    return frozenset(name for text in texts for name in re.findall(r"def (test_\w+)\(", text))


def section(heading: str) -> str:
    """What stands below a heading, up to the next one."""
    return TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading."""
    rows = [row.split("|")[1:-1] for row in section(heading).splitlines() if row.startswith("|")]
    return rows[2:]


def missing_tests(cell: str) -> list[str]:
    """The tests that a cell names and that nobody has written; one at least must be named."""
    names = re.findall(r"`(test_\w+)`", cell)
    assert names, f"no test is named: {cell}"
    return [name for name in names if name not in written_tests()]


def missing_files(text: str) -> list[str]:
    """The files that a text names and that are not there."""
    names = re.findall(r"`((?:\w+/)*\w+\.py)`", text)
    return [
        name
        for name in names
        if not (ROOT / "agentclient" / name).is_file() and not (ROOT / name).is_file()
    ]


def test_each_way_out_is_tried() -> None:
    ways = table("Ways out of a freeze")
    assert len(ways) >= 10
    for way, who, when, tried in ways:
        assert who.strip(), way
        assert when.strip(), way
        assert missing_tests(tried) == [], way


def test_each_promise_says_where_it_lives_and_is_tried() -> None:
    promises = table("What is promised")
    numbers = [re.search(r"\*\*P(\d+)\*\*", row[0]) for row in promises]
    assert [int(one[1]) for one in numbers if one] == list(range(1, 13))
    for promise, says, where, tried in promises:
        assert says.strip(), promise
        assert ".py`" in where, promise
        assert missing_files(where) == [], promise
        assert missing_tests(tried) == [], promise


def test_a_promise_that_the_code_names_is_told_of() -> None:
    named = {
        int(number)
        for package in ("agentclient", "tui")
        for path in (ROOT / package).rglob("*.py")
        for number in re.findall(r"\bP(\d{1,2})\b(?=[),:. ])", path.read_text())
    }
    assert named <= set(range(1, 13))


def test_each_rule_lives_in_a_file_that_is_there() -> None:
    rules = section("Where a rule lives")
    assert rules.count("\n- *") >= 15
    assert missing_files(rules) == []


def test_each_room_is_told_of() -> None:
    rooms = {path.parent.name for path in (ROOT / "agentclient").glob("*/__init__.py")}
    told = {
        name for row in table("agentclient, room by room") for name in re.findall(r"\w+", row[0])
    }
    assert rooms <= told


def test_the_files_of_each_room_are_there() -> None:
    rooms = table("agentclient, room by room")
    assert len(rooms) > 10
    for room, _, files in rooms:
        folder = ROOT / "agentclient" / room.strip().strip("`/")
        for name in re.findall(r"`([a-z_]+)/?`", files):
            inner = [name, f"*/{name}"]
            found = [hit for one in inner for hit in (*folder.glob(one), *folder.glob(f"{one}.py"))]
            assert found or name.startswith("_"), f"{room}: {name}"
