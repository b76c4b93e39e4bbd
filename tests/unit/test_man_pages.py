"""The man pages say what the commands say of themselves."""

from __future__ import annotations

import re

import pytest

from tui.cli.lazy_group import COMMANDS

pytest.importorskip("click_man", reason="make .venv/.dev installs it")

from tests.manual.pages import FOLDER, pages


def test_they_are_as_the_commands_are() -> None:
    written = {path.name: path.read_text() for path in FOLDER.glob("*.1")}
    assert written == pages(), "write them again with: make man"


def test_each_command_has_one_and_no_line_is_taken_for_a_request() -> None:
    found = pages()
    assert {f"frostwatch-{name}.1" for name in COMMANDS} < set(found)
    known = re.compile(r"\.(?:TH|SH|PP|TP|B)\b")
    for name, text in found.items():
        odd = [line for line in text.splitlines() if line[:1] in ".'" and not known.match(line)]
        assert odd == [], name
