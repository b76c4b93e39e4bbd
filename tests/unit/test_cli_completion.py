"""What a shell is told when Tab is pressed: commands, options, states, and names of VMs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.needed import program as find_program
from tests.unit.cli_fakes import FakeBackend, World, world
from tui.cli import completion
from tui.main import cli, run

__all__ = ["world"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def three(world: World) -> World:
    """Of two VMs with one name each has its id, and of one that a shell would expand nothing is."""
    for name in ("web1", "db-1", "$(reboot)", "a b", "*"):
        world.add(name)
    world.add("twin")
    world.add("twin", source="libvirt")
    return world


def completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> list[str]:
    """Press Tab behind the last word, which may be empty."""
    monkeypatch.setenv("COMP_WORDS", " ".join(("frostwatch", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert completion.answer(cli, "bash_complete") == 0
    seen = capsys.readouterr()
    assert seen.err == ""
    return [line.partition(",")[2] for line in seen.out.split("\n") if line]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["fr"], ["freeze"]),
        (["freeze", ""], ["db-1", "libvirt:twin", "qemu:twin", "web1"]),
        (["freeze", "web1", "w"], []),
        (["freeze", "web1", "d"], ["db-1"]),
        (["thaw", "w"], ["web1"]),
        (["freeze", "--str"], ["--strict"]),
        (["backup", "ve"], ["verify"]),
        (["backup", "w"], ["web1"]),
        (["backup", "web1", "ve"], []),
        (["snapshot", "create", "w"], ["web1"]),
        (["rescue", "--rung", "s"], ["sysrq"]),
        (["list", "--state", "froz"], ["frozen"]),
        (["config", "show", "--vm", "w"], ["web1"]),
        (["--drill", "4", "freeze", "d"], ["db1"]),
        (["freeze", "--drill", "5", "db1", ""], ["app1", "files1", "mail1", "web1"]),
        (["frezze", "wa"], ["watch"]),
        (["--config", "/nothing/there", "freeze", "w"], []),
    ],
)
def test_what_can_follow(
    three: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    found: list[str],
) -> None:
    assert completed(monkeypatch, capsys, *words) == found
    assert three.operations.started == []
    assert all(state.agent.state == "unknown" for state in three.fleet.states()), "nobody is asked"


def test_a_name_that_would_be_something_else_is_completed_as_an_id(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option of ours, a comment of bash's, a path of zsh's, a job."""
    for name in ("--foreign", "-y", "#db1", "=ls", "%1", "web-1"):
        world.add(name)
    found = completed(monkeypatch, capsys, "thaw", "")
    assert found == ["qemu:#db1", "qemu:%1", "qemu:--foreign", "qemu:-y", "qemu:=ls", "web-1"]


def test_a_command_of_the_operators_is_left_to_the_shell(
    three: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_WORDS", "frostwatch freeze web1 -- zf")
    monkeypatch.setenv("COMP_CWORD", "4")
    completion.answer(cli, "bash_complete")
    assert capsys.readouterr().out == "file,zf\n"


def test_a_source_that_hangs_completes_nothing_and_keeps_nobody(
    three: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = threading.Event()
    monkeypatch.setattr(FakeBackend, "list_vms", lambda _: ends.wait(60) and [])
    monkeypatch.setattr(completion, "LISTED_WITHIN_S", 0.01)
    assert completed(monkeypatch, capsys, "freeze", "w") == []
    ends.set()


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_each_shell_has_its_script(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert run(["completion"]) == 0
    told = capsys.readouterr().out
    assert "_FROSTWATCH_COMPLETE" in told
    assert run(["completion", shell]) == 0
    assert capsys.readouterr().out == told
    monkeypatch.setenv("SHELL", "/usr/bin/tcsh")
    assert run(["completion"]) == 2


def in_a_shell(tmp_path: Path, name: str, options: list[str], script: str) -> list[str]:
    """Run a script in a shell that has the program in its path, and return what it says."""
    program = tmp_path / "frostwatch"
    program.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m tui.main "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [find_program(name, package=name), *options, "-c", script],
        env={**os.environ, "PATH": path, "FROSTWATCH_CONFIG": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines() or [done.stderr]


def test_in_a_fish(tmp_path: Path) -> None:
    script = (
        "frostwatch completion fish | source\n"
        "complete -C 'frostwatch --drill 6 freeze d'\n"
        "complete -C 'frostwatch list --state fro'\n"
    )
    said = in_a_shell(tmp_path, "fish", ["--no-config"], script)
    assert [line.split("\t")[0] for line in said] == ["db1", "frozen"]


def test_in_a_bash(tmp_path: Path) -> None:
    """Its own script, and the program as the shell calls it."""
    script = (
        "source <(frostwatch completion bash)\n"
        "COMP_WORDS=(frostwatch --drill 6 freeze d) COMP_CWORD=4\n"
        "_frostwatch_completion frostwatch\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    assert in_a_shell(tmp_path, "bash", ["--norc"], script) == ["db1"]
