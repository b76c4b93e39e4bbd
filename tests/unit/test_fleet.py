from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentclient.errors import BadInput
from agentclient.fleet import Fleet, now
from agentclient.logs import Logs
from agentclient.vm import (
    AgentChannel,
    Level,
    Outcome,
    OutcomeKind,
    Phase,
    Process,
    Progress,
    RunState,
    Vm,
    VmId,
    VmState,
)

AT = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
FREEZING = Progress("freeze", Phase.PENDING, "the agent's answer", 0.0)


def vm(name: str, source: str = "qemu", pid: int | None = None) -> Vm:
    return Vm(VmId(source, name), process=Process(pid, 1) if pid else None)


def fleet_of(*vms: Vm) -> Fleet:
    fleet = Fleet(wall=lambda: AT, logs=Logs(lines=5))
    for source in {one.source for one in vms}:
        fleet.set_vms(source, [one for one in vms if one.source == source])
    return fleet


def running(state: VmState) -> VmState:
    return state._replace(run_state=RunState.RUNNING)


def slower(state: VmState) -> VmState:
    return state._replace(agent=state.agent._replace(rtt_s=(state.agent.rtt_s or 0.0) + 1.0))


def freezing(state: VmState) -> VmState:
    return state._replace(progress=FREEZING)


def idle(state: VmState) -> VmState:
    return state._replace(progress=None)


def names(states: tuple[VmState, ...]) -> list[str]:
    return [state.vm.name for state in states]


# -- versions ---------------------------------------------------------------------------------


def test_a_new_fleet_is_empty() -> None:
    fleet = Fleet()
    assert (fleet.version, fleet.states()) == (0, ())
    assert fleet.changed_since(0).changed == ()


def test_each_write_has_a_version_of_its_own() -> None:
    fleet = fleet_of(vm("a"), vm("b"))
    assert [state.version for state in fleet.states()] == [1, 2]
    fleet.update(VmId("qemu", "a"), running)
    assert fleet.get(VmId("qemu", "a")).version == fleet.version == 3


def test_a_reader_is_told_what_was_written_since_oldest_first() -> None:
    fleet = fleet_of(vm("a"), vm("b"), vm("c"))
    seen = fleet.changed_since(0)
    assert (names(seen.changed), seen.version) == (["a", "b", "c"], 3)
    fleet.update(VmId("qemu", "c"), running)
    fleet.update(VmId("qemu", "a"), running)
    change = fleet.changed_since(seen.version)
    assert (names(change.changed), change.version) == (["c", "a"], 5)
    assert fleet.changed_since(change.version).changed == ()


def test_clocks_and_figures_are_no_change_of_words() -> None:
    fleet = fleet_of(vm("a"), vm("b"))
    before = fleet.changed_since(0)
    fleet.update(VmId("qemu", "a"), slower)
    change = fleet.changed_since(before.version)
    assert (change.changed, change.version) == ((), 3)
    assert fleet.peek(VmId("qemu", "a")) is fleet.get(VmId("qemu", "a"))
    assert (fleet.get(VmId("qemu", "a")).version, fleet.get(VmId("qemu", "a")).worded) == (3, 1)


def test_who_is_told_of_words_is_told_of_the_latest_figures() -> None:
    fleet = fleet_of(vm("a"), vm("b"))
    seen = fleet.version
    for vm_id in (VmId("qemu", "b"), VmId("qemu", "a")):
        fleet.update(vm_id, running)
    fleet.update(VmId("qemu", "b"), slower)
    change = fleet.changed_since(seen)
    assert names(change.changed) == ["b", "a"]
    assert change.changed == tuple(fleet.get(state.id) for state in change.changed)


def test_words_that_are_set_aside_and_come_back_are_a_change() -> None:
    """Who has seen the first ones can't tell, and is told to look again."""
    fleet = fleet_of(vm("a"))
    seen = fleet.version
    fleet.update(VmId("qemu", "a"), running)
    fleet.update(VmId("qemu", "a"), lambda old: old._replace(run_state=RunState.UNKNOWN))
    assert names(fleet.changed_since(seen).changed) == ["a"]


def test_nobody_can_be_peeked_at_who_is_not_there() -> None:
    assert Fleet().peek(VmId("qemu", "a")) is None


def test_an_update_that_changes_nothing_is_no_version() -> None:
    fleet = fleet_of(vm("a"))
    fleet.update(VmId("qemu", "a"), lambda state: state._replace())
    assert fleet.version == 1


def test_an_update_of_a_vm_that_was_forgotten_is_dropped() -> None:
    fleet = fleet_of(vm("a"))
    fleet.update(VmId("qemu", "gone"), running)
    assert fleet.version == 1
    with pytest.raises(KeyError):
        fleet.get(VmId("qemu", "gone"))


def test_states_keep_the_order_in_which_the_vms_were_found() -> None:
    fleet = fleet_of(vm("b"), vm("a"))
    fleet.update(VmId("qemu", "b"), running)
    assert names(fleet.states()) == ["b", "a"]


