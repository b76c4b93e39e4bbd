"""The visits to many VMs by turns: whom a broken one delays, and what is never done to any (P8)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentclient.access.agent_probe import AGENT_VISIT_S
from agentclient.fleet import poller as poller_module
from agentclient.fleet.health import looked
from agentclient.model.snapshot import LeftBy
from agentclient.model.states import AgentState, FreezeState, RunState
from agentclient.model.vm import Vm, VmId
from tests.unit.fakes import Raw
from tests.unit.frozen_vm import VM, FrozenVm
from tests.unit.polled_fleet import BUSY, STARTED, PolledFleet, polled

ONE, TWO, THREE = (VM._replace(id=VmId("qemu", name)) for name in ("one", "two", "three"))
ALL = (ONE, TWO, THREE)
READING = {
    "guest-sync-delimited",
    "guest-sync",
    "guest-fsfreeze-status",
    "guest-info",
    "guest-get-fsinfo",
}


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> PolledFleet:
    return polled(monkeypatch, ALL)


def states(fleet: PolledFleet, vms: Sequence[Vm] = ALL) -> list[AgentState]:
    return [fleet.state(vm).agent.state for vm in vms]


# -- whom a broken one delays --------------------------------------------------------------------


def test_a_hung_agent_delays_nobody(fleet: PolledFleet) -> None:
    fleet.vms[ONE.id].agent_hears = False
    fleet.run(0.5)
    assert states(fleet) == [AgentState.OPEN, AgentState.ALIVE, AgentState.ALIVE]
    fleet.run(AGENT_VISIT_S)
    assert states(fleet)[0] is AgentState.SILENT


def test_a_hung_monitor_delays_nobody(fleet: PolledFleet) -> None:
    fleet.vms[ONE.id].qemu.answers["query-status"] = Raw()
    fleet.run(0.5)
    assert states(fleet)[1:] == [AgentState.ALIVE, AgentState.ALIVE]
    fleet.run(1.0)
    assert "did not answer query-status" in str(fleet.state(ONE).trouble)


def test_a_bug_in_one_vms_path_is_one_broken_row(
    fleet: PolledFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a b\x1bug")

    monkeypatch.setattr(fleet.accesses.of(ONE).monitor, "begin", broken)
    fleet.run(5.0)
    assert states(fleet)[1:] == [AgentState.ALIVE, AgentState.ALIVE]
    assert fleet.state(ONE).trouble == "the visit failed: RuntimeError('a b\\x1bug')"
    assert fleet.log(ONE)[0] == fleet.state(ONE).trouble
    assert fleet.looks(TWO) >= 2


def test_a_bug_in_the_middle_of_a_visit_as_well(
    fleet: PolledFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(view: Any, at: Any, *, has_monitor: bool) -> Any:
        change = looked(view, at, has_monitor=has_monitor)
        if broken_once:
            raise RuntimeError(broken_once.pop())
        return change

    broken_once = ["a bug"]
    monkeypatch.setattr(poller_module, "looked", broken)
    fleet.run(0.5)
    troubles = [fleet.state(vm).trouble for vm in ALL]
    assert sorted(troubles, key=bool) == [None, None, "the visit failed: RuntimeError('a bug')"]
    fleet.run(5.0)
    assert states(fleet) == [AgentState.ALIVE] * 3, "the next visit makes it good"
    assert [fleet.state(vm).trouble for vm in ALL] == [None] * 3
    fleet.poller.close()
    assert fleet.open == []


def test_no_more_are_visited_at_once_than_there_are_descriptors_for(
    fleet: PolledFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "MOST_VISITS_AT_ONCE", 2)
    for vm in fleet.vms.values():
        vm.monitor.greeting = ((0.4, b"".join(_bytes(vm))),)
    most = 0

    def count() -> None:
        nonlocal most
        most = max(most, len(fleet.open))
        fleet.clock.at(0.05, count)

    fleet.clock.at(0.0, count)
    fleet.run(5.0)
    assert most == 2
    assert states(fleet) == [AgentState.ALIVE] * 3


def _bytes(vm: FrozenVm) -> list[bytes]:
    return [one for one in vm.monitor.greeting if isinstance(one, bytes)]


def test_visits_are_spread_over_the_interval(fleet: PolledFleet) -> None:
    fleet.run(10.0)
    for vm in ALL:
        assert fleet.looks(vm) == pytest.approx(5, abs=1)


# -- who comes and who leaves --------------------------------------------------------------------


def test_a_vm_that_has_left_is_visited_no_more(fleet: PolledFleet) -> None:
    fleet.run(1.0)
    fleet.fleet.set_vms("qemu", [TWO, THREE])
    fleet.fleet.forget_absent()
    fleet.poller.adopt(fleet.clock.now)
    assert fleet.accesses.forgotten == [ONE.id]
    looks = fleet.looks(ONE)
    fleet.run(10.0)
    assert fleet.looks(ONE) == looks
    assert fleet.looks(TWO) > 3


def test_a_vm_that_leaves_while_it_is_visited(fleet: PolledFleet) -> None:
    fleet.vms[ONE.id].agent_hears = False
    fleet.run(0.5)
    fleet.fleet.set_vms("qemu", [TWO, THREE])
    fleet.fleet.forget_absent()
    fleet.run(0.5)
    fleet.poller.adopt(fleet.clock.now)
    fleet.run(5.0)
    assert [state.id for state in fleet.fleet.states()] == [TWO.id, THREE.id]
    assert fleet.open == []


def test_a_vm_that_leaves_while_its_monitor_hangs(fleet: PolledFleet) -> None:
    fleet.run(3.0)
    fleet.vms[ONE.id].qemu.answers["query-status"] = Raw()
    fleet.wanted.extend((ONE.id, TWO.id))
    fleet.poller.turn(fleet.clock.now)  # until TWO has answered
    fleet.fleet.set_vms("qemu", [TWO, THREE])
    fleet.fleet.forget_absent()
    adopting = threading.Thread(target=fleet.poller.adopt, args=(fleet.clock.now,), daemon=True)
    adopting.start()
    adopting.join(60.0)
    assert not adopting.is_alive(), "it would wait for a look whose steps nobody takes but itself"
    fleet.run(5.0)
    assert states(fleet, (TWO, THREE)) == [AgentState.ALIVE, AgentState.ALIVE]
    assert fleet.open == []


def test_a_vm_that_left_just_before_its_visit(fleet: PolledFleet) -> None:
    fleet.fleet.set_vms("qemu", [TWO, THREE])
    fleet.fleet.forget_absent()
    fleet.run(3.0)
    assert fleet.looks(ONE) == 0


def test_somebody_who_is_not_known_is_not_visited(fleet: PolledFleet) -> None:
    fleet.wanted.append(VmId("qemu", "nobody"))
    fleet.run(1.0)
    assert not fleet.wanted


def test_a_key_ends_a_turn_early(fleet: PolledFleet) -> None:
    fleet.run(1.0)
    began = fleet.clock.now
    fleet.poller.wake()
    fleet.poller.turn(fleet.clock.now)
    assert fleet.clock.now - began < 0.1


# -- everybody once ------------------------------------------------------------------------------


def test_a_list_visits_everybody_once_with_its_agent(fleet: PolledFleet) -> None:
    began = fleet.clock.now
    fleet.all_once(5.0)
    assert states(fleet) == [AgentState.ALIVE] * 3
    assert [fleet.looks(vm) for vm in ALL] == [1, 1, 1]
    assert fleet.clock.now - began < 0.1, "nobody is waited for who has answered"


def test_a_list_ends_in_time_whoever_hangs(fleet: PolledFleet) -> None:
    fleet.vms[ONE.id].qemu.answers["query-status"] = Raw()
    fleet.vms[TWO.id].agent_hears = False
    began = fleet.clock.now
    fleet.all_once(1.0)
    assert fleet.clock.now - began == pytest.approx(1.0, abs=0.1)
    assert states(fleet)[2] is AgentState.ALIVE
    fleet.poller.close()
    assert fleet.open == []


def test_what_was_left_and_did_not_answer_is_asked_once_more(fleet: PolledFleet) -> None:
    """Connecting alone releases an agent that spins on an answer that nobody took (§3.5)."""
    left = LeftBy(3, 77, "root", STARTED)
    fleet.update(lambda state: state._replace(left=left), ONE)
    one = fleet.vms[ONE.id]
    one.flag, one.agent_hears = True, False
    fleet.clock.at(3.0, one.agent_goes_on)
    fleet.all_once(5.0)
    assert fleet.state(ONE).freeze.state is FreezeState.FROZEN
    assert fleet.state(ONE).left_by == left
    assert [fleet.questions(vm) for vm in ALL] == [2, 1, 1]


def test_what_is_known_to_be_left_is_not_asked_twice(fleet: PolledFleet) -> None:
    fleet.update(lambda state: state._replace(left=LeftBy(3, 77, "root", STARTED)), ONE)
    fleet.vms[ONE.id].flag = True
    fleet.all_once(5.0)
    assert fleet.questions(ONE) == 1


def test_a_list_that_is_ended_does_not_wait(fleet: PolledFleet) -> None:
    stopping = threading.Event()
    stopping.set()
    fleet.update(lambda state: state._replace(left=LeftBy(3, 77, "root", STARTED)), ONE)
    began = fleet.clock.now
    fleet.poller.all_once(5.0, stopping)
    assert fleet.clock.now - began < 0.2


def test_more_than_fit_at_once_are_all_visited(
    fleet: PolledFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "MOST_VISITS_AT_ONCE", 1)
    fleet.all_once(5.0)
    assert states(fleet) == [AgentState.ALIVE] * 3


def test_one_that_left_meanwhile_is_left_out(
    fleet: PolledFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = fleet.fleet.states
    gone = Vm(VmId("qemu", "gone"))
    monkeypatch.setattr(fleet.poller, "adopt", lambda now: None)
    fleet.fleet.set_vms("other", [gone])
    assert len(listed()) == 4
    fleet.all_once(1.0)
    assert fleet.fleet.get(gone.id).agent.state is AgentState.UNKNOWN


# -- whatever happens to a VM, in whatever order --------------------------------------------------

AGENTS = ("leaves", "comes", "hangs", "goes-on", "breaks", "frozen", "thawed")
OTHERS = ("taken", "free", "pauses", "runs", "freeze", "over", "locked", "wanted")
EVENTS = st.lists(st.tuples(st.sampled_from(AGENTS + OTHERS), st.floats(0.0, 6.0)), max_size=12)


# An agent that ends within so many seconds after a look is not seen to have ended.
JUST_NOW_S = 0.05


@settings(max_examples=30)
@given(EVENTS)
@example([("comes", 1.0), ("wanted", 1 / 256), ("leaves", 1.0)])
def test_an_agent_is_read_and_nobody_else_is_disturbed(events: list[tuple[str, float]]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        fleet = polled(monkeypatch)
        vm = fleet.vms[VM.id]
        forbidden, left_at = [False], 0.0
        connect = vm.channel.connect

        def watched() -> object:
            assert not vm.other_client, "behind another client"
            assert not forbidden[0], "beside a freeze, or on a locked VM"
            just_now = fleet.clock.now < left_at + JUST_NOW_S
            assert vm.agent_runs or just_now, "nobody is there to read what is written"
            assert vm.status == "running"
            assert all(one.closed for one in vm.channel.channels), "two at once"
            return connect()

        monkeypatch.setattr(vm.channel, "connect", watched)
        for name, seconds in events:
            left_at = fleet.clock.now if name == "leaves" else left_at
            happen(fleet, vm, name, forbidden)
            fleet.run(seconds)
            assert "AssertionError" not in str(fleet.state().trouble)
        assert set(vm.said) <= READING, "only what reads, and no ping"
        assert (vm.thaws, vm.resets) == (0, 0)
        for settled in ("over", "free", "runs", "comes", "goes-on"):
            happen(fleet, vm, settled, forbidden)
        fleet.wanted.append(VM.id)
        fleet.run(6.0)
        state = fleet.state()
        assert (state.agent.state, state.run_state) == (AgentState.ALIVE, RunState.RUNNING)
        assert state.freeze.state is (FreezeState.FROZEN if vm.flag else FreezeState.THAWED)
        assert fleet.open == []
        fleet.poller.close()


def happen(fleet: PolledFleet, vm: FrozenVm, name: str, forbidden: list[bool]) -> None:
    """Have something happen to a VM, between two turns."""
    match name:
        case "leaves" if vm.agent_runs:
            vm.agent_leaves()
        case "comes" if not vm.agent_runs:
            vm.agent_comes()
        case "hangs":
            vm.agent_hears = False
        case "goes-on":
            vm.agent_goes_on()
        case "taken" | "free":
            vm.other_client = name == "taken"
        case "pauses" | "runs":
            vm.status = "paused" if name == "pauses" else "running"
        case "frozen" | "thawed":
            vm.flag = name == "frozen"
        case "breaks":
            vm.breaks()
        case "wanted":
            fleet.wanted.append(VM.id)
        case "freeze":
            forbidden[0] = True
            fleet.update(lambda state: state._replace(progress=BUSY))
        case "locked":
            forbidden[0] = True
            locked = VM._replace(locked_by="backup")
            fleet.update(lambda state: state._replace(vm=locked))
        case "over":
            forbidden[0] = False
            fleet.update(lambda state: state._replace(progress=None, vm=VM))
