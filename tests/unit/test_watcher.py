"""The watcher's two threads: who lists, who visits, and what a bug in either of them ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.access_pool import AccessPool, open_local
from agentclient.access.guest_access import GuestAccess, Opener
from agentclient.access.local_access import LocalAccess
from agentclient.backends.base import Abilities, Note
from agentclient.fleet import poller as poller_module
from agentclient.fleet import watcher
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState
from agentclient.model.vm import Identity, Vm, VmId
from tests.unit.no_thread import each_lack
from tests.waiting import until

ID = VmId("fake", "vm-1")
SOON_S = 60.0


class FakeSource:
    """One VM that nothing can reach: a visit finds that out without any socket."""

    name = "fake"
    patience_s = 60.0

    def __init__(self) -> None:
        self.asked = 0

    def list_vms(self) -> list[Vm]:
        self.asked += 1
        return [Vm(ID)]

    def open(self, vm: Vm, opener: Opener) -> LocalAccess:
        return open_local(vm, opener)

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:
        return None

    def has_ended(self, identity: Identity) -> bool | None:
        return None

    def abilities(self) -> Abilities:
        return Abilities(
            freeze=False, monitor=False, port_state=False, processes=False, locks=False
        )

    def notes(self) -> tuple[Note, ...]:
        return ()


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def watching(fleet: Fleet, source: FakeSource) -> Iterator[Watcher]:
    before = open_files()
    one = Watcher(fleet, AccessPool(), [source])
    yield one
    for _ in range(2):  # by the console, and by the command around it
        one.stop()
        assert not threads()
        assert open_files() <= before  # less, where those of another test were garbage


def threads() -> list[str]:
    names = (one.name for one in threading.enumerate())
    return sorted(name for name in names if name in ("sources", "watcher"))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def state_of(fleet: Fleet) -> VmState | None:
    return next(iter(fleet.states()), None)


def was_visited(fleet: Fleet) -> bool:
    state = state_of(fleet)
    return state is not None and state.agent.state is AgentState.NONE


def test_a_list_comes_first_and_visits_when_they_are_wanted(
    watching: Watcher, fleet: Fleet, source: FakeSource
) -> None:
    watching.list_first(wait_s=10.0)
    assert state_of(fleet) is not None
    assert threads() == ["sources"]
    assert not was_visited(fleet)
    watching.start()
    until(lambda: was_visited(fleet))
    watching.start()
    assert threads() == ["sources", "watcher"]
    assert source.asked == 1  # the list that came first will do


def test_who_only_lists_can_be_stopped(watching: Watcher, fleet: Fleet) -> None:
    watching.list_first()
    until(lambda: state_of(fleet) is not None)
    watching.visit_soon(ID)  # a key that was pressed before the first screen


def test_one_visit_to_all_needs_no_thread(watching: Watcher, fleet: Fleet) -> None:
    watching.visit_all(5.0)
    assert was_visited(fleet)
    assert not threads()


def test_a_bug_in_one_turn_is_told_and_the_next_one_visits(
    watching: Watcher, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, broken = poller_module.Poller.turn, [True]

    def turn_that_fails_once(self: poller_module.Poller, now: float) -> None:
        if broken.pop() if broken else False:
            raise RuntimeError("a bug")
        turn(self, now)

    monkeypatch.setattr(watcher, "AFTER_A_FAILURE_S", 0.01)
    monkeypatch.setattr(poller_module.Poller, "turn", turn_that_fails_once)
    watching.start()
    until(lambda: was_visited(fleet))
    assert watching.problems == ("the watcher failed, and goes on: RuntimeError('a bug')",)


def test_a_watcher_that_can_not_begin_says_so_and_tries_on(
    watching: Watcher, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, allowed = poller_module.Poller, threading.Event()

    def refuse_at_first(*parts: Any, **intervals: Any) -> poller_module.Poller:
        if not allowed.is_set():
            raise OSError(24, "Too many open files")
        return made(*parts, **intervals)

    monkeypatch.setattr(watcher, "AFTER_A_FAILURE_S", 0.01)
    monkeypatch.setattr(poller_module, "Poller", refuse_at_first)
    watching.start()
    until(lambda: watching.problems)
    assert "the watcher can't begin" in watching.problems[0]
    assert "Too many open files" in watching.problems[0]
    watching.visit_soon(ID)  # the operator presses a key, and the console lives
    allowed.set()
    until(lambda: was_visited(fleet))
    assert watching.problems == ()


def test_a_bug_of_a_source_is_told_and_the_next_list_is_taken(
    watching: Watcher, fleet: Fleet, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = source.list_vms

    def list_that_fails_once() -> list[Vm]:
        if not listed() or source.asked == 1:
            raise RuntimeError("a bug")
        return [Vm(ID)]

    monkeypatch.setattr(watcher, "SOURCES_EVERY_S", 0.01)
    monkeypatch.setattr(source, "list_vms", list_that_fails_once)
    watching.start()
    until(lambda: was_visited(fleet))
    assert source.asked > 1


@each_lack
def test_without_a_thread_it_says_that_nothing_is_watched_and_can_begin_later(
    watching: Watcher, start: Callable[..., None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", start)
        began = time.monotonic()
        watching.list_first(1.5 * SOON_S)
        watching.start()
        assert time.monotonic() - began < SOON_S, "nobody waits for a list that nobody makes"
    (problem,) = watching.problems
    assert problem == (
        f"the VMs are not watched: there is no thread for it ({why}); it is tried again"
    )
    watching.start()
    assert len(threads()) == 2
    assert watching.problems == ()


@pytest.mark.parametrize("missing", ["sources", "watcher"])
def test_without_one_thread_the_other_goes_on_and_it_is_begun_later(
    watching: Watcher, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == missing:
            raise RuntimeError("can't start new thread")
        begin(thread)

    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", start)
        for _ in range(3):
            watching.start()
            assert len(watching.problems) == 1
    watching.start()
    until(lambda: was_visited(fleet))
    assert watching.problems == ()
    watching.stop()
    watching.start()
    assert not threads()


def test_a_list_that_comes_a_moment_too_late_is_told_as_missing(
    watching: Watcher, source: FakeSource, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says that there is no VM, since its list came when it was not waited for any more."""
    gate, listed = threading.Event(), source.list_vms

    def late() -> list[Vm]:
        gate.wait(SOON_S)
        return listed()

    monkeypatch.setattr(source, "list_vms", late)
    monkeypatch.setattr(source, "patience_s", 0.05)
    assert watching.find_vms() == ()
    (discovery,) = watching.discoveries
    gate.set()
    until(lambda: not discovery.in_flight)
    (note,) = watching.hanging
    assert "it has not answered since" in note.text
    assert not fleet.states()
    watching.find_vms()
    assert watching.hanging == ()
    assert fleet.states()


def test_a_list_that_comes_while_it_is_taken_empties_nothing(
    watching: Watcher, source: FakeSource, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching.find_vms()
    (before,) = fleet.states()
    (discovery,) = watching.discoveries
    vms = discovery.vms
    discovery.vms, discovery.known = (), False

    def merged(lists: Sequence[Sequence[Vm]]) -> list[list[Vm]]:
        discovery.vms, discovery.known = vms, True
        return [list(each) for each in lists]

    monkeypatch.setattr(watcher, "merge", merged)
    watching._take_lists(together=False)
    (after,) = fleet.states()
    assert after.present == before.present is True
