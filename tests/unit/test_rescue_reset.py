"""The rung *reset*: the guest starts anew, and is watched until an agent is back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentclient.access.buttons import ASK_S
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.model.events import EventKind
from agentclient.model.rescue import RescueOutcome, RescueTimes, Rung, RungResult, Step
from agentclient.model.states import FreezeState, RunState
from agentclient.model.vm import Vm
from agentclient.operations.rescue.monitor_rungs import RESET_SHOWS_S, reset
from tests.unit.fakes import Error, Raw
from tests.unit.frozen_vm import TIMES, VM, FrozenVm, frozen_vm

RESET = Step(Rung.RESET, name="db")
THAW = "guest-fsfreeze-thaw"


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch) -> FrozenVm:
    return frozen_vm(monkeypatch)


def take(vm: FrozenVm, on: Vm = VM, **more: object) -> RescueOutcome:
    """Take the rung where it was decided that it may be taken."""
    return reset(vm.rung(RESET, on, **more))


def test_after_it_nothing_is_frozen_and_an_agent_is_waited_for(vm: FrozenVm) -> None:
    outcome = take(vm)
    assert (outcome.found, outcome.state, outcome.ok) == (
        RungResult.RESET,
        FreezeState.THAWED,
        True,
    )
    assert outcome.reason == (
        "the guest was reset: its port closed, an agent opened its port after 20 s, it is running"
    )
    assert outcome.seconds == pytest.approx(vm.boots_s, abs=0.5)
    assert outcome.next is None
    assert vm.reporter.states[0] == (FreezeState.THAWED, False)
    (wait,) = [one for one in vm.reporter.waits if one.waiting_for == "the guest to start anew"]
    assert wait.ends_at == pytest.approx(wait.started_at + TIMES.boot_s)
    changes = vm.reporter.texts(EventKind.PORT)
    assert changes == [
        "the device of the agent's port was set up anew: the agent was restarted, perhaps with its "
        "whole guest",
        "the agent's port closed",
        "the agent's port opened: an agent is there again",
    ]


def test_a_flag_that_outlived_it_is_cleared(vm: FrozenVm) -> None:
    assert vm.flag is True
    take(vm)
    assert (vm.thaws, vm.flag) == (1, False)


def test_without_such_a_flag_no_hook_runs_unpaired(vm: FrozenVm) -> None:
    vm.clock.at(10.0, lambda: setattr(vm, "flag", False))
    take(vm)
    assert "guest-fsfreeze-status" in vm.said
    assert THAW not in vm.said


@pytest.mark.parametrize("answer", [Error("not \x1ballowed"), Raw()])
def test_one_that_was_not_acknowledged_may_not_have_been_done(vm: FrozenVm, answer: object) -> None:
    vm.qemu.answers["system_reset"] = answer
    outcome = take(vm)
    assert (outcome.found, outcome.state, outcome.ok) == (RungResult.FAILED, None, False)
    assert outcome.reason.startswith("the reset may not have been done: ")
    assert "\x1b" not in outcome.reason
    assert vm.reporter.states == [], "nothing is known of the guest"
    assert outcome.seconds <= ASK_S


def test_a_monitor_that_cannot_be_reached(vm: FrozenVm) -> None:
    scene = vm.rung(RESET)
    vm.monitor.failures = [ConnectFailed(ConnectProblem.NO_DESCRIPTOR, "none is left")] * 2
    outcome = reset(scene)
    assert (outcome.found, vm.resets) == (RungResult.FAILED, 0)
    assert "none is left" in outcome.reason


def test_an_agent_that_does_not_come_back_is_not_waited_for_without_end(vm: FrozenVm) -> None:
    vm.boots_s = 10_000.0
    outcome = take(vm)
    assert (outcome.found, outcome.ok) == (RungResult.RESET, True)
    assert "no agent has opened its port within 3 min" in outcome.reason
    assert outcome.seconds == pytest.approx(TIMES.boot_s, abs=0.5)
    assert vm.said == []


def test_what_shows_nothing_is_not_watched_for_long(vm: FrozenVm) -> None:
    """Without a port's state and without a counter nothing shows that it was done."""
    vm.qemu.answers |= {"qom-list": Error("no"), "system_reset": {}}
    outcome = take(vm)
    assert outcome.seconds == pytest.approx(RESET_SHOWS_S, abs=0.5)
    assert outcome.reason == (
        "the guest was reset: QEMU said so, and nothing else shows it here, it is running"
    )
    assert vm.said == [], "no agent was seen"


