"""One key for everything that is frozen."""

from __future__ import annotations

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import FreezeInfo, HeldBy
from agentclient.model.states import FreezeState, OutcomeKind
from tests.console.console_session import console_session, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import fleet_of, lost, pending, put, state_of


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    """One that we are freezing, one that we left, two that are foreign, and one thawed."""
    made = fleet_of(["flying", "left", "old", "young", "calm"], still)
    put(made, qemu("flying"), progress=pending(still), freeze=FreezeInfo(FreezeState.FREEZING))
    put(made, qemu("left"), last=lost(settled=False), freeze=FreezeInfo())
    put(made, qemu("old"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True))
    still.advance(60)
    put(made, qemu("young"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True))
    return made


def flying(fleet: Fleet) -> FakeOperations:
    operations = FakeOperations()
    operations.add(state_of(fleet, "flying").vm)
    return operations


async def test_ours_are_thawed_after_one_question(fleet: Fleet, still: StillClock) -> None:
    operations = flying(fleet)
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("T")
        assert session.dialog == "ThawAllDialog"
        assert "qemu:flying" in session.text
        assert "2 more are frozen here, and not by us" in session.text
        await session.press("enter")
        assert [one.vm.name for one in operations.started] == ["flying", "left"]
        assert operations.started[0].calls == ["cancel"]


async def test_foreign_ones_are_behind_a_second_question_and_the_oldest_comes_first(
    fleet: Fleet, still: StillClock
) -> None:
    operations = flying(fleet)
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("T", "a")
        assert session.dialog == "ThawDialog"
        await session.press("enter")  # the safe answer stands first
        assert len(operations.started) == 1
        await session.press("T", "a", "right", "enter")
        names = [one.vm.name for one in operations.started]
        assert names == ["flying", "left", "old", "young"]


async def test_without_anything_of_ours_only_the_second_question_is_asked(
    still: StillClock,
) -> None:
    fleet = fleet_of(["old"], still)
    put(fleet, qemu("old"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True))
    async with console_session(fleet, still) as session:
        await session.press("T")
        assert session.dialog == "ThawDialog"


async def test_nothing_frozen_is_said(still: StillClock) -> None:
    async with console_session(fleet_of(["calm"], still), still) as session:
        await session.press("T")
        assert session.dialog == ""
        assert "nothing is frozen here" in session.notice


async def test_a_receipt_tells_what_is_left(fleet: Fleet, still: StillClock) -> None:
    operations = flying(fleet)
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("T", "enter")
        first, second = operations.started
        first.outcome = Outcome(OutcomeKind.TIMEOUT, "thawed", settled=True)
        await session.settle()
        assert "thaw all" not in session.notice
        second.outcome = Outcome(OutcomeKind.FAILED, "no answer", settled=False)
        await session.settle()
        assert "thaw all: 1 of 2 MAY STILL BE FROZEN: left" in session.notice


@pytest.mark.parametrize("kept", [True, False])
async def test_what_other_frostwatches_hold_or_left_is_behind_the_second_question(
    still: StillClock, kept: bool
) -> None:
    fleet, operations = fleet_of(["theirs"], still), FakeOperations()
    held = HeldBy(7, "bob", FreezeState.FROZEN, still.wall(), window=3, kept=kept, ended=kept)
    fleet.update(qemu("theirs"), lambda state: state.with_held_by(held))
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("T")
        assert session.dialog == "ThawDialog"
        await session.press("enter" if kept else "right", *([] if kept else ["enter"]))
        (thaw,) = operations.started
        assert thaw.foreign is not kept, "what was left to its holder is ours"
