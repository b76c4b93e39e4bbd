"""VMs that have no path, descriptor or process: listed, visited, journaled, and found again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from agentclient import engine
from agentclient.access.access_pool import AccessPool
from agentclient.access.agent_probe import ProbeResult
from agentclient.access.stream import StreamEnded
from agentclient.backends.base import Backends
from agentclient.engine import Engine
from agentclient.fleet import calls as calls_module
from agentclient.fleet import poller
from agentclient.fleet.calls import Calls
from agentclient.fleet.recovery import FOUND_THAWED
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.journal.left_windows import VM_GONE, is_ours
from agentclient.journal.writer import Journal
from agentclient.model.errors import BadInput
from agentclient.model.events import EventKind
from agentclient.model.json_contract import vm_object
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.snapshot import MonitorView, VmState
from agentclient.model.states import AgentState, FreezeState, OutcomeKind, Refusal, RunState
from agentclient.model.vm import Vm, VmId
from agentclient.operations.manager import OperationManager
from tests.unit.backends import FakeBackend
from tests.unit.journals import add_event, begin, flush, number, of_a_dead_process, rows
from tests.unit.memory_backend import NO_FREEZE, MemoryBackend, MemoryCalls
from tests.unit.no_thread import each_lack
from tests.waiting import until
from tui.main import run


class Cloud:
    """Some VMs in memory, and what watches them."""

    def __init__(self, folder: Path) -> None:
        self.backend = MemoryBackend("db1", "db2", "db3")
        self.path = folder / "journal.db"
        self.journal = Journal(self.path)
        self.fleet = Fleet()
        backends = Backends([self.backend, FakeBackend("fast", "near")])
        self.links = AccessPool(backends)
        self.watcher = Watcher(self.fleet, self.links, backends.listed, journal=self.journal)

    def state(self, name: str) -> VmState:
        return self.fleet.get(VmId("cloud", name, "node2"))

    def visit(self) -> None:
        self.watcher.visit_all(5.0)

    def leave(self, one: Vm) -> int:
        """Freeze a guest, as a frostwatch that can, and die."""
        entry = begin(self.journal, one)
        entry.armed()
        add_event(entry, one, EventKind.SENT)
        add_event(entry, one, EventKind.REPLY, frozen=2)
        window = number(self.journal, entry)
        of_a_dead_process(self.path, window)
        self.backend.guests[one.id.name].frozen = True
        return window


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    one = Cloud(tmp_path)
    yield one
    for guest in one.backend.guests.values():
        guest.hangs.set()
    one.watcher.stop()
    one.links.close()
    one.journal.close()


def test_they_are_listed_and_visited(cloud: Cloud) -> None:
    cloud.backend.guests["db2"].frozen = True
    cloud.backend.guests["db3"].agent = False
    cloud.visit()
    db1, db2, db3 = (cloud.state(f"db{n}") for n in (1, 2, 3))
    assert (db1.run_state, db1.agent.state) == (RunState.RUNNING, AgentState.ALIVE)
    assert (db1.agent.version, db1.freeze.state) == ("9.2", FreezeState.THAWED)
    assert [one.device for one in db1.file_systems] == ["vda1"]
    assert (db2.freeze.state, db2.freeze.foreign) == (FreezeState.FROZEN, True)
    assert db3.agent.state is AgentState.CLOSED
    assert cloud.backend.guests["db3"].asked == 0, "nobody would answer"
    assert vm_object(db1)["id"] == "cloud:node2/db1"
    assert cloud.fleet.find("cloud:node2/db1").id == db1.id


def test_they_are_watched(cloud: Cloud) -> None:
    cloud.watcher.start()
    until(lambda: len(cloud.fleet.states()) == 4)
    until(lambda: cloud.state("db1").freeze.state is FreezeState.THAWED)
    cloud.backend.guests["db1"].ended = True
    until(lambda: cloud.state("db1").run_state is RunState.GONE)


def test_a_call_that_hangs_costs_its_own_vm_alone(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "OBSERVE_S", 0.1)
    monkeypatch.setattr(poller, "CALL_BACK_S", 0.1)
    cloud.backend.guests["db1"].hangs.clear()
    cloud.visit()
    trouble = cloud.state("db1").trouble
    assert trouble is not None
    assert "its source has not answered within 0.2 s" in trouble
    while cloud.state("db2").agent.state is not AgentState.ALIVE:
        cloud.visit()  # a busy machine may take longer than that for the others, too
    near = cloud.fleet.get(VmId("fast", "near"))
    assert near.agent.state is AgentState.NONE


def test_a_vm_that_hangs_at_each_visit_leaves_the_threads_to_the_others(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "OBSERVE_S", 0.1)
    monkeypatch.setattr(poller, "CALL_BACK_S", 0.1)
    monkeypatch.setattr(calls_module, "MOST_AT_ONCE", 2)
    db1, db2 = (cloud.backend.guests[name] for name in ("db1", "db2"))
    db1.hangs.clear()
    for _ in range(5):
        cloud.visit()
    db2.frozen = True
    cloud.visit()
    assert cloud.state("db2").freeze.state is FreezeState.FROZEN, "it is asked"
    assert "an earlier call about it has not returned" in str(cloud.state("db1").trouble)
    told = [line.text for line in cloud.fleet.log_since(db1.vm.id)]
    assert len([one for one in told if "the visit failed" in one]) == 2, "each reason once"
    db1.hangs.set()

    def is_asked_again() -> bool:
        cloud.visit()
        return cloud.state("db1").agent.state is AgentState.ALIVE

    until(is_asked_again)
    assert cloud.state("db1").trouble is None


def seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look need no call, so that the first call of a visit is a question to the agent."""
    view = MonitorView(RunState.RUNNING, port_open=True, gone=False)
    monkeypatch.setattr(MemoryCalls, "glance", lambda _: view)