# -- what sources list -------------------------------------------------------------------------


def test_the_same_list_again_changes_nothing() -> None:
    fleet = fleet_of(vm("a", pid=1))
    fleet.update(VmId("qemu", "a"), running)
    fleet.set_vms("qemu", [vm("a", pid=1)])
    assert fleet.version == 2


def test_a_source_speaks_for_its_own_vms_only() -> None:
    fleet = fleet_of(vm("a"), vm("b", "socket"))
    fleet.set_vms("qemu", [])
    assert not fleet.get(VmId("qemu", "a")).present
    assert fleet.get(VmId("socket", "b")).present


def test_a_vm_that_is_listed_again_is_present_again_with_what_was_known() -> None:
    fleet = fleet_of(vm("a", pid=1))
    fleet.update(VmId("qemu", "a"), running)
    fleet.set_vms("qemu", [])
    fleet.set_vms("qemu", [vm("a", pid=1)])
    state = fleet.get(VmId("qemu", "a"))
    assert state.present
    assert state.run_state is RunState.RUNNING


def test_being_absent_is_told_once() -> None:
    fleet = fleet_of(vm("a"))
    fleet.set_vms("qemu", [])
    version = fleet.version
    fleet.set_vms("qemu", [])
    assert fleet.version == version


def test_a_new_description_of_the_same_process_keeps_what_is_known() -> None:
    fleet = fleet_of(vm("a", pid=1))
    fleet.update(VmId("qemu", "a"), running)
    locked = vm("a", pid=1)._replace(locked_by="backup")
    fleet.set_vms("qemu", [locked])
    state = fleet.get(VmId("qemu", "a"))
    assert state.vm == locked
    assert state.run_state is RunState.RUNNING


@pytest.mark.parametrize("new", [Process(2, 1), Process(1, 2)], ids=["pid", "pid used again"])
def test_another_process_of_the_same_name_starts_afresh(new: Process) -> None:
    fleet = fleet_of(vm("a", pid=1))
    fleet.update(VmId("qemu", "a"), running)
    fleet.set_vms("qemu", [Vm(VmId("qemu", "a"), process=new)])
    state = fleet.get(VmId("qemu", "a"))
    assert state.run_state is RunState.UNKNOWN
    assert state.vm.process == new


def test_an_operation_in_flight_keeps_the_vm_that_it_was_started_on() -> None:
    fleet = fleet_of(vm("a", pid=1))
    fleet.update(VmId("qemu", "a"), freezing)
    other = vm("a", pid=2)._replace(agent=AgentChannel(Path("/run/other")))
    fleet.set_vms("qemu", [other])
    state = fleet.get(VmId("qemu", "a"))
    assert state.vm == vm("a", pid=1)
    assert state.progress == FREEZING
    fleet.update(VmId("qemu", "a"), idle)
    fleet.set_vms("qemu", [other])
    assert fleet.get(VmId("qemu", "a")).vm == other


def test_a_refresh_during_an_operation_is_no_change() -> None:
    fleet = fleet_of(vm("a", pid=1))
    fleet.update(VmId("qemu", "a"), freezing)
    version = fleet.version
    for _ in range(3):
        fleet.set_vms("qemu", [vm("a", pid=2)])
    assert fleet.version == version


def test_an_absent_vm_is_forgotten_only_when_nothing_is_in_flight() -> None:
    fleet = fleet_of(vm("a"), vm("b"), vm("c"))
    fleet.update(VmId("qemu", "a"), freezing)
    fleet.log(VmId("qemu", "b"), Level.INFO, "line")
    fleet.set_vms("qemu", [vm("c")])
    fleet.forget_absent()
    assert names(fleet.states()) == ["a", "c"]
    assert fleet.log_since(VmId("qemu", "b")) == ()
    fleet.update(VmId("qemu", "a"), idle)
    fleet.forget_absent()
    assert names(fleet.states()) == ["c"]


def test_a_reader_is_told_who_was_forgotten() -> None:
    fleet = fleet_of(vm("a"), vm("b"))
    fleet.set_vms("qemu", [vm("b")])
    before = fleet.version
    fleet.forget_absent()
    change = fleet.changed_since(before)
    assert change.removed == (VmId("qemu", "a"),)
    assert change.changed == ()
    assert change.version == before + 1
    assert fleet.changed_since(change.version).removed == ()


def test_a_vm_that_came_back_is_not_among_the_removed() -> None:
    fleet = fleet_of(vm("a"))
    fleet.set_vms("qemu", [])
    fleet.forget_absent()
    fleet.set_vms("qemu", [vm("a")])
    change = fleet.changed_since(0)
    assert (names(change.changed), change.removed) == (["a"], ())


# -- names ------------------------------------------------------------------------------------


def test_a_vm_is_found_by_its_id_and_by_its_bare_name() -> None:
    fleet = fleet_of(vm("a"), vm("b"), vm("a", "socket"))
    assert fleet.find("qemu:a").id == VmId("qemu", "a")
    assert fleet.find("socket:a").id == VmId("socket", "a")
    assert fleet.find("b").id == VmId("qemu", "b")


