"""What can't be begun on one VM is told, and keeps nothing from being begun on the others (P8)."""

from __future__ import annotations

import errno
import os
import time
from datetime import timedelta

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.errors import FrostwatchError
from agentclient.model.outcome import ThawOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.rescue import Step
from agentclient.model.snapshot import FreezeInfo, HeldBy
from agentclient.model.states import FreezeState
from agentclient.model.vm import Vm
from tests.console.console_session import LARGE, ConsoleSession, console_session, qemu
from tests.console.fakes import FakeOperation, FakeOperations, StillClock
from tests.console.fleets import fleet_of, lost, make_vm, put, verified
from tui.console.model.notices import Notice
from tui.console.widgets.status import NoticeLine

NAMES = ["a", "b", "c"]
PROBLEMS = [
    FrostwatchError("the daemon has \x1b[31mgone"),
    OSError(errno.EACCES, os.strerror(errno.EACCES)),
    RuntimeError("a bug"),
]


class Failing(FakeOperations):
    """Can begin nothing on one VM.

    Args:
        problem: what is raised there.
        name: which VM it is.
    """

    def __init__(self, problem: Exception, name: str = "b") -> None:
        super().__init__()
        self.problem = problem
        self.name = name

    def _check(self, vm: Vm) -> None:
        if vm.name == self.name:
            raise self.problem

    def freeze(self, vm: Vm, request: FreezeRequest, on_event: object = None) -> FakeOperation:
        self._check(vm)
        return super().freeze(vm, request, on_event)

    def thaw(self, vm: Vm, *, foreign: bool = False, on_event: object = None) -> FakeOperation:
        self._check(vm)
        return super().thaw(vm, foreign=foreign, on_event=on_event)

    def attach(self, vm: Vm, on_event: object = None) -> FakeOperation:
        self._check(vm)
        return super().attach(vm, on_event)

    def rescue(
        self, vm: Vm, step: Step, *, person: bool = True, on_event: object = None
    ) -> FakeOperation:
        self._check(vm)
        return super().rescue(vm, step)


def begun(session: ConsoleSession) -> list[str]:
    return [one.vm.name for one in session.operations.started]


def last_log(fleet: Fleet, name: str) -> str:
    return fleet.log_since(qemu(name))[-1].text


@pytest.mark.parametrize("problem", PROBLEMS, ids=["core", "system", "bug"])
@pytest.mark.parametrize("key", ["f", "t"])
async def test_the_others_are_begun_all_the_same(
    still: StillClock, problem: Exception, key: str
) -> None:
    fleet, operations = fleet_of(NAMES, still), Failing(problem)
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        await session.press("a", key, "enter")
        await session.settle(1)
        assert session.app.is_running
        assert begun(session) == ["a", "c"]
        assert last_log(fleet, "b").startswith("refused: ")
        assert last_log(fleet, "b").endswith("; nothing was sent")
        assert "\x1b" not in session.text
        assert "0/2" in session.text, "one line says how far both are"


@pytest.mark.parametrize("problem", PROBLEMS, ids=["core", "system", "bug"])
async def test_nor_does_a_window_that_can_not_be_taken_over(
    still: StillClock, problem: Exception
) -> None:
    fleet, operations = fleet_of(NAMES, still), Failing(problem)
    held = HeldBy(7, "bob", FreezeState.FROZEN, still.wall(), window=3, kept=True, ended=True)
    for name in NAMES:
        fleet.update(qemu(name), lambda state: state.with_held_by(held))
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        await session.press("a", "A")
        assert session.app.is_running
        assert begun(session) == ["a", "c"]
        assert last_log(fleet, "b").startswith("refused: ")


@pytest.mark.parametrize("problem", PROBLEMS, ids=["core", "system", "bug"])
async def test_nor_does_a_rung_that_can_not_be_taken(still: StillClock, problem: Exception) -> None:
    fleet, operations = fleet_of(["b"], still), Failing(problem)
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        await session.press("R", "enter")
        await session.until(lambda: "b: refused: " in session.notice)
        assert session.app.is_running
        assert last_log(fleet, "b").endswith("; nothing was done")


