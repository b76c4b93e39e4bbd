"""``freeze … -- COMMAND`` on the command line: what is read, what is refused, what is told."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli_fakes import World, world
from tui.main import run

__all__ = ["world"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["web1", "--"], "there is no command"),
        (["web1", "--", ""], "there is no command"),
        (["--", "true"], "Missing argument"),
        (["web1", "--", "--", "true"], "no command is called '--'"),
        (["web1", "--", "nope-nope"], "no command is called 'nope-nope'"),
        (["web1", "--hold", "0", "--", "true"], "a command needs a window"),
        (["web1", "--hold", "1h", "--", "true"], "--max-hold"),
        (["web1", "--policy", "never", "--", "true"], "'require', 'prefer'"),
        (["web1", "--thaw-when", "now", "--", "true"], "'command-ended', 'job-started'"),
        (["web1", "--disk", "a", "--", "true"], "--thaw-when=job-started"),
        (["web1", "--policy", "prefer"], "--policy is for a command"),
        (["web1", "--on-overrun", "kill"], "--on-overrun is for a command"),
        (["web1", "--thaw-when", "job-started"], "--thaw-when is for a command"),
        (["web1", "--disk", "a"], "--disk is for a command"),
        (["web1", "web2", "--at-once", "1", "--", "true"], "2 VMs can't be frozen for a command"),
        (["web1", "--mount", "", "--", "true"], "is no mount point"),
        (["web1", "--together", "--within", "2m", "--", "true"], "choose a shorter --within"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_frozen(
    world: World, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    world.add("web1")
    world.add("web2")
    assert run(["freeze", *arguments]) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.count("\n") == 1
    assert words in seen.err
    assert world.operations.started == []


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 1)])
def test_a_command_on_two_simulated_guests(
    capfd: pytest.CaptureFixture[str], script: str, code: int
) -> None:
    arguments = ["--drill", "3", "--drill-speed", "10", "freeze", "db1", "mail1", "--json"]
    assert run([*arguments, "--", "sh", "-c", f"echo --json; {script}"]) == code
    seen = capfd.readouterr()
    assert seen.err == "--json\n"
    lines = [json.loads(line) for line in seen.out.splitlines()]
    jobs = [line for line in lines if line["event"] == "job"]
    assert [job["ok"] for job in jobs] == [code == 0] * 2
    assert {job["command"]["exit_code"] for job in jobs} == {0 if code == 0 else 7}
    assert all("s" in line for line in lines)


def test_a_person_reads_of_the_command_once(capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--drill", "3", "--drill-speed", "10", "freeze", "db1", "mail1"]
    assert run([*arguments, "--", "true"]) == 0
    out = capfd.readouterr().out
    assert out.count("command: the command runs, pid") == 1
    assert out.count("command: the command has ended: exit code 0") == 1
    assert out.splitlines()[-1] == "2 VMs: consistent=2"


def test_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["freeze", "--help"]) == 0
    assert "VM... [-- COMMAND ARG...]" in capsys.readouterr().out
