from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agentclient.model.errors import FrostwatchError
from agentclient.model.outcome import Outcome
from agentclient.model.states import Cause, OutcomeKind, Refusal
from agentclient.model.vm import Vm
from tests.unit.cli_fakes import VERIFIED, World, world
from tests.unit.no_thread import each_lack
from tui.main import run

__all__ = ["world"]

LOST = Outcome(
    OutcomeKind.LOST,
    "the agent was killed",
    cause=Cause.AGENT_GONE,
    next="frostwatch thaw --foreign qemu:web1",
)


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_stream_of_events_ends_with_an_outcome_for_each_vm(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("web1")
    world.add("web2")
    assert run(["freeze", "web1", "qemu:web2", "--json"]) == 0
    seen = capsys.readouterr()
    assert seen.err == ""
    lines = _lines(seen.out)
    assert [(line["vm"], line["event"]) for line in lines] == [
        ("qemu:web1", "verdict"),
        ("qemu:web1", "outcome"),
        ("qemu:web2", "verdict"),
        ("qemu:web2", "outcome"),
    ]
    assert {line["schema"] for line in lines} == {1}
    assert lines[0]["thawed"] is None
    assert lines[1]["outcome"] == "verified"
    assert lines[1]["thawed"] == 2


@pytest.mark.parametrize(
    "outcome",
    [
        LOST,
        Outcome(OutcomeKind.REFUSED, "no", refusal=Refusal.READ_ONLY, settled=True),
        Outcome(OutcomeKind.UNVERIFIED, "maybe", frozen=1, thawed=1, settled=True),
        Outcome(OutcomeKind.VERIFIED, "frozen, and not thawed", frozen=2),
    ],
)
def test_anything_but_verified_and_thawed_exits_1(world: World, outcome: Outcome) -> None:
    world.add("web1")
    world.add("web2")
    world.operations.results = {"web2": outcome}
    assert run(["freeze", "web1", "web2"]) == 1


def test_a_person_reads_lines_with_vm_clock_and_the_next_command(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("web1")
    world.operations.results = {"web1": LOST}
    run(["freeze", "web1"])
    out = capsys.readouterr().out
    assert "qemu:web1     0:00.0  the end" in out
    assert "frozen not answered, thawed not answered" in out
    assert "next: frostwatch thaw --foreign qemu:web1" in out


def test_the_request_is_what_was_asked_for(world: World) -> None:
    world.add("web1")
    arguments = ["--mount", "/", "--mount", "/var", "--strict", "--hold", "1m30s"]
    arguments += ["--first-timeout", "20", "--probe-timeout", "2m", "--probes", "0"]
    assert run(["freeze", *arguments, "web1"]) == 0
    (request,) = world.operations.requests
    assert request.mounts == ("/", "/var")
    assert request.strict
    schedule = request.schedule
    assert (schedule.hold_s, schedule.first_timeout_s, schedule.probe_timeout_s) == (90, 20, 120)
    assert schedule.probes == 0


def test_the_defaults_are_one_hour_in_all_and_no_hold(world: World) -> None:
    world.add("web1")
    run(["freeze", "web1"])
    (request,) = world.operations.requests
    assert request.schedule.total_s == 3600
    assert request.schedule.hold_s == 0
    assert request.mounts == ()
    assert not request.strict


def test_a_vm_named_twice_is_frozen_once(world: World) -> None:
    world.add("web1")
    run(["freeze", "web1", "qemu:web1", "web1"])
    assert len(world.operations.started) == 1


def test_an_unknown_vm_beside_a_source_that_cannot_look_says_both(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.problem = FrostwatchError("can't read /proc")
    assert run(["freeze", "web1"]) == 2
    err = capsys.readouterr().err
    assert "web1" in err
    assert "can't read /proc" in err


def test_what_a_guest_says_cannot_move_the_cursor(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("db[/]1")
    world.operations.results = {
        "db[/]1": Outcome(OutcomeKind.FAILED, "x", next="say \x1b[2J[red]\n", settled=True)
    }
    run(["freeze", "db[/]1"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red]" in out
    assert VERIFIED.settled


@pytest.mark.parametrize("problem", [FrostwatchError("gone"), OSError("odd")])
@pytest.mark.parametrize("command", [["freeze"], ["freeze", "--together"], ["thaw"], ["attach"]])
def test_what_was_begun_is_thawed_and_told_before_why_not_all_could_be(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    problem: Exception,
) -> None:
    """It was left to its holder after 2 s, and nobody was told that the first VM is frozen."""
    for name in ("web1", "web2", "web3"):
        world.add(name)
    world.operations.pending = True
    start = world.operations._start

    def fails_at_the_second(one: Vm, *arguments: Any) -> Any:
        if one.name == "web2":
            raise problem
        return start(one, *arguments)

    monkeypatch.setattr(world.operations, "_start", fails_at_the_second)
    assert run([*command, "web1", "web2", "web3"]) == 1
    seen = capsys.readouterr()
    assert [one.vm.name for one in world.operations.started] == ["web1"]
    assert "cancel" in world.operations.started[0].calls
    assert "the end" in seen.out, "the first one's outcome is told"
    assert f"not all could be begun ({problem}): waiting until 1 VM is thawed" in seen.err
    assert seen.err.rstrip().endswith(f"frostwatch: {problem}")


@each_lack
def test_without_a_thread_to_tell_what_happens_nothing_is_sent(
    world: World,
    start: Callable[..., None],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.add("web1")
    monkeypatch.setattr(threading.Thread, "start", start)
    assert run(["freeze", "web1"]) == 1
    seen = capsys.readouterr()
    assert seen.err == (
        f"frostwatch: there is no thread to tell what happens ({why}); nothing was sent\n"
    )
    assert world.operations.started == []