# -- a group --------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS, ids=["core", "system", "bug"])
async def test_a_group_that_is_begun_half_way_is_told_so_and_until_its_end(
    still: StillClock, problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun of it is thawed at once: the operator has to see that it was."""
    told, show = list[str](), NoticeLine.show_notice

    def kept(line: NoticeLine, notice: Notice) -> None:
        told.append(notice.text)  # the end may follow at once, and take the line
        show(line, notice)

    monkeypatch.setattr(NoticeLine, "show_notice", kept)
    fleet, operations = fleet_of(NAMES, still), Failing(problem)
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        await session.press("a", "f", "b", "enter")
        assert session.app.is_running
        assert begun(session) == ["a"]
        (half_way,) = [text for text in told if "not begun on all VMs: " in text]
        assert "1 of 3 was begun, and is thawed at once" in half_way
        (first,) = operations.started
        await session.until(lambda: "cancel" in first.calls)
        end = time.monotonic() + 60
        while "NOT frozen together" not in session.notice and time.monotonic() < end:
            await session.pilot.pause(0.05)
            await session.settle()
        assert not any("nothing was sent" in text for text in told)
        assert "a MAY STILL BE FROZEN; NOT frozen together: qemu:b could not be" in session.notice


async def test_of_a_group_none_is_begun_if_the_first_can_not_be(still: StillClock) -> None:
    fleet, operations = fleet_of(NAMES, still), Failing(FrostwatchError("gone"), "a")
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        await session.press("a", "f", "b", "enter")
        assert begun(session) == []
        assert "refused: gone; nothing was sent" in session.notice


# -- the receipt of a thaw of everything -----------------------------------------------------------


def left_frozen(still: StillClock, names: list[str]) -> Fleet:
    fleet = fleet_of(names, still)
    for name in names:
        put(fleet, qemu(name), last=lost(settled=False), freeze=FreezeInfo())
    return fleet


def thawed(name: str) -> ThawOutcome:
    return ThawOutcome(qemu(name), FreezeState.THAWED, 2, False, "thawed 2", 0.1)


async def test_the_receipt_counts_what_was_not_sent(still: StillClock) -> None:
    fleet = left_frozen(still, NAMES)
    async with console_session(fleet, still, size=LARGE) as session:
        await session.press("T")
        others = [one.vm for one in fleet.states() if one.vm.name != "b"]
        fleet.set_vms("qemu", [make_vm("b", 9999), *others])
        await session.settle()
        await session.press("enter")
        for one in session.operations.started:
            one.outcome = thawed(one.vm.name)
        await session.settle(1)
        assert "thaw all: 1 of 3 MAY STILL BE FROZEN: b" in session.notice


async def test_nothing_that_could_be_sent_is_told_as_such(still: StillClock) -> None:
    fleet, operations = left_frozen(still, ["b"]), Failing(FrostwatchError("gone"))
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        await session.press("T", "enter")
        await session.settle(1)
        assert "thaw all: 1 of 1 MAY STILL BE FROZEN: b" in session.notice


async def test_a_second_one_does_not_take_the_firsts_receipt_away(still: StillClock) -> None:
    fleet = left_frozen(still, ["a"])
    async with console_session(fleet, still, size=LARGE) as session:
        await session.press("T", "enter")
        fleet.set_vms("qemu", [*(one.vm for one in fleet.states()), make_vm("b", 5000)])
        put(fleet, qemu("b"), last=lost(settled=False), freeze=FreezeInfo())
        put(fleet, qemu("a"), last=verified(), freeze=FreezeInfo(FreezeState.THAWED))
        await session.settle(3)
        await session.press("T", "enter")
        first, second = session.operations.started
        second.outcome = thawed("b")
        await session.settle(1)
        assert "thaw all: 1 of 1 thawed" in session.notice
        first.outcome = ThawOutcome(qemu("a"), None, None, False, "no answer", 180.0, "do this")
        await session.settle(1)
        assert "thaw all: 1 of 1 MAY STILL BE FROZEN: a" in session.notice


# -- another freeze than the one that was asked about (P6) -----------------------------------------


async def test_a_foreign_freeze_that_came_after_the_question_is_not_thawed(
    still: StillClock,
) -> None:
    fleet = fleet_of(["web"], still)
    before = still.wall() - timedelta(minutes=12)
    put(fleet, qemu("web"), freeze=FreezeInfo(FreezeState.FROZEN, before, foreign=True))
    async with console_session(fleet, still, size=LARGE) as session:
        await session.press("t")
        assert "Thaw somebody else's freeze of web?" in session.text
        still.advance(60)
        put(fleet, qemu("web"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True))
        await session.settle()
        await session.press("right", "enter")
        assert begun(session) == []
        assert "refused: qemu:web is frozen anew" in session.notice
        await session.press("t", "right", "enter")
        assert begun(session) == ["web"]


async def test_a_foreign_freeze_that_is_known_better_by_now_is_the_same(still: StillClock) -> None:
    fleet = fleet_of(["web"], still)
    put(fleet, qemu("web"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True))
    async with console_session(fleet, still) as session:
        await session.press("t")
        earlier = still.wall() - timedelta(hours=1)
        put(fleet, qemu("web"), freeze=FreezeInfo(FreezeState.FROZEN, earlier, foreign=True))
        await session.settle()
        await session.press("right", "enter")
        assert begun(session) == ["web"]
