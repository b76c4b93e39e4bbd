"""A backend that hangs costs no other a second, is told, and is asked by one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.backends.base import Backend, Note
from agentclient.fleet import watcher as watching
from agentclient.fleet.discovery import Discovery
from agentclient.fleet.doctor import check_source
from agentclient.fleet.findings import FindingLevel
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.model.states import AgentState
from agentclient.model.vm import Vm, VmId
from tests.unit.backends import FakeBackend, FakePushingBackend
from tests.unit.no_thread import each_lack
from tests.waiting import until

FAST, SLOW = VmId("fast", "db"), VmId("slow", "web")


@pytest.fixture
def slow() -> Iterator[FakeBackend]:
    one = FakeBackend("slow", "web")
    yield one
    one.unblocked.set()


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def watcher(fleet: Fleet, slow: FakeBackend) -> Iterator[Watcher]:
    one = Watcher(fleet, AccessPool(), [slow, FakePushingBackend("fast", "db")])
    yield one
    slow.unblocked.set()
    one.stop()


def ids(fleet: Fleet) -> set[VmId]:
    return {state.id for state in fleet.states()}


def lists() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("list of")]


def test_all_are_listed_where_none_hangs(watcher: Watcher, fleet: Fleet) -> None:
    assert watcher.find_vms() == ()
    assert ids(fleet) == {FAST, SLOW}
    assert not watcher.hanging
    assert not lists()


def test_who_hangs_keeps_nobody_waiting_and_is_told(
    watcher: Watcher, fleet: Fleet, slow: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SOURCES_EVERY_S", 0.02)
    slow.unblocked.clear()
    watcher.list_first(wait_s=90.0)  # longer than it hangs
    assert ids(fleet) == {FAST}
    watcher.start()
    until(lambda: watcher.problems)
    (problem,) = watcher.problems
    assert problem.startswith("source slow: it has not answered since ")
    assert "shown as they were listed last" in problem
    fast = watcher.discoveries[1].backend
    assert isinstance(fast, FakeBackend)
    until(lambda: fast.asked > 5)
    assert (slow.asked, slow.most_at_once, lists().count("list of slow")) == (1, 1, 1)
    slow.unblocked.set()
    until(lambda: SLOW in ids(fleet))
    until(lambda: slow.asked > 2)
    assert slow.most_at_once == 1
    assert watcher.problems == ()


def test_who_hangs_later_keeps_its_vms(watcher: Watcher, fleet: Fleet, slow: FakeBackend) -> None:
    watcher.find_vms()
    slow.unblocked.clear()
    watcher.find_vms()
    (note,) = watcher.hanging
    assert note.may_hide_vms
    state = fleet.get(SLOW)
    assert state.present


def test_who_answers_late_is_visited_all_the_same(
    watcher: Watcher, fleet: Fleet, slow: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that looks once visits the others meanwhile."""
    monkeypatch.setattr(watching, "TOGETHER_S", 0.01)
    slow.patience_s = 60.0
    slow.unblocked.clear()
    done = threading.Event()

    def visit() -> None:
        watcher.visit_all(60.0)
        done.set()

    threading.Thread(target=visit).start()

    def was_visited(vm_id: VmId) -> bool:
        found = [state for state in fleet.states() if state.id == vm_id]
        return bool(found) and found[0].agent.state is AgentState.NONE

    until(lambda: was_visited(FAST))
    assert not done.is_set()
    slow.unblocked.set()
    assert done.wait(60.0)
    assert was_visited(SLOW)


def test_a_backend_may_tell_what_has_changed(watcher: Watcher, fleet: Fleet) -> None:
    watcher.start()
    until(lambda: FAST in ids(fleet))
    fast = watcher.discoveries[1].backend
    assert isinstance(fast, FakePushingBackend)
    new = VmId("fast", "new")
    fast.vms.append(Vm(new))
    fast.told(new)
    until(lambda: new in ids(fleet), within_s=watching.SOURCES_EVERY_S / 2)
    until(lambda: fleet.get(new).agent.state is AgentState.NONE, within_s=2.0)


def test_one_that_pushes_without_end_keeps_no_other_from_its_list(
    watcher: Watcher, fleet: Fleet, slow: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SOURCES_EVERY_S", 0.1)
    # A thousand VMs that change: something has come at any time.
    monkeypatch.setattr(watcher._came, "clear", lambda: None)
    watcher._came.set()
    watcher.start()
    until(lambda: FAST in ids(fleet))
    until(lambda: slow.asked > 3)


def test_a_bug_of_one_costs_no_other(fleet: Fleet) -> None:
    class Broken(FakeBackend):
        def list_vms(self) -> list[Vm]:
            raise RuntimeError("a bug")

    broken: Backend = Broken("broken", "x")
    watcher = Watcher(fleet, AccessPool(), [broken, FakeBackend("fast", "db")])
    assert watcher.find_vms() == ("a source failed: RuntimeError('a bug')",)
    assert ids(fleet) == {FAST}


def test_the_doctor_says_who_hangs(slow: FakeBackend) -> None:
    slow.unblocked.clear()
    (finding,) = check_source(Discovery(slow))
    assert finding.level is FindingLevel.PROBLEM
    assert "has not answered since" in finding.text
    assert finding.advice


@each_lack
def test_where_no_thread_can_be_had_it_is_asked_again(
    slow: FakeBackend, start: Callable[..., None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Discovery(slow)
    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", start)
        one.begin()
    assert f"the source {slow.name} can't be asked: {why}" in (one.problem or "")
    assert not one.in_flight
    one.begin()
    one.wait()
    assert (one.problem, [vm.id for vm in one.vms]) == (None, [SLOW])


def test_an_end_is_told_only_by_who_sees_all_vms_of_this_host(
    watcher: Watcher, slow: FakeBackend, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A VM that isn't listed may have taken a guest that migrated."""
    seen: list[bool] = []

    class Looks:
        def look(self, _: Fleet, *, all_seen: bool) -> None:
            seen.append(all_seen)

    monkeypatch.setattr(watcher, "_recovery", Looks)
    watcher.find_vms()
    slow.sees_processes = True
    watcher.find_vms()
    slow.hidden = (Note("process 7", "it can't be looked at", may_hide_vms=True),)
    watcher.find_vms()
    slow.hidden = ()
    slow.unblocked.clear()
    watcher.find_vms()
    assert seen == [False, True, False, False]