def test_an_agent_that_is_back_before_anybody_looks_is_seen_by_its_counter(vm: FrozenVm) -> None:
    vm.boots_s = 0.1
    outcome = take(vm)
    assert outcome.seconds < 1.0
    assert outcome.reason == "the guest was reset: it is running"
    assert vm.flag is False


@pytest.mark.parametrize(
    ("happens", "seconds"),
    [
        (lambda vm: setattr(vm, "status", "shutdown"), 5.0),
        (lambda vm: setattr(vm, "gone", True), 5.0),
    ],
)
def test_a_vm_that_was_started_to_end_with_it(
    vm: FrozenVm, happens: Callable[[FrozenVm], None], seconds: float
) -> None:
    def end() -> None:
        happens(vm)
        if vm.gone:
            vm.monitor.failures += [ConnectFailed(ConnectProblem.REFUSED, "nobody")] * 10

    vm.clock.at(seconds, end)
    outcome = take(vm)
    assert outcome.found is RungResult.RESET
    assert outcome.reason == (
        "the guest was reset: the VM has ended with it, as it was started to do"
    )
    assert outcome.seconds == pytest.approx(seconds, abs=0.3)
    assert vm.said == []


def test_a_vm_that_stays_paused_after_it_is_told_with_what_helps(vm: FrozenVm) -> None:
    """After a reset a VM that was paused or had panicked stays paused (protocol §11)."""
    vm.clock.at(1.0, lambda: setattr(vm, "status", "paused"))
    outcome = take(vm)
    assert outcome.found is RungResult.RESET
    assert outcome.next == "resume the VM"
    assert "it is paused" in outcome.reason
    assert outcome.seconds < 2.0
    assert vm.said == []


def test_it_can_be_stopped_while_it_is_watched(vm: FrozenVm) -> None:
    vm.clock.at(6.0, vm.stop)
    outcome = take(vm)
    assert (outcome.found, outcome.ok) == (RungResult.RESET, True)
    assert outcome.seconds == pytest.approx(6.0)
    assert vm.said == []


def test_stopped_at_its_end_nothing_more_is_sent(vm: FrozenVm) -> None:
    vm.stop()
    vm.boots_s = 0.0
    vm.qemu.answers["system_reset"] = lambda _: vm.reset()
    assert take(vm).found is RungResult.RESET
    assert vm.said == []


def test_beside_a_freeze_its_channel_is_left_to_it(vm: FrozenVm) -> None:
    outcome = take(vm, beside=True)
    assert outcome.found is RungResult.RESET
    assert vm.channel.channels == []


def test_a_vm_without_an_agent(vm: FrozenVm) -> None:
    outcome = take(vm, on=VM._replace(agent=None))
    assert (outcome.found, outcome.ok) == (RungResult.RESET, True)
    assert outcome.seconds == pytest.approx(RESET_SHOWS_S, abs=0.5)
    assert vm.channel.channels == []


def test_what_comes_of_its_thaw_changes_nothing_about_it(vm: FrozenVm) -> None:
    vm.clock.at(vm.boots_s + 0.01, lambda: setattr(vm, "agent_hears", False))
    outcome = take(vm)
    assert (outcome.found, outcome.state) == (RungResult.RESET, FreezeState.THAWED)
    assert any("thaw: " in text for text in vm.reporter.texts(EventKind.NOTE))


def test_a_process_that_did_not_run_meanwhile_looks_once_more(vm: FrozenVm) -> None:
    vm.clock.at(1.0, lambda: vm.clock.jump(3600.0))
    outcome = take(vm)
    assert outcome.found is RungResult.RESET
    assert outcome.seconds >= 3600.0
    assert "an agent opened its port" in outcome.reason


def test_a_short_bound_is_kept(vm: FrozenVm) -> None:
    outcome = take(vm, times=RescueTimes(boot_s=4.0))
    assert outcome.seconds == pytest.approx(4.0, abs=0.3)
    assert vm.reporter.run_states[-1] is RunState.RUNNING
