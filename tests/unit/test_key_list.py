"""The list of keys is what the console binds, and the README names no key that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("click_man", reason="make .venv/.dev installs it")

from textual.binding import Binding

from tests.manual.keys import FILE, text
from tui.console import keymap
from tui.shared.key_names import key_name

README = Path(__file__).parents[2] / "README.md"
# As the README writes them.
ALSO = {"arrows": "Up", "space": "Space", "←": "Left", "→": "Right", "Escape": "Esc"}


def test_it_is_as_the_console_binds() -> None:
    assert FILE.read_text() == text(), "write it again with: make man"


def test_every_action_has_a_line() -> None:
    lines = FILE.read_text().splitlines()
    for _, bindings in keymap.HELP:
        for one in bindings:
            assert isinstance(one, Binding)
            assert sum(f"| {one.tooltip} |" in line for line in lines) == 1


def test_the_readme_names_no_key_that_there_is_not() -> None:
    bound = {
        key_name(key)
        for _, bindings in keymap.HELP
        for one in bindings
        if isinstance(one, Binding)
        for key in one.key.split(",")
    }
    section = README.read_text().partition("| key | what it does |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    named = {ALSO.get(key, key) for row in rows for key in re.findall(r"`([^`]+)`", row)}
    assert named <= bound
    # What acts on a guest, or opens a page, is in the README.
    acting = [*keymap.ACTIONS, *keymap.PAGES]
    keys = {key_name(one.key.split(",")[0]) for one in acting if isinstance(one, Binding)}
    assert keys - named <= {"r", "Space"}
