"""What the command line says: one recap, the right letters, and what may have been meant."""

from __future__ import annotations

import pytest

from agentclient.model.outcome import Outcome
from agentclient.model.states import OutcomeKind, Refusal
from tests.unit.cli_fakes import World, world
from tui.cli import table
from tui.main import run

__all__ = ["world"]

LOST = Outcome(OutcomeKind.LOST, "no answer", settled=True)
UNSENT = Outcome(OutcomeKind.REFUSED, "no", Refusal.CANCELLED, settled=True)


def test_many_are_recapped_in_one_line(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c", "d"):
        world.add(name)
    world.operations.results = {"b": LOST, "c": UNSENT, "d": LOST._replace(settled=False)}
    assert run(["freeze", "a", "b", "c", "d"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "4 VMs: ok=1 lost=2 refused=1; MAY BE FROZEN: qemu:d"


def test_one_whose_group_has_failed_is_not_called_ok(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("a")
    world.add("b")
    not_together = Outcome(OutcomeKind.VERIFIED, "it was frozen", settled=True, not_together=True)
    world.operations.results = {"a": not_together, "b": LOST}
    assert run(["freeze", "a", "b"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 VMs: no-group=1 lost=1"


def test_one_needs_no_recap_and_json_has_none(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("a")
    world.add("b")
    run(["freeze", "a"])
    assert "ok=" not in capsys.readouterr().out
    run(["freeze", "a", "b", "--json"])
    assert "ok=" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frezze", "a"], "no command is called 'frezze' (did you mean freeze?)"),
        (["freeze", "wbe1"], "no VM is called 'wbe1' (did you mean web1?)"),
        (["freeze", "qemu:web2"], "(did you mean qemu:web1"),
        (["list", "--state", "frozzen"], "(did you mean frozen?)"),
        (["freeze", "--hodl", "3s", "a"], "--hold"),
    ],
)
def test_what_may_have_been_meant(
    world: World, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    world.add("web1")
    assert run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_name_that_is_like_no_other_is_not_guessed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("web1")
    assert run(["freeze", "mail"]) == 2
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "glyphs"),
    [
        ({"LANG": "C"}, False),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "POSIX"}, False),
        ({"LANG": "de_DE.UTF-8", "TERM": "dumb"}, False),
        ({"LANG": "de_DE.UTF-8", "FROSTWATCH_ASCII": "1"}, False),
        ({"LANG": "de_DE.UTF-8"}, True),
    ],
)
def test_a_plain_locale_or_terminal_gets_ascii(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], glyphs: bool
) -> None:
    for name in ("LANG", "LC_ALL", "LC_CTYPE", "FROSTWATCH_ASCII"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm"} | told).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", type("Out", (), {"encoding": "utf-8"}))
    assert table.has_glyphs() is glyphs


def test_a_dumb_terminal_gets_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout", type("Out", (), {"isatty": staticmethod(lambda: True)}))
    for term, colours in (("dumb", False), ("xterm", True)):
        monkeypatch.setenv("TERM", term)
        assert table.coloured() is colours
