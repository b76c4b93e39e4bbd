"""Tables of the command line: as wide as the terminal, and no word is lost that was asked for."""

from __future__ import annotations

import pytest

from tui.cli import table
from tui.cli.table import Cell, fitted
from tui.shared.fit import fit_apart

HEADER = ("VM", "ALSO", "STATE", "BY", "NOTE")
NOTE = "a command of theirs is likely pending since the morning"


def rows(*names: str) -> list[tuple[Cell, ...]]:
    return [
        (Cell(name), Cell(""), Cell("frozen"), Cell("reply in 43 ms"), Cell(note))
        for name, note in zip(names, (NOTE, *[""] * len(names)), strict=False)
    ]


def lines(monkeypatch: pytest.MonkeyPatch, room: int | None, *names: str) -> list[str]:
    monkeypatch.setattr(table, "room_of_terminal", lambda: room)
    return fitted(HEADER, rows(*names), below="NOTE", drop=("BY",), cut=("VM",))


def test_where_no_person_looks_a_table_is_as_wide_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    header, first, second = lines(monkeypatch, None, "db1", "db2")
    assert header.split() == list(HEADER)
    assert first.endswith(NOTE)
    assert second.split()[0] == "db2"


def test_a_narrow_one_loses_first_what_is_empty_then_what_is_dispensable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    width = len(lines(monkeypatch, None, "db1", "db2")[1])
    for room, titles in ((width, HEADER), (width - 1, ("VM", "STATE", "BY", "NOTE"))):
        header, first, _ = lines(monkeypatch, room, "db1", "db2")
        assert header.split() == list(titles)
        assert first.endswith(NOTE)
    header, first, *note, second = lines(monkeypatch, 40, "db1", "db2")
    assert header.split() == ["VM", "STATE", "BY"]
    assert " ".join(part.strip() for part in note) == NOTE
    assert all(part.startswith("    ") for part in note)
    assert second.split()[0] == "db2"
    header, *_ = lines(monkeypatch, 20, "db1", "db2")
    assert header.split() == ["VM", "STATE"]
    header, first, *_ = lines(monkeypatch, 20, "a-name-that-is-too-long-for-it", "db2")
    assert first.split() == ["a-name…or-it", "frozen"]


@pytest.mark.parametrize("room", range(20, 120, 7))
def test_every_line_fits(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    for line in lines(monkeypatch, room, "db1", "a-name-that-is-too-long-for-it"):
        assert len(line) <= room


LONG = ("qemu:web-production-frankfurt-01", "qemu:web-production-stuttgart-01")


@pytest.mark.parametrize("room", [20, 24, 30, 40, 49])
def test_no_two_vms_look_the_same_and_what_is_cut_says_so(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(table, "room_of_terminal", lambda: room)
    found = fitted(HEADER, rows(*LONG), below="NOTE", drop=("BY",), cut=("VM",), apart="VM")
    text = "\n".join(found)
    assert all(len(line) <= room for line in found)
    joined = text.replace("\n", "")
    for name in LONG:
        assert name in joined or "…" in text
    if "…" not in text:
        assert joined.count("qemu:web") == 2
    else:
        shown = [line.split()[0] for line in found if line.startswith("qemu")]
        assert len({*shown}) == 2


def test_a_name_is_cut_where_it_can_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "room_of_terminal", lambda: 30)
    names = ("qemu:a-very-long-name-01", "qemu:a-very-long-name-02")
    found = fitted(HEADER, rows(*names), below="NOTE", drop=("BY",), cut=("VM",), apart="VM")
    assert [line.split()[0] for line in found if "frozen" in line] == [
        "qemu:a-very…ng-name-01",
        "qemu:a-very…ng-name-02",
    ]


@pytest.mark.parametrize("width", [6, 8, 12, 20])
def test_names_beside_bars_are_told_apart(width: int) -> None:
    names = [*LONG, "db1", "a" * 40 + "x" + "b" * 40, "a" * 40 + "y" + "b" * 40, *LONG]
    shown = fit_apart(names, width)
    assert all(len(one) <= width for one in shown)
    assert len({*shown}) == len({*names})
    assert shown[:2] == shown[-2:]
    assert shown[2] == "db1"
