"""The rescue ladder on the command line: printed, asked about, and taken rung by rung."""

from __future__ import annotations

import io
import json
from concurrent.futures import Future

import pytest

from agentclient.model.rescue import Means, Rung, RungResult, Step
from agentclient.model.snapshot import FreezeInfo, VmState
from agentclient.model.states import FreezeState
from agentclient.model.vm import Vm, VmId
from agentclient.operations.rescue.ladder import LadderFacts, Offer, ladder
from tests.unit.cli_fakes import AT, FakeOperations, World, frozen, world
from tui.cli.commands import rescue
from tui.main import run

__all__ = ["world"]

THAWED = FreezeInfo(FreezeState.THAWED, AT)
BY_KEY = Step(Rung.SYSRQ, Means.KEY)


def ladder_of_a_thawed_guest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = world.add("db1", freeze=THAWED)
    state = VmState(one, freeze=THAWED)

    def ladder_of(_: object, vm: Vm, **__: object) -> Future[tuple[Offer, ...]]:
        look: Future[tuple[Offer, ...]] = Future()
        look.set_result(ladder(LadderFacts(state._replace(vm=vm), world.operations.view)))
        return look

    monkeypatch.setattr(FakeOperations, "ladder", ladder_of)


@pytest.fixture
def frozen_world(world: World) -> World:
    world.add("db1")
    return world


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Sit at a terminal, and type."""
    monkeypatch.setattr(rescue, "_on_terminal", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_without_a_terminal_the_ladder_is_printed_and_nothing_done(
    frozen_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rescue", "db1"]) == 1
    out = capsys.readouterr().out
    for words in (
        "1. connect: not now: no agent runs (port closed)",
        "3. wait: makes sense now",
        "4. sysrq by key: makes sense now",
        "5. sysrq by serial: not now: the guest has no serial port",
        "6. reset: makes sense now",
        "kernel.sysrq there is 1 or has bit 64",
        "Risk: Everything that runs in the guest is lost",
    ):
        assert words in out
    assert frozen_world.operations.started == []


@pytest.mark.parametrize(
    ("freeze", "said"),
    [
        (THAWED, "qemu:db1: nothing is frozen, as its agent says: there is nothing to rescue"),
        (frozen(), "qemu:db1 is frozen, by somebody else"),
        (FreezeInfo(), "qemu:db1: whether it is frozen isn't known: its agent is unknown"),
    ],
)
def test_whether_there_is_anything_to_rescue_is_told_first(
    world: World, capsys: pytest.CaptureFixture[str], freeze: FreezeInfo, said: str
) -> None:
    world.add("db1", freeze=freeze)
    world.add("other", freeze=frozen())
    assert run(["rescue", "db1"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == f"frostwatch: {said}"
    other = world.fleet.get(VmId("qemu", "other"))
    assert other.freeze.state is None, "only the one that is asked for is visited"


def test_where_no_rung_makes_sense_nobody_is_asked(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ladder_of_a_thawed_guest(world, monkeypatch)
    typed(monkeypatch, "y")
    assert run(["rescue", "db1"]) == 1
    seen = capsys.readouterr()
    assert "no rung makes sense now" in seen.err
    assert "passed over" not in seen.err
    assert world.operations.started == []


def test_the_ladder_as_json(frozen_world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rescue", "db1", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["rung"], one["by"]) for one in lines] == [
        ("connect", None), ("thaw", None), ("wait", None),
        ("sysrq", "key"), ("sysrq", "serial"), ("reset", None),
    ]  # fmt: skip
    assert {one["vm"] for one in lines} == {"qemu:db1"}


def test_one_rung_is_taken_and_its_finding_told(
    frozen_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rescue", "db1", "--rung", "wait", "--yes", "--json"]) == 0
    assert frozen_world.operations.requests == [Step(Rung.WAIT)]
    assert frozen_world.operations.persons == [True]
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["event"], line["rung"], line["found"], line["ok"]) == (
        "outcome", "wait", "thawed", True
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (RungResult.THAWED, 0), (RungResult.WRITES, 0), (RungResult.RESET, 0),
        (RungResult.ANSWERS, 1), (RungResult.SILENT, 1), (RungResult.NO_AGENT, 1),
        (RungResult.UNKNOWN, 1), (RungResult.REFUSED, 1), (RungResult.CANCELLED, 1),
        (RungResult.FAILED, 1),
    ],
)  # fmt: skip
def test_only_a_thawed_guest_is_a_success(
    frozen_world: World, found: RungResult, code: int
) -> None:
    frozen_world.operations.found = {Rung.SYSRQ: found}
    assert run(["rescue", "db1", "--rung", "sysrq", "--yes"]) == code


def test_nobody_to_ask_is_no_person(frozen_world: World) -> None:
    """The core refuses it then, unless the window is provably ours."""
    run(["rescue", "db1", "--rung", "thaw"])
    assert frozen_world.operations.persons == [False]


def test_a_console_that_is_named_is_sent_a_break(frozen_world: World) -> None:
    run(["rescue", "db1", "--rung", "sysrq", "--serial", "serial0", "--yes"])
    assert frozen_world.operations.requests == [Step(Rung.SYSRQ, Means.SERIAL, "serial0")]


def test_a_reset_with_the_name(frozen_world: World) -> None:
    frozen_world.operations.found = {Rung.RESET: RungResult.RESET}
    assert run(["rescue", "db1", "--rung", "reset", "--confirm-name", "db1"]) == 0
    assert frozen_world.operations.requests == [Step(Rung.RESET, name="db1")]


def test_on_a_terminal_it_asks_rung_by_rung(
    frozen_world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen_world.operations.found = {Rung.WAIT: RungResult.NO_AGENT, Rung.RESET: RungResult.RESET}
    typed(monkeypatch, "y", "n", "db1")
    assert run(["rescue", "db1"]) == 0
    assert frozen_world.operations.requests == [Step(Rung.WAIT), Step(Rung.RESET, name="db1")]
    assert "connect: passed over: no agent runs" in capsys.readouterr().err


def test_it_ends_where_the_guest_is_thawed(
    frozen_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "n", "y")
    assert run(["rescue", "db1"]) == 0
    assert frozen_world.operations.requests == [BY_KEY]


@pytest.mark.parametrize("name", ["", "db2", "y", "qemu:db1"])
def test_another_name_resets_nothing(
    frozen_world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    typed(monkeypatch, name)
    assert run(["rescue", "db1", "--rung", "reset"]) == 1
    assert frozen_world.operations.started == []


def test_a_terminal_that_ends_is_a_no(frozen_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch)
    assert run(["rescue", "db1"]) == 1
    assert frozen_world.operations.started == []
