"""The settings on the command line: what they do to commands, and ``frostwatch config``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentclient.config.describe import example
from agentclient.config.tree import KEYS
from agentclient.model.request import Schedule
from tests.unit.cli_fakes import World, world
from tests.unit.unserved import unserved_vm
from tui.cli.commands import freeze
from tui.main import run

__all__ = ["world"]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.touch(0o600)
    monkeypatch.setenv("FROSTWATCH_CONFIG", str(path))
    return path


BAD = 'hodl = "30s"\nprobes = "7"\n'


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["freeze", "db"], ["thaw", "--all"], ["doctor"], ["rescue", "db"], ["history"], []],
)
def test_every_command_ends_at_what_can_not_be_used_before_anything_is_done(
    world: World, config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    world.add("db")
    config.write_text(BAD)
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    said = f"{config}:1: nothing is called 'hodl' (did you mean hold?); 1 more: frostwatch config"
    assert told.err == f"frostwatch: {said} check\n"
    assert world.options == []


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["thaw", "--all"], ["doctor"]])
def test_who_has_set_nothing_waits_for_nothing_that_reads_settings(
    tmp_path: Path, arguments: list[str]
) -> None:
    code = (
        "import contextlib, io, sys\n"
        "from tui.main import run\n"
        "said = io.StringIO()\n"
        "with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):\n"
        f"    run({[*unserved_vm(tmp_path), *arguments]!r})\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith("agentclient.config.")}
    assert loaded == {f"agentclient.config.{one}" for one in ("defaults", "home", "paths")}
    assert "tomllib" not in done.stdout.split()


@pytest.mark.parametrize("arguments", [["--help"], ["freeze", "--help"], ["config"], ["--version"]])
def test_help_is_there_whatever_is_set(config: Path, arguments: list[str]) -> None:
    config.write_text(BAD)
    assert run(arguments) == 0


def test_another_file_or_none_takes_the_place_of_both(
    world: World, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(BAD)
    other = tmp_path / "other.toml"
    other.write_text("probes = 3")
    other.chmod(0o600)
    assert run(["--no-config", "list"]) == 0
    assert run(["list", "--config", str(other)]) == 0
    assert run(["--config", str(other), "list"]) == 0
    assert [one.policy.probes for one in world.options] == [5, 3, 3]
    assert run(["--config", str(config), "list"]) == 2
    assert f"1 more: frostwatch config check {config}" in capsys.readouterr().err
    assert run(["--config", str(other), "--no-config", "list"]) == 2
    assert run(["--config", "/none", "list"]) == 2


def test_a_freeze_is_as_it_is_set_for_each_vm_and_options_are_stronger(
    world: World, config: Path
) -> None:
    for name in ("db-1", "db-2", "web"):
        world.add(name)
    config.write_text(
        'hold = "1s"\nprobes = 2\n[[vm]]\nmatch = "db-*"\nhold = "2s"\nthaw_timeout = "9s"\n'
        '[[vm]]\nmatch = "db-2"\nmax_hold = "1h"\n'
    )
    assert run(["freeze", "db-1", "db-2", "web", "--first-timeout", "7"]) == 0
    assert [one.schedule for one in world.operations.requests] == [
        Schedule(7.0, probes=2, hold_s=2.0, thaw_timeout_s=9.0),
        Schedule(7.0, probes=2, hold_s=2.0, thaw_timeout_s=9.0, maximum_hold_s=3600.0),
        Schedule(7.0, probes=2, hold_s=1.0),
    ]
    world.operations.requests.clear()
    assert run(["freeze", "db-2", "--hold", "10m"]) == 0
    assert [one.schedule.hold_s for one in world.operations.requests] == [600.0]


def test_a_hold_that_one_vm_may_not_have_is_told_with_its_name(
    world: World, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("db")
    world.add("web")
    config.write_text('[[vm]]\nmatch = "web"\nmax_hold = "10s"')
    assert run(["freeze", "db", "web", "--hold", "30s"]) == 2
    assert "qemu:web: a hold of 30 s is outside of 0 to 10 s" in capsys.readouterr().err
    assert world.operations.requests == []


def test_what_is_frozen_together_waits_for_the_slowest_and_is_held_as_the_shortest_may_be(
    world: World,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[Any] = []

    def together(*arguments: object, **_: object) -> int:
        asked.append(arguments[2:])
        return 0

    monkeypatch.setattr(freeze, "_freeze_together", together)
    world.add("a")
    world.add("b")
    config.write_text(
        'within = "9s"\nfreezes_at_once = 3\n[[vm]]\nmatch = "a"\nfirst_timeout = "1h"\n'
        '[[vm]]\nmatch = "b"\nhold = "5s"\nmax_hold = "1m"\n'
    )
    assert run(["freeze", "a", "b", "--together"]) == 0
    ((request, within_s, at_once),) = asked
    assert request.schedule == Schedule(3600.0, hold_s=5.0, maximum_hold_s=60.0)
    assert (within_s, at_once) == (9.0, 3)
    config.write_text('hold = "20s"\n[[vm]]\nmatch = "b"\nhold = 1\nmax_hold = "10s"\n')
    assert run(["freeze", "a", "b", "--together"]) == 2
    assert "a hold of 20 s is outside of 0 to 10 s" in capsys.readouterr().err


def test_read_only_is_set_and_an_option_is_stronger(
    world: World, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("read_only = true")
    run(["list"])
    run(["--no-read-only", "list"])
    monkeypatch.setenv("FROSTWATCH_READ_ONLY", "0")
    run(["list"])
    run(["--read-only", "list"])
    assert [one.read_only for one in world.options] == [True, False, False, True]


def test_as_many_simulated_guests_as_are_set(world: World, config: Path) -> None:
    config.write_text("drill_guests = 7")
    for arguments in (["--drill"], ["--drill", "3"], []):
        run([*arguments, "list"])
    assert [one.drill for one in world.options] == [7, 3, None]


def test_the_journal_is_where_it_is_set(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(f'journal = "{tmp_path}/elsewhere/j.db"')
    (tmp_path / "elsewhere").write_text("no folder")
    assert run(["history"]) == 1
    assert f"{tmp_path}/elsewhere" in capsys.readouterr().err


# -- frostwatch config ------------------------------------------------------------------------


def test_path_names_the_files_weakest_first(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", "path"]) == 0
    assert capsys.readouterr().out == f"{config}  (FROSTWATCH_CONFIG)\n"
    monkeypatch.delenv("FROSTWATCH_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/none")
    assert run(["config", "path"]) == 0
    system, own = capsys.readouterr().out.splitlines()
    assert system.startswith("/etc/frostwatch/config.toml  (the system's")
    assert own == "/none/frostwatch/config.toml  (your own, not there)"
    assert run(["config", "path", "--no-config"]) == 0
    assert capsys.readouterr().out == ""


def test_check_tells_all_that_is_wrong(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(BAD)
    assert run(["config", "check"]) == 2
    told = capsys.readouterr()
    assert [line.split(":")[2] for line in told.err.splitlines()] == ["1", "2"]
    fine = tmp_path / "fine.toml"
    fine.write_text(example())
    fine.chmod(0o600)
    assert run(["config", "check", str(fine)]) == 0
    assert capsys.readouterr().out == f"all of it can be used: {fine}\n"
    assert run(["config", "check", str(tmp_path / "none")]) == 2
    assert run(["config", "check", "--no-config"]) == 0
    assert capsys.readouterr().out == "all of it can be used: nothing is set\n"


def test_the_example_that_is_printed_can_be_used(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", "example"]) == 0
    config.write_text(capsys.readouterr().out)
    assert run(["config", "check"]) == 0
    assert run(["config", "schema"]) == 0
    assert (
        json.loads(capsys.readouterr().out.split("\n", 1)[1])["title"] == "Settings of frostwatch"
    )


def test_show_tells_what_counts_and_where_it_was_said(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text('hold = "90s"\n[[vm]]\nmatch = "db-*"\nnever_ask = true')
    monkeypatch.setenv("FROSTWATCH_PROBES", "7")
    assert run(["--max-hold", "10m", "config", "show"]) == 0
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert words[0] == ["SETTING", "VALUE", "SET", "BY"]
    assert ["hold", "90s", f"{config}:1"] in words
    assert ["probes", "7", "FROSTWATCH_PROBES"] in words
    assert ["max_hold", "10m", "--max-hold"] in words
    assert ["within", "30s", "default"] in words
    assert words[-2:] == [["for", "db-*:"], ["never_ask", "true", f"{config}:4"]]
    assert run(["config", "show", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == [*(key.name for key in KEYS), "never_ask"]


def test_show_tells_what_counts_for_one_vm_by_all_that_it_is_called(
    world: World, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("db")
    config.write_text('[[vm]]\nmatch = "qemu:db"\nprobes = 9\n[[vm]]\nmatch = "new"\nprobes = 8')
    assert run(["config", "show", "--vm", "db", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["vm"] for line in lines} == {"qemu:db"}
    assert [line["value"] for line in lines if line["name"] == "probes"] == [9]
    assert run(["config", "show", "--vm", "new"]) == 0
    told = capsys.readouterr()
    assert f"probes            8      {config}:6" in told.out
    assert "no VM is called 'new'" in told.err
    config.write_text(BAD)
    assert run(["config", "show"]) == 2


def test_a_terminal_is_drawn_on_as_is_set(
    world: World,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("LC_ALL", "LC_CTYPE", "NO_COLOR", "FROSTWATCH_ASCII"):
        monkeypatch.setenv(name, "")  # so that it is as it was, afterwards
    world.add("db")
    run(["list"])
    assert "? unknown" in capsys.readouterr().out
    config.write_text("ascii = true\ncolours = false\n")
    run(["list"])
    assert "? unknown" not in capsys.readouterr().out
    assert os.environ["NO_COLOR"]
    for no in ("0", "false", "off"):
        monkeypatch.setenv("FROSTWATCH_ASCII", no)  # stronger than the file
        run(["list"])
        assert "? unknown" in capsys.readouterr().out, no
