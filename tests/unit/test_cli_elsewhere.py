"""``frostwatch extend``, ``attach`` and ``freeze --detach``: what is asked, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentclient.model.errors import FrostwatchError
from agentclient.model.outcome import ExtendOutcome, Outcome
from agentclient.model.states import OutcomeKind, Refusal
from agentclient.model.vm import Vm
from tests.unit.cli_fakes import World, world
from tui.main import run

__all__ = ["world"]

UNTIL = datetime(2026, 3, 1, 17, 30, tzinfo=UTC)
KEPT = Outcome(OutcomeKind.VERIFIED, "left to its holder (pid 7)", holder=7, kept=True)


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[float | datetime]:
    """What other frostwatches are asked; one of them refuses."""
    longer: list[float | datetime] = []

    def extend(vm: Vm, how: float | datetime) -> Future[ExtendOutcome]:
        longer.append(how)
        future: Future[ExtendOutcome] = Future()
        refuses = vm.name == "web2"
        outcome = ExtendOutcome(vm.id, True, 60.0, UNTIL, "held by bob (pid 7) for 1 min more")
        if refuses:
            outcome = ExtendOutcome(vm.id, False, 0.0, None, "nobody holds it", "do this")
        future.set_result(outcome)
        return future

    world.add("web1")
    world.add("web2")
    monkeypatch.setattr(world.operations, "extend_elsewhere", extend, raising=False)
    return longer


def test_a_window_is_held_for_longer(
    asked: list[float | datetime], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extend", "web1", "--by", "1m", "--json"]) == 0
    assert asked == [60.0]
    line = json.loads(capsys.readouterr().out)
    assert line == {
        "schema": 1,
        "vm": "qemu:web1",
        "extended": True,
        "seconds": 60.0,
        "until": "2026-03-01T17:30:00.000+00:00",
        "reason": "held by bob (pid 7) for 1 min more",
        "next": None,
    }
    docs = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    section = docs.split("`frostwatch extend --json`", 1)[1].split("\n## ", 1)[0]
    assert all(f'"{key}"' in section for key in line)
    assert run(["extend", "web1", "web2", "--by", "1m"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "qemu:web2: nobody holds it. NEXT: do this"


@pytest.mark.parametrize("at_once", [True, False])
def test_one_that_can_not_be_asked_hides_nothing_of_the_others(
    asked: list[float | datetime],
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    at_once: bool,
) -> None:
    extend: Callable[[Vm, float | datetime], Future[ExtendOutcome]]
    extend = vars(world.operations)["extend_elsewhere"]

    def failing(vm: Vm, how: float | datetime) -> Future[ExtendOutcome]:
        if vm.name != "web2":
            return extend(vm, how)
        if at_once:
            raise FrostwatchError("no thread")
        future: Future[ExtendOutcome] = Future()
        future.set_exception(OSError("no descriptor"))
        return future

    monkeypatch.setattr(world.operations, "extend_elsewhere", failing)
    assert run(["extend", "web2", "web1", "--by", "1m"]) == 1
    assert asked == [60.0]
    why = "no thread" if at_once else "no descriptor"
    assert capsys.readouterr().out.splitlines() == [
        f"qemu:web2: not asked: {why}",
        "qemu:web1: held by bob (pid 7) for 1 min more",
    ]


def test_until_is_a_moment(asked: list[float | datetime]) -> None:
    assert run(["extend", "web1", "--until", "23:59:59"]) == 0
    (moment,) = asked
    assert isinstance(moment, datetime)


@pytest.mark.parametrize(
    "words",
    [
        ["extend", "web1"],
        ["extend", "web1", "--by", "5", "--until", "17:30"],
        ["extend", "web1", "--by", "0"],
        ["extend", "web1", "--until", "soon"],
        ["extend", "--by", "5"],
        ["attach"],
        ["freeze", "web1", "--detach"],
        ["freeze", "web1", "--detach", "--together", "--hold", "5"],
        ["freeze", "web1", "--detach", "--hold", "5", "--", "true"],
    ],
)
def test_bad_input_is_told_in_a_sentence_and_nothing_is_asked(
    asked: list[float | datetime],
    world: World,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(words) == 2
    assert (asked, world.operations.started) == ([], [])
    assert capsys.readouterr().out == ""


def test_a_window_that_was_left_as_was_asked_is_a_success(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("web1")
    world.operations.results = {"web1": KEPT}
    assert run(["freeze", "web1", "--hold", "5", "--detach", "--json"]) == 0
    (request,) = world.operations.requests
    assert request.keep
    *_, line = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["kept"], line["settled"]) == (True, False)
    world.operations.results = {"web1": KEPT._replace(kept=False)}
    assert run(["freeze", "web1", "--hold", "5", "--detach"]) == 1


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome(OutcomeKind.UNVERIFIED, "thawed 2", settled=True), 0),
        (Outcome(OutcomeKind.UNVERIFIED, "its holder has ended"), 1),
        (Outcome(OutcomeKind.REFUSED, "not left", Refusal.BUSY, settled=True), 1),
    ],
)
def test_what_was_attached_to_is_thawed_or_that_is_told(
    world: World, outcome: Outcome, code: int
) -> None:
    world.add("web1")
    world.operations.results = {"web1": outcome}
    assert run(["attach", "web1"]) == code
    assert [one.vm.name for one in world.operations.started] == ["web1"]