def test_an_ambiguous_name_lists_both() -> None:
    fleet = fleet_of(vm("a"), vm("a", "socket"))
    with pytest.raises(BadInput, match=r"'a' is ambiguous: it can be qemu:a and socket:a"):
        fleet.find("a")


def test_an_id_goes_before_a_name_that_looks_like_one() -> None:
    fleet = fleet_of(vm("a"), vm("qemu:a", "socket"))
    assert fleet.find("qemu:a").id == VmId("qemu", "a")
    assert fleet.find("socket:qemu:a").id == VmId("socket", "qemu:a")


@pytest.mark.parametrize("name", ["", "A", "a ", "qemu:", "qemu:b", "QEMU:a"])
def test_what_is_no_name_names_what_is_known(name: str) -> None:
    with pytest.raises(BadInput, match="known here: qemu:a"):
        fleet_of(vm("a")).find(name)


def test_not_more_names_than_a_person_reads() -> None:
    fleet = fleet_of(*(vm(f"vm{number}") for number in range(20)))
    with pytest.raises(BadInput, match=r"known here: qemu:vm0, .*, qemu:vm7, and 12 more$"):
        fleet.find("none")


def test_an_empty_fleet_points_to_the_doctor() -> None:
    with pytest.raises(BadInput, match="frostwatch doctor"):
        Fleet().find("a")


def test_names_from_outside_are_safe_in_messages() -> None:
    evil = "a\x1b[2J\n"
    fleet = fleet_of(vm(evil), vm(evil, "socket"))
    for wanted in (evil, "other\x1b"):
        with pytest.raises(BadInput) as caught:
            fleet.find(wanted)
        assert "\x1b" not in str(caught.value)
        assert "\n" not in str(caught.value)


# -- logs -------------------------------------------------------------------------------------


def test_log_lines_are_numbered_for_each_vm_and_read_from_a_number_on() -> None:
    fleet = fleet_of()
    a, b = VmId("qemu", "a"), VmId("qemu", "b")
    for text in ("one", "two"):
        fleet.log(a, Level.INFO, text)
    fleet.log(b, Level.ERROR, "other")
    assert [(line.number, line.text) for line in fleet.log_since(a)] == [(1, "one"), (2, "two")]
    assert [line.number for line in fleet.log_since(b)] == [1]
    assert [line.text for line in fleet.log_since(a, 1)] == ["two"]
    assert fleet.log_since(a, 2) == ()
    (line,) = fleet.log_since(b)
    assert (line.at, line.level) == (AT, Level.ERROR)


def test_a_log_is_a_ring_that_goes_on_counting() -> None:
    fleet = fleet_of()
    a = VmId("qemu", "a")
    for number in range(12):
        fleet.log(a, Level.INFO, str(number))
    assert [line.number for line in fleet.log_since(a)] == [8, 9, 10, 11, 12]
    assert [line.number for line in fleet.log_since(a, 3)] == [8, 9, 10, 11, 12]


def test_log_lines_are_safe_and_bounded() -> None:
    fleet = fleet_of()
    a = VmId("qemu", "a")
    fleet.log(a, Level.INFO, "\x1b[2J" + "x" * 5000)
    (line,) = fleet.log_since(a)
    assert line.text.startswith("\\x1b[2Jx")
    assert len(line.text) == 1000


def test_the_wall_clock_has_a_time_zone() -> None:
    assert now().utcoffset() is not None


def test_left_frozen_is_a_freeze_whose_thaw_was_not_acknowledged() -> None:
    state = VmState(vm("a"))
    assert not state.left_frozen
    lost = Outcome(OutcomeKind.LOST, "lost")
    assert state._replace(last=lost).left_frozen
    assert not state._replace(last=lost._replace(settled=True)).left_frozen
    assert not state._replace(last=Outcome(OutcomeKind.REFUSED, "no")).left_frozen


# -- threads ----------------------------------------------------------------------------------


def test_writers_and_readers_in_many_threads_lose_nothing() -> None:
    fleet = fleet_of(*(vm(str(number)) for number in range(4)))
    start = threading.Barrier(5)

    def write(name: str) -> None:
        start.wait()
        for _ in range(200):
            fleet.update(
                VmId("qemu", name), lambda old: old._replace(trouble=f"{old.trouble}+"[-300:])
            )
            fleet.log(VmId("qemu", name), Level.INFO, "x")

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    start.wait()
    known: dict[VmId, VmState] = {}
    version = 0
    while any(thread.is_alive() for thread in threads) or version < fleet.version:
        change = fleet.changed_since(version)
        assert all(version < state.version <= change.version for state in change.changed)
        known.update((state.id, state) for state in change.changed)
        version = change.version
    assert version == 4 + 4 * 200
    assert known == {state.id: state for state in fleet.states()}
    assert all((state.trouble or "").count("+") == 200 for state in fleet.states())
    assert fleet.log_since(VmId("qemu", "0"))[-1].number == 200
