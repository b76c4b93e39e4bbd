"""The rungs *thaw* and *wait*: an ordinary thaw, now or as soon as an agent is there."""

from __future__ import annotations

import pytest

from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.model.events import EventKind
from agentclient.model.rescue import RescueTimes, Rung, RungResult, Step
from agentclient.model.states import FreezeState, RunState
from agentclient.protocol.qga_commands import SYNC
from tests.unit.fakes import Error, Raw
from tests.unit.frozen_vm import TIMES, FrozenVm, frozen_vm

THAW, WAIT = Step(Rung.THAW), Step(Rung.WAIT)
SENT = "guest-fsfreeze-thaw"
RUNG = "frostwatch rescue qemu:db --rung"


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch) -> FrozenVm:
    return frozen_vm(monkeypatch)


# -- thaw -----------------------------------------------------------------------------------------


def test_a_frozen_guest_is_thawed_and_its_count_is_told(vm: FrozenVm) -> None:
    outcome = vm.rescue(THAW)
    assert (outcome.found, outcome.state, outcome.thawed) == (
        RungResult.THAWED,
        FreezeState.THAWED,
        2,
    )
    assert (outcome.ok, outcome.next) == (True, None)
    assert vm.frozen == 0
    assert vm.reporter.states[-1] == (FreezeState.THAWED, False)


def test_it_is_sent_also_where_the_agent_believes_that_nothing_is_frozen(vm: FrozenVm) -> None:
    """The agent's word is a flag of its own (protocol §3.3), and a person has decided."""
    vm.flag = False
    assert vm.rescue(THAW).thawed == 2
    assert vm.thaws == 1


def test_the_thaw_inside_is_no_last_word(vm: FrozenVm) -> None:
    vm.rescue(THAW)
    kinds = [tell.kind for tell in vm.reporter.told]
    assert kinds[0] is EventKind.RUNG
    assert kinds.count(EventKind.OUTCOME) == 1
    assert kinds[-1] is EventKind.OUTCOME


def test_a_silent_agent_is_given_up_at_the_bound(vm: FrozenVm) -> None:
    vm.agent_hears = False
    outcome = vm.rescue(THAW)
    assert (outcome.found, outcome.state) == (RungResult.SILENT, None)
    assert outcome.seconds == pytest.approx(TIMES.thaw_s, abs=3.0)
    assert outcome.next == f"{RUNG} wait"


def test_a_port_that_closes_meanwhile_means_that_no_agent_runs(vm: FrozenVm) -> None:
    vm.agent_hears = False
    vm.clock.at(5.0, vm.agent_leaves)
    outcome = vm.rescue(THAW)
    assert outcome.found is RungResult.NO_AGENT
    assert outcome.next == f"{RUNG} wait"


def test_an_agent_that_comes_back_within_the_bound_is_thawed(vm: FrozenVm) -> None:
    vm.agent_hears = False
    vm.clock.at(5.0, vm.agent_leaves)
    vm.clock.at(20.0, vm.agent_comes)
    assert vm.rescue(THAW).thawed == 2
    assert vm.frozen == 0


def test_a_thaw_that_has_failed_is_an_answer_and_something_is_frozen(vm: FrozenVm) -> None:
    vm.agent.answers[SENT] = 0
    outcome = vm.rescue(THAW)
    assert (outcome.found, outcome.ok) == (RungResult.ANSWERS, False)
    assert outcome.next == f"{RUNG} wait"


def test_an_error_of_the_thaws_is_not_the_end(vm: FrozenVm) -> None:
    """A failing thaw hook gives an error although everything is thawed (protocol §3.8)."""

    def thaw_and_fail(_: object) -> object:
        vm.frozen, vm.flag = 0, False
        return Error("hook failed")

    vm.agent.answers[SENT] = thaw_and_fail
    outcome = vm.rescue(THAW)
    assert (outcome.found, outcome.state) == (RungResult.THAWED, FreezeState.THAWED)


def test_a_thaw_that_is_stopped_can_be_taken_again(vm: FrozenVm) -> None:
    vm.agent_hears = False
    vm.clock.at(7.0, vm.stop)
    outcome = vm.rescue(THAW)
    assert outcome.found is RungResult.CANCELLED
    assert outcome.reason.startswith("stopped: ")
    assert 7.0 < outcome.seconds < 8.0, "its answer gets a moment, and no more (P1)"
    assert outcome.next == f"{RUNG} thaw"


def test_a_refused_thaw_keeps_the_step_that_helps(vm: FrozenVm) -> None:
    vm.channel.failures = [ConnectFailed(ConnectProblem.NO_DESCRIPTOR, "no descriptor is left")]
    outcome = vm.rescue(THAW)
    assert outcome.found is RungResult.REFUSED
    assert "no descriptor is left" in outcome.reason
    assert outcome.next == "frostwatch thaw --foreign qemu:db"


def test_a_channel_that_is_talked_on_is_not_taken(vm: FrozenVm) -> None:
    operation = vm.operation(THAW)
    with operation.context.access.channel_lock:
        outcome = operation.run()
    assert outcome.found is RungResult.REFUSED
    assert (vm.frozen, vm.said) == (2, [])


def test_a_guest_that_was_thawed_by_somebody_else_is_thawed_twice_at_no_harm(
    vm: FrozenVm,
) -> None:
    assert vm.rescue(THAW).thawed == 2
    vm.reporter.told.clear()
    second = vm.rescue(THAW)
    assert (second.found, second.thawed) == (RungResult.THAWED, 0)


# -- wait -----------------------------------------------------------------------------------------


