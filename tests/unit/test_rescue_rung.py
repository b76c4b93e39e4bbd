"""What all rungs of a rescue have in common: looks, waits, and which rung comes next."""

from __future__ import annotations

import pytest

from agentclient.access import stream as stream_module
from agentclient.access.local_access import LocalAccess
from agentclient.access.presence import Server
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.journal.identity import this_process
from agentclient.model.events import Ended, EventKind
from agentclient.model.outcome import ThawOutcome
from agentclient.model.rescue import Rung, RungResult, Step
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import FreezeState, Level, Phase, RunState
from agentclient.model.vm import Peer, Process
from agentclient.operations.rescue import rung as rung_module
from tests.unit.fakes import Error
from tests.unit.frozen_vm import VM, FrozenVm, frozen_vm

THAW = Step(Rung.THAW)
SILENT = ThawOutcome(VM.id, None, None, False, "not acknowledged", 60.0, "an own step")


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch) -> FrozenVm:
    return frozen_vm(monkeypatch)


# -- waiting --------------------------------------------------------------------------------------


def test_a_pause_lasts_as_long_as_is_said(vm: FrozenVm) -> None:
    scene = vm.rung(THAW)
    began = vm.clock.now
    assert scene.pause(0.25) is True
    assert vm.clock.now - began == pytest.approx(0.25)
    assert scene.pause(-3.0) is True
    assert vm.clock.now - began == pytest.approx(0.25)


def test_a_pause_ends_when_somebody_stops_it(vm: FrozenVm) -> None:
    scene = vm.rung(THAW)
    began = vm.clock.now
    vm.clock.at(2.0, vm.stop)
    assert scene.pause(60.0) is False
    assert vm.clock.now - began == pytest.approx(2.0)
    assert scene.pause(60.0) is False, "and none begins after that"
    assert vm.clock.now - began == pytest.approx(2.0)
    assert scene.cancelled