@each_lack
def test_a_question_without_a_thread_leaves_the_channel_to_a_thaw(
    cloud: Cloud, start: Callable[..., None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_at_once(monkeypatch)
    begin_thread = threading.Thread.start

    def scarce(thread: threading.Thread) -> None:
        (start if thread.name.startswith("call of") else begin_thread)(thread)

    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", scarce)
        cloud.visit()
    assert why in str(cloud.state("db1").trouble)
    assert not cloud.links.of(cloud.state("db1").vm).channel_lock.locked()


def test_a_question_that_waits_for_a_thread_leaves_the_channel_to_a_thaw(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_at_once(monkeypatch)
    monkeypatch.setattr(calls_module, "MOST_AT_ONCE", 1)
    hung, goes_on = threading.Event(), threading.Event()

    def ask(*_: object, **__: object) -> ProbeResult:
        hung.set()
        goes_on.wait(60.0)
        return ProbeResult()

    monkeypatch.setattr(MemoryCalls, "ask", ask)
    visiting = threading.Thread(target=cloud.visit, daemon=True)
    visiting.start()
    assert hung.wait(60.0)
    time.sleep(0.1)  # the others have been begun by now
    locks = [cloud.links.of(cloud.state(name).vm).channel_lock for name in ("db1", "db2", "db3")]
    assert sum(lock.locked() for lock in locks) == 1
    goes_on.set()
    visiting.join(60.0)
    assert not visiting.is_alive()
    assert not any(lock.locked() for lock in locks)


def test_what_was_left_there_is_found_and_settled(cloud: Cloud) -> None:
    cloud.visit()
    one = cloud.state("db1").vm
    window = cloud.leave(one)
    cloud.visit()
    state = cloud.state("db1")
    assert state.left_by is not None
    assert (state.left_by.window, state.freeze.foreign) == (window, False)
    until(lambda: is_ours(cloud.journal, one))
    (row,) = rows(cloud.journal)
    assert not row.settled
    cloud.backend.guests["db1"].frozen = False
    cloud.visit()
    (row,) = rows(cloud.journal)
    assert (row.settled, row.note) == (True, FOUND_THAWED)


def test_who_keeps_an_agent_by_its_looks_is_named_as_soon_as_it_is_known(cloud: Cloud) -> None:
    guest = cloud.backend.guests["db1"]
    for word in ("by its looks virsh domfsfreeze (pid 4711)", "another caller's freeze"):
        guest.kept_by = word
        cloud.visit()
        agent = cloud.state("db1").agent
        assert (agent.state, agent.detail) == (AgentState.BUSY, word)


def test_its_window_ends_when_its_source_says_so(cloud: Cloud) -> None:
    cloud.visit()
    one = cloud.state("db1").vm
    cloud.leave(one)
    cloud.backend.guests["db1"].agent = False
    cloud.visit()
    assert not rows(cloud.journal)[0].settled, "nobody knows its end"
    cloud.backend.guests["db1"].start_anew()
    cloud.backend.guests["db1"].agent = True
    cloud.backend.guests["db1"].frozen = True
    cloud.visit()
    state = cloud.state("db1")
    assert (state.left, state.freeze.foreign) == (None, True), "it is another start of it"
    flush(cloud.journal)
    (row,) = rows(cloud.journal)
    assert (row.settled, row.note) == (True, VM_GONE)


def test_a_start_anew_has_another_link(cloud: Cloud) -> None:
    cloud.visit()
    before = cloud.links.of(cloud.state("db1").vm)
    assert before.is_gone() is False
    assert not before.is_another(before.vm)
    assert before.is_another(before.vm._replace(generation="start 0"))
    assert before.holders() is None
    cloud.backend.guests["db1"].start_anew()
    assert before.is_gone() is True
    assert before.is_another(before.vm)
    assert before.observe().gone is True
    after = cloud.links.of(cloud.backend.guests["db1"].vm)
    assert after is not before
    assert after.is_gone() is False


def test_where_it_went_is_known_by_its_backend(cloud: Cloud) -> None:
    cloud.visit()
    cloud.backend.guests["db2"].uuid = "8d5c1f5e"
    taken = cloud.links.of(cloud.state("db1").vm).successor("8d5c1f5e")
    assert taken is not None
    assert taken.vm.name == "node2/db2"


def test_a_freeze_is_refused_with_its_reason_and_kept(cloud: Cloud) -> None:
    cloud.visit()
    one = cloud.state("db1").vm
    operations = OperationManager(cloud.fleet, cloud.links, journal=cloud.journal)
    outcome = operations.freeze(one, FreezeRequest()).wait(60.0)
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.DISABLED)
    assert NO_FREEZE in outcome.reason
    thaw = operations.thaw(one, foreign=True).wait(60.0)
    assert isinstance(thaw, ThawOutcome)
    assert (thaw.refused, thaw.thawed) == (False, 0)
    operations.stop(1.0)
    assert [row.vm for row in rows(cloud.journal)] == ["cloud:node2/db1"] * 2


# -- the engine ----------------------------------------------------------------------------------


def test_an_engine_takes_backends_of_its_callers(tmp_path: Path) -> None:
    backend = MemoryBackend("db1", "db2")
    with Engine(backends=[backend], journal=tmp_path / "journal.db") as engine:
        assert engine.sources == (backend,)
        db1 = engine.find_one("db1")
        engine.visit()
        assert {str(state.id) for state in engine.states()} == {
            "cloud:node2/db1",
            "cloud:node2/db2",
        }
        assert engine.fleet.get(db1.id).freeze.state is FreezeState.THAWED
        outcome = engine.freeze(db1).wait(60.0)
        assert outcome is not None
        assert outcome.refusal is Refusal.DISABLED


def test_named_vms_come_before_those_of_backends(tmp_path: Path) -> None:
    backend, named = MemoryBackend("db1"), f"name=near,agent={tmp_path}/qga"
    with Engine([named], backends=[backend]) as engine:
        assert engine.sources == (engine.explicit, backend)
    with Engine([named], backends=[backend], named_only=True) as engine:
        assert engine.sources == (engine.explicit,)


def test_a_drill_takes_no_backends() -> None:
    with pytest.raises(BadInput, match="a drill has its own guests"):
        Engine(backends=[MemoryBackend("db1")], drill=1)


# -- the calls -----------------------------------------------------------------------------------


def test_a_backend_that_hangs_takes_no_thread_from_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls_module, "MOST_AT_ONCE", 2)
    backend = MemoryBackend("a")
    hangs = backend.guests["a"].hangs
    hangs.clear()
    ended: list[object] = []
    calls = Calls(lambda: None)
    hang = partial(hangs.wait, 60.0)
    for vm, timeout_s in enumerate((0.05, 0.05, 100.0, 100.0)):
        calls.begin("hangs", hang, ended.append, ended.append, timeout_s, about=vm)
    calls.begin("well", lambda: "done", ended.append, ended.append, 60.0, about=1)

    def delivered(count: int) -> bool:
        calls.deliver()
        return len(ended) == count

    until(lambda: delivered(3))
    assert "done" in ended
    assert sum(isinstance(one, TimeoutError) for one in ended) == 2
    assert calls.in_flight == 2, "they wait for a thread"
    assert time.monotonic() + 10.0 < calls.next_at < time.monotonic() + 100.0
    hangs.set()
    until(lambda: delivered(5))
    assert calls.in_flight == 0


def test_a_bug_in_a_call_is_that_calls_alone() -> None:
    ended: list[object] = []
    calls = Calls(lambda: None)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    calls.begin("one", broken, ended.append, ended.append, 5.0, about=1)
    calls.begin("one", lambda: 1, broken, ended.append, 5.0, about=1)

    def delivered() -> bool:
        calls.deliver()
        return len(ended) == 2

    until(delivered)
    assert all(isinstance(one, RuntimeError) for one in ended)


@each_lack
def test_a_call_without_a_thread_fails_at_once_and_leaves_its_place_to_the_next(
    start: Callable[..., None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "MOST_AT_ONCE", 1)
    ended: list[object] = []
    woken: list[bool] = []
    calls = Calls(lambda: woken.append(True))
    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", start)
        for _ in range(2):
            calls.begin("one", lambda: 1, ended.append, ended.append, 60.0, about=1)
        assert woken, "who waits for it is woken"
        calls.deliver()
    assert [f"there is no thread for it: {why}"] * 2 == [str(one) for one in ended]
    assert calls.in_flight == 0
    calls.begin("one", lambda: 2, ended.append, ended.append, 60.0, about=1)

    def delivered() -> bool:
        calls.deliver()
        return ended[-1] == 2

    until(delivered)


@each_lack
def test_a_session_without_a_thread_for_its_call_has_ended(
    start: Callable[..., None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = MemoryBackend("a")
    access = AccessPool(Backends([backend])).of(backend.list_vms()[0])
    session = access.open_agent()
    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", start)
        session.sync(session.ticket(), 0.0)
    with pytest.raises(StreamEnded, match=f"no thread could be had for a call: {why}"):
        session.receive()
    session.close()


# -- the command line ----------------------------------------------------------------------------


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryBackend:
    """A machine whose only VMs are in memory."""
    backend = MemoryBackend("db1", "db2")
    monkeypatch.setattr(engine, "choose", lambda *_, **__: Backends([backend]))
    return backend


def test_the_command_line_lists_them(
    memory: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    memory.guests["db2"].frozen = True
    assert run(["list", "--json", "--state", "frozen", "--exit-code"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["id"], found["name"], found["source"]) == ("cloud:node2/db2", "db2", "cloud")
    assert (found["freeze"]["foreign"], found["agent"]["state"]) == (True, "alive")
    memory.guests["db2"].agent = False
    assert run(["list", "--state", "frozen", "--exit-code"]) == 3, "nobody can tell of db2"


def test_the_doctor_looks_at_them(
    memory: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["doctor", "--json"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(each["subject"] == "source cloud" and "2 VMs" in each["text"] for each in found)
    assert any("the agent answers" in each["text"] for each in found)


def test_a_freeze_by_name_is_refused_with_its_reason(
    memory: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["freeze", "db1", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (lines[-1]["vm"], lines[-1]["refusal"]) == ("cloud:node2/db1", "disabled")
    assert memory.guests["db1"].asked == 0
