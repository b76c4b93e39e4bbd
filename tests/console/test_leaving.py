"""However the console ends, guests are thawed first, or somebody is told (P4)."""

from __future__ import annotations

import os
import pty
import re
import signal
import threading
import time
from collections.abc import Callable

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.errors import FrostwatchError
from agentclient.model.next_command import thaw_command
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState, OutcomeKind
from tests.console.console_session import qemu
from tests.console.fakes import FakeOperation, FakeOperations, StillClock
from tests.console.fleets import fleet_of, held, lost, put, refused, state_of, verified
from tests.unit.no_thread import each_lack
from tui.console import leave
from tui.console.leave import (
    CLEAN,
    LEFT_SOMETHING,
    SignalHandler,
    leave_windows,
    leftovers,
    thaw_and_leave,
)
from tui.shared.signals import Signals

THAWED = Outcome(OutcomeKind.TIMEOUT, "stopped waiting; thawed 2", settled=True)


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, text: str) -> None:
        self.lines.append(text)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def fleet() -> Fleet:
    return fleet_of(["a", "b"], StillClock())


def ends_after(seconds: float, outcome: Outcome) -> FakeOperations:
    """Return operations whose cancellation is obeyed after a while."""

    def later(operation: FakeOperation) -> None:
        def end() -> None:
            time.sleep(seconds)
            operation.outcome = outcome

        if operation.calls == ["cancel"]:
            threading.Thread(target=end, daemon=True).start()

    operations = FakeOperations()
    vm = state_of(fleet_of(["a"], StillClock()), "a").vm
    operations.add(vm).on_cancel = later
    return operations


def test_a_signal_cancels_at_once_whatever_the_screen_is_doing() -> None:
    operations = ends_after(60, THAWED)
    stuck = threading.Event()

    def leave_screen() -> None:
        stuck.wait(60)

    handler = SignalHandler(operations, leave_screen, lambda: CLEAN)
    with handler:
        handler.start()
        os.kill(os.getpid(), signal.SIGTERM)
        until = time.monotonic() + 60
        while not operations.started[0].calls and time.monotonic() < until:
            time.sleep(0.01)
        handler.screen_left.set()
        stuck.set()
    assert operations.started[0].calls == ["cancel"]
    assert handler.requests == 1


def test_a_storm_of_signals_stops_nobody() -> None:
    """One is acted on; a pipe that nobody empties must not block the thread that thaws."""
    handler = SignalHandler(FakeOperations(), lambda: None, lambda: CLEAN)

    def send() -> None:
        for _ in range(100_000):
            handler._note(signal.SIGTERM, None)

    storm = threading.Thread(target=send, daemon=True)
    storm.start()
    storm.join(60.0)
    assert not storm.is_alive()


