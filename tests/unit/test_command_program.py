"""A command that can't be started is refused before anything is frozen for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentclient.jobs.command.program import find_program
from agentclient.model.errors import BadInput


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _file(path: Path, content: str, mode: int = 0o755) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_it_is_found_in_path_and_by_a_relative_path(here: Path) -> None:
    (here / "bin").mkdir()
    there = _file(here / "bin" / "snap", "#!/bin/sh\n")
    assert find_program(["snap", "x"], {"PATH": f"/nowhere:{here}/bin"}).path == there
    found = find_program(["bin/snap", "a b"], {"PATH": ""})
    assert (found.path, found.argv) == (there, ("bin/snap", "a b"))
    assert find_program(["sh"], os.environ).path.name == "sh"


def test_a_file_that_can_be_executed_wins_over_one_that_cannot(here: Path) -> None:
    for name in ("one", "two"):
        (here / name).mkdir()
    _file(here / "one" / "snap", "#!/bin/sh\n", 0o644)
    good = _file(here / "two" / "snap", "#!/bin/sh\n")
    assert find_program(["snap"], {"PATH": f"{here}/one:{here}/two"}).path == good
    with pytest.raises(BadInput, match="not executable"):
        find_program(["snap"], {"PATH": f"{here}/one"})


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "there is no command"),
        ([""], "there is no command"),
        (["--"], "no command is called '--'"),
        (["nope-nope"], "PATH was searched"),
        (["./nope"], "No such file"),
        (["."], "no command is called '.'"),
        (["./"], "is a directory"),
        (["./plain"], "not executable"),
        (["./bare"], "start it with: sh ./bare"),
        (["./lost"], "names /nowhere/sh, which is no program"),
        (["./half"], "names nothing"),
        (["./plain/x"], "Not a directory"),
        (["a\0b"], "NUL"),
        (["./" + "x" * 300], "File name too long"),
        (["\x1b[2J"], r"no command is called '\\\\x1b\[2J'"),
    ],
)
def test_what_cannot_be_started_is_told_in_a_sentence(
    here: Path, argv: list[str], words: str
) -> None:
    _file(here / "plain", "x", 0o644)
    _file(here / "bare", "echo hello\n")
    _file(here / "lost", "#!/nowhere/sh -e\n")
    _file(here / "half", "#!\n")
    with pytest.raises(BadInput, match=words):
        find_program(argv, {"PATH": "/usr/bin:/bin"})
