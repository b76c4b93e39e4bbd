from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.unit.cli_fakes import World, vm, world
from tui.main import run

__all__ = ["world"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nonsense"], "nonsense"),
        (["list", "--nonsense"], "--nonsense"),
        (["list", "--named-only"], "--vm"),
        (["list", "--state", "nonsense"], "nonsense"),
        (["list", "--state", ""], "no state"),
        (["list", "--older-than", "-5"], "-5"),
        (["freeze"], "VM"),
        (["freeze", "nobody"], "nobody"),
        (["freeze", "twin"], "qemu:twin and socket:twin"),
        (["freeze", "web1", "nobody"], "nobody"),
        (["freeze", "web1", "--hold", "300"], "120"),
        (["freeze", "web1", "--hold", "-1"], "no duration"),
        (["freeze", "web1", "--hold", "nan"], "duration"),
        (["freeze", "web1", "--hold", "inf"], "duration"),
        (["freeze", "web1", "--first-timeout", "0"], "longer than 0"),
        (["freeze", "web1", "--probe-timeout", "0s"], "longer than 0"),
        (["freeze", "web1", "--probes", "-1"], "-1"),
        (["freeze", "web1", "--probes", "many"], "many"),
        (["freeze", "web1", "--probes", "9" * 400], "9"),
        (["freeze", "web1", "--mount", " "], "mount point"),
        (["freeze", "\x1b[2Jx"], "\\x1b"),
        (["thaw"], "--all"),
        (["thaw", "--all", "web1"], "exclude"),
        (["thaw", "nobody"], "nobody"),
        (["rescue"], "VM"),
        (["rescue", "nobody"], "nobody"),
        (["rescue", "web1", "--rung", "jump"], "jump"),
        (["rescue", "web1", "--yes"], "--yes needs --rung"),
        (["rescue", "web1", "--rung", "reset", "--yes"], "--confirm-name"),
        (["rescue", "web1", "--rung", "reset", "--confirm-name", "web2"], "not the name"),
        (["rescue", "web1", "--rung", "reset"], "--confirm-name"),
        (["rescue", "web1", "--rung", "sysrq"], "--yes"),
        (["rescue", "web1", "--rung", "wait"], "--yes"),
        (["rescue", "web1", "--rung", "thaw", "--confirm-name", "web1"], "--rung reset"),
        (["rescue", "web1", "--rung", "thaw", "--serial", "serial0"], "for SysRq"),
        (["doctor", "nobody"], "nobody"),
        (["doctor", "a", "b"], "b"),
        (["--interval", "0", "list"], "polite"),
        (["--interval", "inf", "list"], "duration"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    world: World, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    world.add("web1")
    world.add("twin")
    world.add("twin", source="socket")
    assert run(arguments) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.startswith("frostwatch: ")
    assert seen.err.count("\n") == 1
    assert word in seen.err
    assert "\x1b" not in seen.err
    assert not world.operations.started


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("frostwatch ")
    for command in ([], ["list"], ["freeze"], ["thaw"], ["rescue"], ["doctor"]):
        assert run([*command, "--help"]) == 0
        assert "--vm SPEC" in capsys.readouterr().out


@pytest.fixture
def listening(tmp_path: Path) -> Path:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


def test_an_agent_that_cannot_be_reached_is_one_sentence(
    world: World, tmp_path: Path, listening: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.vms = [vm("gone", agent=tmp_path / "nothing"), vm("here", agent=listening)]
    assert run(["freeze", "gone"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("frostwatch: qemu:gone: the agent's socket: ")
    assert err.count("\n") == 1
    assert run(["freeze", "here"]) == 0


@pytest.mark.parametrize("command", [["list"], ["freeze", "x"], ["thaw", "x"], ["thaw", "--all"]])
@pytest.mark.parametrize("key", ["agent", "monitor"])
def test_a_socket_that_was_named_and_is_not_there_is_bad_input(
    command: list[str], key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--vm", f"name=x,{key}={tmp_path}/nothing"]) == 2
    seen = capsys.readouterr()
    assert f"{tmp_path}/nothing" in seen.err
    assert seen.err.count("\n") == 1
    assert seen.out == ""


@pytest.mark.parametrize(
    "spec", ["", "x", "name=x", "name=,agent=/a", "name=x,agent=/a,agent=/b", "name=x,nonsense=1"]
)
def test_a_broken_spec_is_bad_input(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--vm", spec]) == 2
    assert capsys.readouterr().err.startswith("frostwatch: --vm")