def test_a_system_that_can_not_wait_ends_no_rescue(
    vm: FrozenVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without memory, or with a limit of open files below what is open, `poll` fails."""
    monkeypatch.setattr(rung_module, "wait_any", stream_module.wait_any)
    vm.clock.install(monkeypatch, stream_module)
    vm.clock.refuses_to_wait = True
    scene = vm.rung(THAW)
    began = vm.clock.now
    assert scene.pause(0.25) is True
    assert vm.clock.now > began, "it is no busy loop"
    vm.stop()
    assert scene.pause(0.25) is False


# -- looking --------------------------------------------------------------------------------------


def test_a_look_shows_what_it_sees(vm: FrozenVm) -> None:
    view = vm.rung(THAW).look()
    assert (view.run_state, view.port_open) == (RunState.RUNNING, True)
    assert (vm.reporter.run_states, vm.reporter.ports) == ([RunState.RUNNING], [True])


def test_a_look_that_sees_nothing_changes_nothing_on_the_screen(vm: FrozenVm) -> None:
    vm.monitor.failures = [ConnectFailed(ConnectProblem.REFUSED, "nobody listens")]
    assert vm.rung(THAW).look().problem is not None
    assert (vm.reporter.run_states, vm.reporter.ports) == ([], [])


def test_a_port_is_waited_for_no_longer_than_to_the_deadline(vm: FrozenVm) -> None:
    vm.agent_leaves()
    scene = vm.rung(THAW)
    view = scene.await_port(vm.clock.now + 10.0, "something")
    assert view.port_open is False
    assert vm.clock.now - scene.began_at == pytest.approx(10.0, abs=0.3)
    (wait,) = vm.reporter.waits
    assert (wait.what, wait.phase, wait.waiting_for) == ("rescue", Phase.THAWING, "something")
    assert wait.started_at == scene.began_at
    assert wait.ends_at == scene.began_at + 10.0


@pytest.mark.parametrize("deadline", [-5.0, 0.0])
def test_a_deadline_that_has_passed_still_gets_one_look(vm: FrozenVm, deadline: float) -> None:
    vm.agent_leaves()
    began = vm.clock.now
    assert vm.rung(THAW).await_port(began + deadline).port_open is False
    assert vm.clock.now == began


def test_a_port_that_cannot_be_seen_is_not_waited_for(vm: FrozenVm) -> None:
    vm.agent_leaves()
    vm.qemu.answers["qom-list"] = Error("no")
    assert vm.rung(THAW).await_port(vm.clock.now + 10.0).port_open is None
    assert vm.clock.now == vm.rung(THAW).began_at


# -- the bounded thaw -----------------------------------------------------------------------------


def test_a_thaw_that_asks_first_leaves_a_thawed_guest_alone(vm: FrozenVm) -> None:
    vm.flag = False
    thaw = vm.rung(THAW).thaw(10.0, ask=True)
    assert (thaw.ok, thaw.thawed, vm.thaws) == (True, 0, 0)
    assert vm.rung(THAW).thaw(10.0).thawed == 2
    assert vm.thaws == 1


def test_a_thaw_that_asks_first_thaws_what_is_frozen(vm: FrozenVm) -> None:
    thaw = vm.rung(THAW).thaw(10.0, ask=True)
    assert (thaw.ok, thaw.thawed, vm.frozen) == (True, 2, 0)


def test_what_came_of_a_thaw_is_told_as_a_note(vm: FrozenVm) -> None:
    vm.rung(THAW).thaw(10.0)
    assert {tell.kind for tell in vm.reporter.told if isinstance(tell.details, Ended)} == {
        EventKind.NOTE
    }


def test_its_bound_is_its_own(vm: FrozenVm) -> None:
    vm.agent_hears = False
    began = vm.clock.now
    assert not vm.rung(THAW).thaw(10.0).ok
    assert vm.clock.now - began == pytest.approx(10.0, abs=1.0)


@pytest.mark.parametrize("refused", [True, False])
def test_what_a_refused_thaw_says_to_do_goes_first(vm: FrozenVm, refused: bool) -> None:
    outcome = vm.rung(THAW).after_thaw(SILENT._replace(refused=refused))
    assert outcome.found is (RungResult.REFUSED if refused else RungResult.SILENT)
    wait = "frostwatch rescue qemu:db --rung wait"
    assert outcome.next == ("an own step" if refused else wait)


def test_a_refused_thaw_without_a_step_of_its_own(vm: FrozenVm) -> None:
    outcome = vm.rung(THAW).after_thaw(SILENT._replace(refused=True, next=None))
    assert outcome.next == "frostwatch rescue qemu:db --rung wait"


def test_a_count_without_the_end_is_an_answer(vm: FrozenVm) -> None:
    vm.agent_leaves()
    frozen = SILENT._replace(thawed=1, state=FreezeState.FROZEN)
    outcome = vm.rung(THAW).after_thaw(frozen)
    assert (outcome.found, outcome.thawed, outcome.state) == (
        RungResult.ANSWERS,
        1,
        FreezeState.FROZEN,
    )


# -- the rung that comes next ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rung", "found", "then"),
    [
        (Rung.CONNECT, RungResult.SILENT, Rung.THAW),
        (Rung.CONNECT, RungResult.ANSWERS, Rung.THAW),
        (Rung.CONNECT, RungResult.FAILED, Rung.THAW),
        (Rung.CONNECT, RungResult.NO_AGENT, Rung.WAIT),
        (Rung.CONNECT, RungResult.CANCELLED, Rung.CONNECT),
        (Rung.THAW, RungResult.SILENT, Rung.WAIT),
        (Rung.THAW, RungResult.ANSWERS, Rung.WAIT),
        (Rung.THAW, RungResult.FAILED, Rung.WAIT),
        (Rung.THAW, RungResult.NO_AGENT, Rung.WAIT),
        (Rung.THAW, RungResult.CANCELLED, Rung.THAW),
        (Rung.WAIT, RungResult.NO_AGENT, Rung.SYSRQ),
        (Rung.WAIT, RungResult.SILENT, Rung.SYSRQ),
        (Rung.WAIT, RungResult.FAILED, Rung.THAW),
        (Rung.SYSRQ, RungResult.UNKNOWN, Rung.RESET),
        (Rung.SYSRQ, RungResult.FAILED, Rung.THAW),
        (Rung.SYSRQ, RungResult.CANCELLED, Rung.SYSRQ),
        (Rung.RESET, RungResult.FAILED, Rung.THAW),
        (Rung.RESET, RungResult.CANCELLED, Rung.RESET),
        (Rung.RESET, RungResult.SILENT, None),
    ],
)
def test_where_something_may_be_frozen_the_next_rung_is_named(
    vm: FrozenVm, rung: Rung, found: RungResult, then: Rung | None
) -> None:
    outcome = vm.rung(Step(rung)).outcome(found, "why")
    named = f"frostwatch rescue qemu:db --rung {then}" if then else None
    assert (outcome.next, outcome.reason, outcome.rung) == (named, "why", rung)


@pytest.mark.parametrize("found", [RungResult.THAWED, RungResult.WRITES, RungResult.RESET])
def test_where_nothing_is_frozen_no_rung_is(vm: FrozenVm, found: RungResult) -> None:
    outcome = vm.rung(THAW).outcome(found, "why")
    assert (outcome.ok, outcome.next) == (True, None)


def test_how_long_it_took_is_counted_from_its_begin(vm: FrozenVm) -> None:
    scene = vm.rung(THAW)
    vm.clock.sleep(12.3456)
    assert scene.outcome(RungResult.SILENT, "why").seconds == 12.346
    assert scene.refuse("why", "a step").next == "a step"
    assert scene.refuse("why").next is None
    scene.note("well", Level.GOOD)
    (note,) = vm.reporter.told
    assert (note.kind, note.level, note.details) == (EventKind.NOTE, Level.GOOD, None)


# -- who serves its serial ports ------------------------------------------------------------------


def test_a_vm_whose_source_knows_its_process_is_as_it_is(vm: FrozenVm) -> None:
    known = VM._replace(process=Process(70, 1))
    assert vm.rung(THAW, known).serving_vm == known
    assert vm.rung(THAW).serving_vm == VM, "nobody knows it"


def test_a_vm_that_is_known_by_its_sockets_is_served_by_whoever_answered(
    vm: FrozenVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rung_module, "user_of", lambda process: 7)
    scene = vm.rung(THAW)
    assert isinstance(scene.access, LocalAccess)
    scene.access.server = Server(this_process())
    expected = VM._replace(process=this_process(), peer=Peer(this_process(), 7))
    assert scene.serving_vm == expected
    given = Peer(None, 5)
    scene.access.vm = VM._replace(peer=given)
    assert scene.serving_vm.peer == given


def test_an_empty_view_is_no_view_of_a_port(vm: FrozenVm, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = vm.rung(THAW)
    monkeypatch.setattr(scene.access, "observe", lambda: MonitorView(port_open=False))
    scene.look()
    assert (vm.reporter.run_states, vm.reporter.ports) == ([], [False])
