"""The rescue ladder in the console: shown, chosen from, taken, and its finding told."""

from __future__ import annotations

from typing import Any

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.rescue import Found, Means, RescueOutcome, Rung, Step
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import AgentHow, AgentState, FreezeState
from agentclient.operations.rescue.ladder import Known, ladder
from tests.console.driving import SMALL, Seat, qemu, seated
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import agent, fleet_of, make_vm, put, state_of


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    made = fleet_of(["app-1", "db-1", "web-1"], still)
    put(
        made,
        qemu("db-1"),
        agent=agent(AgentState.CLOSED, AgentHow.PORT, still),
        freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True),
    )
    return made


def steps(seat: Seat) -> list[tuple[str, Step | None]]:
    return [(one.vm.name, one.step) for one in seat.operations.started]


def end(seat: Seat, rung: Rung, found: Found, **more: Any) -> None:
    operation = seat.operations.started[-1]
    values: dict[str, Any] = {
        "means": None, "state": None, "thawed": None, "reason": "as it was found", "seconds": 1.0
    }  # fmt: skip
    operation.outcome = RescueOutcome(operation.vm.id, rung, found=found, **(values | more))


async def on_the_ladder(seat: Seat) -> None:
    await seat.until(lambda: seat.app.view.cursor is not None)
    await seat.press("home", "R")  # trouble stands first
    assert seat.dialog == "RescueDialog"
    assert "Rescue db-1: which rung?" in seat.text


async def test_the_ladder_says_what_each_rung_would_do(fleet: Fleet, still: StillClock) -> None:
    async with seated(fleet, still, size=SMALL) as seat:
        await on_the_ladder(seat)
        assert "Rescue db-1: which rung?" in seat.text
        assert "can't be taken: no agent runs" in seat.line_of("1 connect")
        assert "makes sense now" in seat.line_of("4 sysrq by key")
        # It begins at the lowest rung that makes sense.
        assert seat.line_of("3 wait").find(seat.app.signs.cursor) >= 0
        assert "Waits up to 10 min" in seat.text
        await seat.press("down")
        assert "kernel thaws everything, if kernel.sysrq there" in seat.text
        assert "Breaks the window of whoever froze it" in seat.text
        assert "for others." in seat.text, "all of the risk is on the smallest screen"


async def test_a_rung_whose_turn_it_is_not_is_asked_about_once_more(
    fleet: Fleet, still: StillClock
) -> None:
    put(fleet, qemu("db-1"), agent=agent(AgentState.ALIVE, AgentHow.REPLY, still))
    async with seated(fleet, still) as seat:
        seat.operations.view = seat.operations.view._replace(port_open=True)
        await on_the_ladder(seat)
        for _ in range(3):
            await seat.press("down")
        assert "not now" in seat.line_of("4 sysrq by key")
        await seat.press("enter")
        assert "it is not its turn: " in seat.line_of("sure?")
        await seat.press("up", "down")
        assert "sure?" not in seat.text
        assert steps(seat) == []
        for _ in range(2):
            await seat.pilot.pause(0.25)  # a button takes no second Enter sooner
            await seat.press("enter")
        await seat.until(lambda: steps(seat) == [("db-1", Step(Rung.SYSRQ, Means.KEY))])


async def test_enter_takes_the_rung_under_the_cursor(fleet: Fleet, still: StillClock) -> None:
    async with seated(fleet, still) as seat:
        await on_the_ladder(seat)
        await seat.press("enter")
        assert steps(seat) == [("db-1", Step(Rung.WAIT))]
        assert "wait begun" in seat.notice
        end(seat, Rung.WAIT, Found.NO_AGENT, next="take the next one")
        await seat.settle()
        assert "R shows the next rung" in seat.notice
        await seat.press("R")
        assert "was taken already" in seat.line_of("3 wait")
        await seat.press("enter")
        assert steps(seat)[-1] == ("db-1", Step(Rung.SYSRQ, Means.KEY))


async def test_x_leaves_a_rung(fleet: Fleet, still: StillClock) -> None:
    async with seated(fleet, still) as seat:
        await on_the_ladder(seat)
        await seat.press("enter", "x", "enter")
        assert seat.operations.started[-1].calls == ["cancel"]
        assert "the rung is left" in seat.notice


async def test_escape_takes_nothing(fleet: Fleet, still: StillClock) -> None:
    async with seated(fleet, still) as seat:
        await on_the_ladder(seat)
        await seat.press("escape")
        assert (seat.dialog, steps(seat)) == ("", [])


async def test_a_rung_that_cannot_be_taken_is_not(fleet: Fleet, still: StillClock) -> None:
    async with seated(fleet, still) as seat:
        await on_the_ladder(seat)
        await seat.press("up", "up", "enter")
        assert (seat.dialog, steps(seat)) == ("RescueDialog", [])


async def test_a_reset_needs_the_name_typed(fleet: Fleet, still: StillClock) -> None:
    async with seated(fleet, still) as seat:
        await on_the_ladder(seat)
        await seat.press("down", "down", "down", "enter")
        assert (seat.dialog, steps(seat)) == ("NameDialog", [])
        await seat.press(*"db-2", "enter")
        assert (seat.dialog, steps(seat)) == ("NameDialog", [])
        await seat.press("backspace", "1")
        # Textual takes no second press of a button while the first one is still shown.
        button = seat.app.screen.focused
        assert button is not None
        await seat.until(lambda: not button.has_class("-active"))
        await seat.press("enter")
        assert steps(seat) == [("db-1", Step(Rung.RESET, name="db-1"))]
        end(seat, Rung.RESET, Found.RESET, reason="the guest was reset")
        await seat.settle()
        assert "reset: the guest was reset" in seat.notice


async def test_the_typing_of_a_name_can_be_left(fleet: Fleet, still: StillClock) -> None:
    async with seated(fleet, still) as seat:
        await on_the_ladder(seat)
        await seat.press("down", "down", "down", "enter", *"db-1", "escape")
        assert (seat.dialog, steps(seat)) == ("", [])


async def test_the_ladder_is_waited_for_without_standing_still(
    fleet: Fleet, still: StillClock
) -> None:
    operations = FakeOperations()
    operations.slow = True
    async with seated(fleet, still, operations=operations) as seat:
        await on_the_ladder(seat)
        assert "looking at its monitor" in seat.text
        await seat.press("enter", "down")
        assert (seat.dialog, steps(seat)) == ("RescueDialog", [])
        offers = ladder(Known(state_of(fleet, "db-1"), operations.view, operations.inputs))
        operations.looks[0].set_result(offers)
        await seat.until(lambda: "3 wait" in seat.text)


async def test_a_ladder_that_cannot_be_drawn_says_so(fleet: Fleet, still: StillClock) -> None:
    operations = FakeOperations()
    operations.slow = True
    async with seated(fleet, still, operations=operations) as seat:
        await on_the_ladder(seat)
        operations.looks[0].set_exception(OSError("[no] monitor"))
        await seat.until(lambda: "can't be drawn: [no] monitor" in seat.text)


async def test_the_rung_hits_the_vm_of_the_key_press(fleet: Fleet, still: StillClock) -> None:
    async with seated(fleet, still) as seat:
        await on_the_ladder(seat)
        fleet.set_vms("qemu", [make_vm("db-1", 9999)])
        await seat.press("enter")
        assert steps(seat) == []
        assert "another process" in seat.notice


async def test_read_only_shows_no_ladder(fleet: Fleet, still: StillClock) -> None:
    async with seated(fleet, still, read_only=True) as seat:
        await seat.press("R")
        assert seat.dialog == ""
        assert "--read-only" in seat.notice
