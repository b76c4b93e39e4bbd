from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentclient.fleet.logs import Logs
from agentclient.fleet.store import Fleet
from agentclient.model.clock import now
from agentclient.model.errors import BadInput
from agentclient.model.outcome import Outcome
from agentclient.model.policy import VmPolicy
from agentclient.model.snapshot import Progress, VmState
from agentclient.model.states import Level, OutcomeKind, Phase, RunState
from agentclient.model.vm import AgentChannel, Process, Vm, VmId

AT = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
A, B = VmId("qemu", "a"), VmId("qemu", "b")
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
    assert fleet.reader().changes().changed == ()


def test_each_write_has_a_version_of_its_own() -> None:
    fleet = fleet_of(vm("a"), vm("b"))
    assert [state.version for state in fleet.states()] == [1, 2]
    fleet.update(VmId("qemu", "a"), running)
    assert fleet.get(VmId("qemu", "a")).version == fleet.version == 3


def test_a_reader_is_told_what_was_written_since_oldest_first() -> None:
    fleet = fleet_of(vm("a"), vm("b"), vm("c"))
    reader = fleet.reader()
    seen = reader.changes()
    assert (names(seen.changed), reader.version) == (["a", "b", "c"], 3)
    fleet.update(VmId("qemu", "c"), running)
    fleet.update(VmId("qemu", "a"), running)
    change = reader.changes()
    assert (names(change.changed), reader.version) == (["c", "a"], 5)
    assert (reader.changes(), reader.version) == (((), ()), 5)


def test_clocks_and_figures_are_no_change_of_words() -> None:
    fleet = fleet_of(vm("a"), vm("b"))
    reader = fleet.reader()
    reader.changes()
    fleet.update(A, slower)
    assert (reader.version, fleet.version) == (2, 3)
    assert (reader.changes(), reader.version) == (((), ()), 3)
    assert reader.peek(A) is fleet.get(A)


def test_who_is_told_of_words_is_told_of_the_latest_figures() -> None:
    fleet = fleet_of(vm("a"), vm("b"))
    reader = fleet.reader()
    reader.changes()
    for vm_id in (B, A):
        fleet.update(vm_id, running)
    fleet.update(B, slower)
    assert reader.changes().changed == (fleet.get(B), fleet.get(A))


def test_words_that_are_set_aside_and_come_back_are_a_change() -> None:
    fleet = fleet_of(vm("a"))
    reader = fleet.reader()
    reader.changes()
    fleet.update(A, running)
    fleet.update(A, lambda old: old._replace(run_state=RunState.UNKNOWN))
    assert names(reader.changes().changed) == ["a"]


def test_a_reader_finds_the_words_that_it_was_told_with_their_latest_figures() -> None:
    fleet = fleet_of(vm("a"), vm("b"))
    reader, other = fleet.reader(), fleet.reader()
    reader.changes()
    fleet.update(A, slower)
    told = fleet.get(A)
    fleet.update(A, running)
    other.changes()
    fleet.update(A, freezing)
    fleet.update(A, slower)
    assert reader.peek(A) is told
    assert other.peek(A) == told._replace(run_state=RunState.RUNNING, version=4)
    reader.changes()
    assert reader.peek(A) is fleet.get(A)


def test_a_reader_finds_what_was_forgotten_until_it_is_told() -> None:
    fleet = fleet_of(vm("a"), vm("b"))
    reader = fleet.reader()
    reader.changes()
    fleet.set_vms("qemu", [vm("b")])
    assert names(reader.changes().changed) == ["a"]
    absent = fleet.get(A)
    fleet.forget_absent()
    assert reader.peek(A) is absent
    fleet.set_vms("qemu", [vm("a", pid=7), vm("b")])
    assert reader.peek(A) is absent
    assert names(reader.changes().changed) == ["a"]
    assert reader.peek(A) is fleet.get(A)


def test_nobody_can_be_peeked_at_who_is_not_there() -> None:
    assert Fleet().reader().peek(A) is None


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
    reader = fleet.reader()
    reader.changes()
    before = reader.version
    fleet.forget_absent()
    assert (reader.changes(), reader.version) == (((), (A,)), before + 1)
    assert reader.changes().removed == ()


def test_a_vm_that_came_back_is_not_among_the_removed() -> None:
    fleet = fleet_of(vm("a"))
    fleet.set_vms("qemu", [])
    fleet.forget_absent()
    fleet.set_vms("qemu", [vm("a")])
    change = fleet.reader().changes()
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


def test_its_clock_is_asked_while_others_can_use_it() -> None:
    """A replay's clock has a lock of its own, which its player holds while it writes."""
    waited: list[bool] = []

    def wall() -> datetime:
        reader = threading.Thread(target=fleet.states, daemon=True)
        reader.start()
        reader.join(10.0)
        waited.append(reader.is_alive())
        return AT

    fleet = Fleet(wall=wall)
    fleet.log(A, Level.INFO, "said")
    for listed in ([vm("a", pid=1)], [vm("a", pid=2)], [], [vm("a", pid=2)]):
        fleet.set_vms("qemu", listed)
    assert len(fleet.log_since(A)) == 4
    assert not any(waited)


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
    reader = fleet.reader()
    while any(thread.is_alive() for thread in threads) or reader.version < fleet.version:
        version, change = reader.version, reader.changes()
        assert all(version < state.version <= reader.version for state in change.changed)
        known.update((state.id, state) for state in change.changed)
        for _ in range(10):
            # Whatever the writers do meanwhile: no words that it was not told.
            assert [reader.peek(vm_id) for vm_id in known] == list(known.values())
    assert reader.version == 4 + 4 * 200
    assert known == {state.id: state for state in fleet.states()}
    assert all((state.trouble or "").count("+") == 200 for state in fleet.states())
    assert fleet.log_since(VmId("qemu", "0"))[-1].number == 200


def test_what_is_set_for_a_vm_comes_with_it_whoever_lists_it() -> None:
    policy = VmPolicy(hold_s=3.0)
    fleet = Fleet(configure=lambda vm: vm._replace(policy=policy))
    fleet.set_vms("qemu", [vm("a")])
    assert fleet.get(A).vm == vm("a")._replace(policy=policy)
    version = fleet.version
    fleet.set_vms("qemu", [vm("a")])
    assert fleet.version == version