@each_lack
def test_without_a_thread_to_act_on_signals_no_console_is_opened(
    start: Callable[..., None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = SignalHandler(FakeOperations(), lambda: None, lambda: CLEAN)
    monkeypatch.setattr(threading.Thread, "start", start)
    with handler, pytest.raises(FrostwatchError, match=re.escape(f"({why}); nothing was sent")):
        handler.start()


def test_nothing_in_flight_is_left_with_one_line(fleet: Fleet) -> None:
    told = Told()
    operations = FakeOperations()
    assert thaw_and_leave(fleet, operations, Signals(), told) == CLEAN
    assert told.lines == ["frostwatch: nothing was frozen"]
    assert operations.closed


def test_what_is_in_flight_is_cancelled_and_waited_for(fleet: Fleet) -> None:
    told = Told()
    operations = ends_after(0.3, THAWED)
    assert thaw_and_leave(fleet, operations, Signals(), told) == CLEAN
    assert "thawing qemu:a" in told.lines[0]
    assert told.lines[-2] == "frostwatch: qemu:a: stopped waiting; thawed 2"
    assert "give_up" not in operations.started[0].calls


def test_one_more_signal_leaves_it_to_the_holder_at_once(fleet: Fleet) -> None:
    told = Told()
    signals = Signals()
    signals.requests = 1  # the one that made the console leave
    operations = ends_after(60, THAWED)
    timer = threading.Timer(0.3, setattr, (signals, "requests", 2))
    timer.start()
    began = time.monotonic()
    assert thaw_and_leave(fleet, operations, signals, told) == LEFT_SOMETHING
    assert time.monotonic() - began < 30
    assert operations.started[0].calls[-1] == "give_up"
    assert "qemu:a: left to its holder" in told.lines[-2]
    assert told.lines[-2].endswith(f"if it does not: {thaw_command(state_of(fleet, 'a').vm)}")


def test_detaching_waits_for_nothing_and_is_no_failure(fleet: Fleet) -> None:
    told = Told()
    operations = ends_after(60, THAWED)
    began = time.monotonic()
    assert thaw_and_leave(fleet, operations, Signals(), told, detach=True) == CLEAN
    assert time.monotonic() - began < 30
    assert len(told.lines) == 2
    assert "left to its holder" in told.text
    assert told.lines[-1] == "frostwatch: 1 guest left to the holder"


@pytest.mark.parametrize("taken", [True, False])
def test_a_window_is_left_to_its_holder_or_thawed_if_that_does_not_take_it(
    fleet: Fleet, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leave, "KEEPING_S", 0.1)
    put(fleet, qemu("a"), progress=held(StillClock()))
    told, operations = Told(), FakeOperations()
    operation = operations.add(state_of(fleet, "a").vm)
    kept = Outcome(OutcomeKind.VERIFIED, "left to its holder (pid 7)", holder=7, kept=True)

    def keep() -> None:
        operation.calls.append("keep")
        if taken:
            operation.outcome = kept
            put(fleet, qemu("a"), progress=None, last=kept)

    monkeypatch.setattr(operation, "keep", keep)
    leave_windows(fleet, operations, told)
    assert operation.calls == ["keep"]
    assert thaw_and_leave(fleet, operations, Signals(), told, detach=True) == CLEAN
    assert ("cancel" in operation.calls) is not taken
    assert ("left to its holder (pid 7)" in told.text) is taken
    assert told.lines[-1].endswith("1 guest left to the holder")


def test_a_guest_that_could_not_be_thawed_is_named_with_the_next_step(fleet: Fleet) -> None:
    put(fleet, qemu("a"), last=lost(settled=False), freeze=FreezeInfo(FreezeState.FROZEN))
    told = Told()
    assert thaw_and_leave(fleet, FakeOperations(), Signals(), told) == LEFT_SOMETHING
    assert "qemu:a MAY STILL BE FROZEN: the agent was restarted" in told.text
    assert "NEXT: frostwatch thaw qemu:mail" in told.text


@pytest.mark.parametrize(
    ("last", "state", "left"),
    [
        (None, FreezeState.THAWED, False),
        (None, FreezeState.FROZEN, False),  # foreign: not ours to tell about
        (verified(), FreezeState.FROZEN, False),
        (refused(), FreezeState.FROZEN, False),
        (refused()._replace(settled=False), FreezeState.FROZEN, False),
        (lost(settled=False), FreezeState.FROZEN, True),
        (lost(settled=False), None, True),
        (lost(settled=True), FreezeState.FROZEN, False),
    ],
)
def test_what_is_left_behind(
    fleet: Fleet, last: Outcome | None, state: FreezeState | None, left: bool
) -> None:
    put(fleet, qemu("a"), last=last, freeze=FreezeInfo(state))
    assert [line for line in leftovers(fleet, ()) if "qemu:a" in line] != [] or not left
    assert (list(leftovers(fleet, ())) != []) is left


def test_the_last_line_tells_what_came_of_the_session(fleet: Fleet) -> None:
    put(fleet, qemu("a"), last=verified(certified=True))
    foreign = FreezeInfo(FreezeState.FROZEN, foreign=True)
    put(fleet, qemu("b"), last=lost(settled=False), freeze=foreign)
    told = Told()
    thaw_and_leave(fleet, FakeOperations(), Signals(), told)
    assert told.lines[-1] == (
        "frostwatch: last freeze of 2 guests: 1 certified, 1 lost; "
        "1 guest MAY STILL BE FROZEN; 1 guest frozen by others"
    )


def test_a_terminal_that_ends_counts_as_a_signal() -> None:
    operations, left = FakeOperations(), threading.Event()
    master, slave = pty.openpty()

    def leave() -> None:
        left.set()
        handler.screen_left.set()

    handler = SignalHandler(operations, leave, lambda: CLEAN, [slave])
    handler.start()
    assert not left.wait(0.2)
    os.close(master)
    assert left.wait(60.0)
    os.close(slave)


def test_of_many_only_some_are_named() -> None:
    fleet = fleet_of([f"vm-{n}" for n in range(40)], StillClock())
    operations, told = FakeOperations(), Told()
    for state in fleet.states():
        operations.add(state.vm)
    signals = Signals()
    threading.Timer(0.3, setattr, (signals, "requests", 2)).start()
    thaw_and_leave(fleet, operations, signals, told)
    assert sum("thawing qemu:vm-" in line for line in told.lines) == 8
    assert "frostwatch: and 32 more" in told.lines
