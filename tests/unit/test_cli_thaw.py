from __future__ import annotations

import json
from typing import Any

import click
import pytest

from agentclient.model.outcome import ThawOutcome
from agentclient.model.snapshot import AgentHealth, FreezeInfo, HeldBy
from agentclient.model.states import AgentState, FreezeState
from agentclient.model.vm import VmId
from tests.unit.cli_fakes import World, frozen, world
from tui.cli.commands import thaw
from tui.main import run

__all__ = ["world"]


def _thaw(name: str, **changes: Any) -> ThawOutcome:
    values: dict[str, Any] = {
        "vm": VmId("qemu", name), "state": FreezeState.THAWED, "thawed": 2, "refused": False,
        "reason": "thawed", "seconds": 0.1, "next": None,
    }  # fmt: skip
    return ThawOutcome(**(values | changes))


@pytest.fixture
def mixed(world: World) -> World:
    world.add("web1", freeze=FreezeInfo(FreezeState.THAWED))
    world.add("web2", freeze=frozen())
    world.add("web3", agent=AgentHealth(AgentState.SILENT))
    world.add("web4", agent=AgentHealth(AgentState.NONE))
    world.operations.results = {name: _thaw(name) for name in ("web1", "web2", "web3", "web4")}
    return world


def test_thaw_by_name_takes_what_was_named(mixed: World) -> None:
    assert run(["thaw", "web1", "web2", "--foreign"]) == 0
    assert [one.vm.name for one in mixed.operations.started] == ["web1", "web2"]
    assert mixed.operations.requests == [True, True]


@pytest.mark.parametrize(
    ("terminal", "yes", "words", "decided"),
    [
        (True, True, [], [True, False]),
        (True, False, [], [False, False]),
        (False, True, [], [False, False]),
        (True, True, ["--json"], [False, False]),
        (False, False, ["--foreign"], [True, True]),
    ],
)
def test_on_a_terminal_it_asks_about_what_another_frostwatch_holds(
    mixed: World,
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    yes: bool,
    words: list[str],
    decided: list[bool],
) -> None:
    held = HeldBy(1316, "root", FreezeState.FROZEN)
    for name, kept in (("web2", False), ("web3", True)):
        by = held._replace(kept=kept, ended=kept)
        mixed.seen[name] = mixed.seen[name].with_held_by(by)
    questions: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        questions.append(question)
        return yes

    monkeypatch.setattr(thaw, "_on_terminal", lambda: terminal)
    monkeypatch.setattr(click, "confirm", confirm)
    run(["thaw", "web2", "web3", *words])
    assert mixed.operations.requests == decided
    assert len(questions) == (terminal and not words)
    assert all("qemu:web2 is frozen by root (pid 1316)" in question for question in questions)


def test_foreign_is_never_the_default(mixed: World) -> None:
    run(["thaw", "--all"])
    assert mixed.operations.requests == [False]


def test_all_takes_the_frozen_and_tells_which_are_not_known(
    mixed: World, capsys: pytest.CaptureFixture[str]
) -> None:
    # One of them may be frozen, and nobody can tell: that is no success.
    assert run(["thaw", "--all", "--foreign", "--json"]) == 1
    assert [one.vm.name for one in mixed.operations.started] == ["web2"]
    seen = capsys.readouterr()
    (line,) = map(json.loads, seen.out.splitlines())
    assert (line["event"], line["ok"], line["thawed"]) == ("outcome", True, 2)
    assert "qemu:web3" in seen.err
    assert "web4" not in seen.err


def test_nothing_to_thaw_says_so_and_exits_0(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("web1", freeze=FreezeInfo(FreezeState.THAWED))
    assert run(["thaw", "--all"]) == 0
    assert "nothing to thaw" in capsys.readouterr().err


def test_what_stays_frozen_exits_1(mixed: World, capsys: pytest.CaptureFixture[str]) -> None:
    mixed.operations.results["web2"] = _thaw(
        "web2", state=FreezeState.FROZEN, thawed=None, refused=True, next="say --foreign"
    )
    assert run(["thaw", "web1", "web2"]) == 1
    assert "next: say --foreign" in capsys.readouterr().out
