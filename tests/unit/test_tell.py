"""What a person is told fits the terminal, and what is told elsewhere is left as it is."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import AgentHealth
from agentclient.model.states import AgentState, KnownBy, OutcomeKind
from tests.unit.cli_fakes import World, frozen, world
from tui.cli import tell
from tui.main import run
from tui.shared.folding import folded

__all__ = ["world"]

ROOT = Path(__file__).parents[2]
NOTE = "a command of theirs is likely pending since the morning"
SAYS = re.compile(
    r"\bclick\.(?:s?echo|confirm|prompt)\(|(?<![.\w])print\(|sys\.std(?:out|err)\.write\("
)
# `output` writes what `tell` has folded, in its own thread.
WRITERS = ("tui/cli/stdout.py", "tui/cli/tell.py", "tui/cli/output.py")


def test_nobody_else_writes_to_a_terminal() -> None:
    files = [*(ROOT / "tui" / "cli").rglob("*.py"), ROOT / "tui" / "main.py"]
    places = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        if str(path.relative_to(ROOT)) not in WRITERS
        for line in path.read_text().splitlines()
        if SAYS.search(line)
    ]
    assert places == ['tui/main.py: click.echo(f"frostwatch {number}")']


def test_a_sentence_is_broken_at_words_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"  {NOTE} in {'/a-path' * 9}"
    tell.out(text)
    assert capsys.readouterr().out == f"{text}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    tell.out(text)
    tell.err(text)
    seen = capsys.readouterr()
    first, *rest = seen.out.splitlines()
    assert first.startswith("  a command")
    assert all(line.startswith("    ") for line in rest)
    assert rest[-1].strip() == "/a-path" * 9, "what is to be copied stays whole"
    assert all(len(line) <= 40 for line in (first, *rest[:-1]))
    assert seen.err == f"{text}\n", "that goes elsewhere"


def test_a_command_that_is_to_be_copied_stays_on_one_line() -> None:
    command = "frostwatch thaw --vm name=db1,agent=/run/db1.qga --foreign db1"
    text = f"db1: left frozen by pid 4711, which has ended; thaw it with: {command}; that is all"
    for columns in (40, 60, 80):
        lines = folded(text, columns).splitlines()
        assert [line for line in lines if command in line], lines
        assert " ".join(line.strip() for line in lines) == text
    odd = "frostwatch thaw 'qemu:a\u00a0b'"  # no-break: it is another VM with another blank
    assert odd in folded(f"{'word ' * 20}then: {odd}; that is all", 60)
    held = "it is another frostwatch holds it, as a rule: frostwatch: that is no command at all"
    assert max(map(len, folded(held, 40).splitlines())) <= 40


WORDS = st.lists(st.text("ab é世", min_size=1, max_size=12), min_size=1, max_size=30).map(" ".join)


@settings(max_examples=80, deadline=None)
@given(WORDS, st.integers(1, 130), st.integers(0, 90))
def test_no_word_is_lost_and_no_line_is_too_long(text: str, columns: int, below: int) -> None:
    shown = folded(text, columns, below)
    assert shown.split() == text.split()
    if columns >= 40:
        assert all(cell_len(line) <= columns for line in shown.splitlines())


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--state", "frozzen"],
        ["freeze", "a", "b", "c"],
        ["freeze", "d"],
        ["thaw", "a"],
        ["thaw"],
        ["rescue", "a"],
        ["rescue", "b"],
        ["jobs", "--clear"],
        ["config", "show"],
        ["config", "path"],
        ["history"],
        ["extend", "a"],
        ["--or-drill", "list"],
    ],
)
def test_all_that_commands_tell_fits(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    columns: int,
) -> None:
    silent = AgentHealth(AgentState.SILENT, KnownBy.DEADLINE, detail="it did not answer for 5 s")
    world.add("a", freeze=frozen())
    world.add("b", agent=silent)
    world.add("c")
    reason = "it was lost " * 20
    world.operations.results = {"b": Outcome(OutcomeKind.LOST, reason.strip(), settled=False)}
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}.isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    run(arguments)
    seen = capsys.readouterr()
    lines = [*seen.out.splitlines(), *seen.err.splitlines()]
    assert lines
    too_long = [line for line in lines if len(line) > columns and " frostwatch " not in line]
    assert not too_long


@pytest.mark.parametrize("say", [tell.out, tell.err, tell.note])
def test_nothing_from_outside_moves_the_cursor(
    capsys: pytest.CaptureFixture[str], say: Callable[[str], None]
) -> None:
    say("  risk: \x1b[2J\u202e\n  and the next line")
    said = "".join(capsys.readouterr())
    assert said.endswith("  risk: \\x1b[2J\\u202e\n  and the next line\n")


def test_a_question_moves_no_cursor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\n"))
    tell.confirmed("thaw \x1b[2J?")
    tell.typed("its name \x1b[2J?")
    assert "\x1b" not in "".join(capsys.readouterr())


def test_a_users_name_moves_no_cursor(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.vms.append(world.add("web1")._replace(user="eve\x1b[2J"))
    del world.vms[0]
    assert run(["list"]) == 0
    out = capsys.readouterr().out
    assert "eve\\x1b[2J" in out
    assert "\x1b" not in out