def test_it_waits_until_an_agent_has_its_port_open_and_thaws(vm: FrozenVm) -> None:
    vm.agent_leaves()
    began = vm.clock.now
    vm.clock.at(30.0, vm.agent_comes)
    outcome = vm.rescue(WAIT)
    assert (outcome.found, outcome.thawed) == (RungResult.THAWED, 2)
    assert outcome.seconds == pytest.approx(30.0, abs=1.0)
    assert vm.first_byte_at >= began + 30.0
    assert "an agent is there: it is thawed" in vm.reporter.texts(EventKind.NOTE)
    assert vm.reporter.waits[0].waiting_for == "an agent to come back"
    assert vm.reporter.waits[0].ends_at == pytest.approx(began + TIMES.wait_s)
    assert vm.reporter.ports[0] is False


def test_it_waits_no_longer_than_is_said(vm: FrozenVm) -> None:
    vm.agent_leaves()
    outcome = vm.rescue(WAIT, times=RescueTimes(wait_s=45.0))
    assert outcome.found is RungResult.NO_AGENT
    assert outcome.reason == "no agent came back within 45 s: its port stayed closed"
    assert outcome.seconds == pytest.approx(45.0, abs=0.3)
    assert outcome.next == f"{RUNG} sysrq"
    assert vm.channel.channels == [], "nothing is left for an agent that comes later (§1.8)"


def test_one_that_comes_at_the_last_moment_gets_its_time(vm: FrozenVm) -> None:
    vm.agent_leaves()
    vm.clock.at(44.9, vm.agent_comes)
    vm.clock.at(44.95, lambda: setattr(vm, "agent_hears", False))
    vm.clock.at(60.0, vm.agent_goes_on)
    outcome = vm.rescue(WAIT, times=RescueTimes(wait_s=45.0))
    assert (outcome.found, outcome.thawed) == (RungResult.THAWED, 2)
    assert outcome.seconds > 45.0


def test_a_silent_agent_is_waited_for_as_well_to_the_end_of_the_wait(vm: FrozenVm) -> None:
    times = RescueTimes(wait_s=100.0, thaw_s=20.0)
    vm.agent_hears = False
    vm.clock.at(80.0, vm.agent_goes_on)
    outcome = vm.rescue(WAIT, times=times)
    assert (outcome.found, outcome.thawed) == (RungResult.THAWED, 2)
    vm.reporter.told.clear()
    vm.frozen, vm.flag, vm.agent_hears = 2, True, False
    outcome = vm.rescue(WAIT, times=times)
    assert outcome.found is RungResult.SILENT
    assert outcome.seconds == pytest.approx(100.0, abs=3.0)


def test_a_vm_that_ends_meanwhile_has_nothing_frozen(vm: FrozenVm) -> None:
    vm.agent_leaves()
    vm.clock.at(30.0, lambda: setattr(vm, "gone", True))
    outcome = vm.rescue(WAIT)
    assert (outcome.found, outcome.ok) == (RungResult.RESET, True)
    assert outcome.reason == "the VM has gone: nothing in it is frozen any more"
    assert outcome.seconds == pytest.approx(30.0, abs=0.3)


@pytest.mark.parametrize("gone", [None, False])
def test_a_monitor_that_can_no_more_be_asked_is_no_end(vm: FrozenVm, gone: bool | None) -> None:
    """P9: gone is proven. Where the port can't be seen the agent itself is asked."""
    vm.gone = gone
    vm.agent_leaves()
    refused = [ConnectFailed(ConnectProblem.REFUSED, "nobody listens")] * 9000
    vm.clock.at(10.0, lambda: vm.monitor.failures.extend(refused))
    outcome = vm.rescue(WAIT, times=RescueTimes(wait_s=40.0, thaw_s=20.0))
    assert outcome.found is RungResult.SILENT
    assert not outcome.ok


def test_it_can_be_stopped_at_once(vm: FrozenVm) -> None:
    vm.agent_leaves()
    vm.clock.at(33.3, vm.stop)
    outcome = vm.rescue(WAIT)
    assert (outcome.found, outcome.reason) == (
        RungResult.CANCELLED,
        "stopped: no agent had come back",
    )
    assert outcome.seconds == pytest.approx(33.3)
    assert outcome.next == f"{RUNG} wait"


def test_an_agent_that_is_there_is_thawed_at_once(vm: FrozenVm) -> None:
    outcome = vm.rescue(WAIT)
    assert outcome.thawed == 2
    assert outcome.seconds < 1.0
    assert vm.said[0] == SYNC, "the channel is proven to be ours first"


def test_a_clock_that_has_jumped_over_the_bound_ends_the_wait(vm: FrozenVm) -> None:
    vm.agent_leaves()
    vm.clock.at(10.0, lambda: vm.clock.jump(3600.0))
    assert vm.rescue(WAIT).found is RungResult.NO_AGENT


def test_a_guest_that_is_paused_meanwhile_is_told_so(vm: FrozenVm) -> None:
    vm.agent_leaves()
    vm.clock.at(5.0, lambda: setattr(vm, "status", "paused"))
    vm.clock.at(6.0, vm.agent_comes)
    outcome = vm.rescue(WAIT)
    assert outcome.found is RungResult.REFUSED
    assert outcome.next == "resume the VM"
    assert vm.reporter.run_states[-1] is RunState.PAUSED


def test_an_answer_that_is_no_answer_proves_nothing(vm: FrozenVm) -> None:
    vm.agent.answers |= {SYNC: Raw(b"garbage\n"), "guest-sync": Raw(b"\xffnonsense\n")}
    outcome = vm.rescue(WAIT, times=RescueTimes(wait_s=10.0, thaw_s=10.0))
    assert (outcome.found, outcome.state) == (RungResult.SILENT, None)
