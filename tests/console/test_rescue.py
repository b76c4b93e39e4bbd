"""The rescue ladder in the console: shown, chosen from, taken, and its finding told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentclient.fleet.store import Fleet
from agentclient.journal.figures import Figures
from agentclient.journal.history import VmHistory
from agentclient.journal.window_row import WindowRow
from agentclient.model.rescue import Means, RescueOutcome, Rung, RungResult, Step
from agentclient.model.states import AgentState, KnownBy, WindowKind
from agentclient.operations.rescue.ladder import LadderFacts, ladder
from tests.console.console_session import SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import agent, fleet_of, leave_frozen, make_vm, put, state_of
from tests.console.past import past_window


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    made = fleet_of(["app-1", "db-1", "web-1"], still)
    leave_frozen(made, qemu("db-1"), still)
    return made


def steps(session: ConsoleSession) -> list[tuple[str, Step | None]]:
    return [(one.vm.name, one.step) for one in session.operations.started]


def end(session: ConsoleSession, rung: Rung, found: RungResult, **more: Any) -> None:
    operation = session.operations.started[-1]
    values: dict[str, Any] = {
        "means": None, "state": None, "thawed": None, "reason": "as it was found", "seconds": 1.0
    }  # fmt: skip
    operation.outcome = RescueOutcome(operation.vm.id, rung, found=found, **(values | more))


async def on_the_ladder(session: ConsoleSession) -> None:
    await session.until(lambda: session.app.view.cursor is not None)
    await session.press("home", "R")  # trouble stands first
    assert session.dialog == "RescueDialog"
    assert "Rescue db-1: which rung?" in session.text


async def test_the_ladder_says_what_each_rung_would_do(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still, size=SMALL) as session:
        await on_the_ladder(session)
        assert "Rescue db-1: which rung?" in session.text
        assert "can't be taken: no agent runs" in session.line_of("1 connect")
        assert "ITS TURN: makes sense now" in session.line_of("3 wait")
        assert "if that fails" in session.line_of("4 sysrq by key")
        # It begins at the lowest rung that makes sense.
        assert session.line_of("3 wait").find(session.app.signs.cursor) >= 0
        assert "Waits up to 10 min" in session.text
        await session.press("up")
        assert "kernel thaws everything, if kernel.sysrq there" in session.text
        assert "Breaks the window of whoever froze it" in session.text
        assert "for others." in session.text, "all of the risk is on the smallest screen"


async def test_a_rung_whose_turn_it_is_not_is_asked_about_once_more(
    fleet: Fleet, still: StillClock
) -> None:
    put(fleet, qemu("db-1"), agent=agent(AgentState.ALIVE, KnownBy.REPLY, still))
    async with console_session(fleet, still) as session:
        session.operations.view = session.operations.view._replace(port_open=True)
        await on_the_ladder(session)
        for _ in range(3):
            await session.press("up")
        assert "not now" in session.line_of("4 sysrq by key")
        await session.press("enter")
        assert "it is not its turn: " in session.line_of("sure?")
        await session.press("down", "up")
        assert "sure?" not in session.text
        assert steps(session) == []
        for _ in range(2):
            await session.pilot.pause(0.25)  # a button takes no second Enter sooner
            await session.press("enter")
        await session.until(lambda: steps(session) == [("db-1", Step(Rung.SYSRQ, Means.KEY))])


async def test_enter_takes_the_rung_under_the_cursor(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await on_the_ladder(session)
        await session.press("enter")
        assert steps(session) == [("db-1", Step(Rung.WAIT))]
        assert "wait begun" in session.notice
        end(session, Rung.WAIT, RungResult.NO_AGENT, next="take the next one")
        await session.settle()
        assert "R shows the next rung" in session.notice
        await session.press("R")
        assert "12:00:00 no-agent: as it was found" in session.line_of("3 wait")
        assert "ITS TURN" in session.line_of("4 sysrq by key")
        await session.press("enter")
        assert steps(session)[-1] == ("db-1", Step(Rung.SYSRQ, Means.KEY))


async def test_x_leaves_a_rung(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await on_the_ladder(session)
        await session.press("enter", "x", "enter")
        assert session.operations.started[-1].calls == ["cancel"]
        assert "the rung is left" in session.notice


async def test_escape_takes_nothing(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await on_the_ladder(session)
        await session.press("escape")
        assert (session.dialog, steps(session)) == ("", [])


async def test_a_rung_that_cannot_be_taken_is_not(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await on_the_ladder(session)
        await session.press("down", "down", "enter")
        assert (session.dialog, steps(session)) == ("RescueDialog", [])


async def test_a_reset_needs_the_name_typed(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await on_the_ladder(session)
        await session.press("6", "enter")
        assert (session.dialog, steps(session)) == ("NameDialog", [])
        await session.press(*"db-2", "enter")
        assert (session.dialog, steps(session)) == ("NameDialog", [])
        await session.press("backspace", "1")
        # Textual takes no second press of a button while the first one is still shown.
        button = session.app.screen.focused
        assert button is not None
        await session.until(lambda: not button.has_class("-active"))
        await session.press("enter")
        assert steps(session) == [("db-1", Step(Rung.RESET, name="db-1"))]
        end(session, Rung.RESET, RungResult.RESET, reason="the guest was reset")
        await session.settle()
        assert "reset: the guest was reset" in session.notice


async def test_the_typing_of_a_name_can_be_left(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await on_the_ladder(session)
        await session.press("up", "up", "up", "enter", *"db-1", "escape")
        assert (session.dialog, steps(session)) == ("", [])


async def test_the_ladder_is_waited_for_without_standing_still(
    fleet: Fleet, still: StillClock
) -> None:
    operations = FakeOperations()
    operations.slow = True
    async with console_session(fleet, still, operations=operations) as session:
        await on_the_ladder(session)
        assert "looking at its monitor" in session.text
        await session.press("enter", "down")
        assert (session.dialog, steps(session)) == ("RescueDialog", [])
        offers = ladder(LadderFacts(state_of(fleet, "db-1"), operations.view, operations.inputs))
        operations.looks[0].set_result(offers)
        await session.until(lambda: "3 wait" in session.text)


async def test_a_ladder_that_cannot_be_drawn_says_so(fleet: Fleet, still: StillClock) -> None:
    operations = FakeOperations()
    operations.slow = True
    async with console_session(fleet, still, operations=operations) as session:
        await on_the_ladder(session)
        operations.looks[0].set_exception(OSError("[no] monitor"))
        await session.until(lambda: "can't be drawn: [no] monitor" in session.text)


async def test_the_rung_hits_the_vm_of_the_key_press(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await on_the_ladder(session)
        fleet.set_vms("qemu", [make_vm("db-1", 9999)])
        await session.press("enter")
        assert steps(session) == []
        assert "another process" in session.notice


async def test_read_only_shows_no_ladder(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still, read_only=True) as session:
        await session.press("R")
        assert session.dialog == ""
        assert "read-only" in session.notice


async def test_the_ladder_stands_on_its_foot_and_the_danger_grows_upwards(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still, size=SMALL) as session:
        await on_the_ladder(session)
        places = [
            next(n for n, line in enumerate(session.lines) if words in line)
            for words in ("6 reset", "5 sysrq", "4 sysrq", "3 wait", "2 thaw", "1 connect")
        ]
        assert places == sorted(places)
        assert "!!!" in session.line_of("6 reset")
        assert "!" not in session.line_of("1 connect")
        assert "═" in session.line_of("3 wait")
        assert "═" not in session.line_of("4 sysrq")


async def test_a_number_chooses_its_rung_and_does_nothing_before_enter(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still, size=SMALL) as session:
        await on_the_ladder(session)
        for number in "123456":
            await session.press(number)
            assert session.app.signs.cursor in session.line_of(f"─ {number} ".replace("─ 3", "═ 3"))
            assert " risk " in session.text, "the risk is always in sight"
        await session.press("7")  # there is none
        assert session.app.signs.cursor in session.line_of("6 reset")
        assert (session.dialog, steps(session)) == ("RescueDialog", [])
        await session.press("3", "enter")
        assert steps(session) == [("db-1", Step(Rung.WAIT))]


async def test_a_rung_that_runs_is_shown_and_so_is_what_it_finds(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still, size=SMALL) as session:
        await on_the_ladder(session)
        await session.press("enter")
        still.advance(60)
        await session.press("R")
        await session.until(lambda: "RUNS since 12:00:00" in session.text)
        end(session, Rung.WAIT, RungResult.NO_AGENT, reason="nobody came", next="the next one")
        await session.settle()
        await session.until(lambda: "12:01:00 no-agent: nobody came" in session.text)
        assert "ITS TURN" in session.line_of("4 sysrq")


async def test_what_others_have_found_stands_on_their_rungs(
    fleet: Fleet, still: StillClock
) -> None:
    operations = FakeOperations()
    operations.past = VmHistory(
        (taken(still, "wait", "silent", 30), taken(still, "sysrq", "unknown", -600)), Figures(0)
    )
    async with console_session(fleet, still, operations=operations, size=SMALL) as session:
        await on_the_ladder(session)
        assert "12:00:30 silent: it said nothing" in session.line_of("3 wait")
        assert "unknown" not in session.line_of("4 sysrq"), "that was about an earlier freeze"


def taken(still: StillClock, rung: str, found: str, after_s: float) -> WindowRow:
    """Return a rung in the journal that ended so long after the guest was seen frozen."""
    row = past_window(1, -timedelta(seconds=after_s), now=still.wall(), ended=0.0)
    by = "key" if rung == "sysrq" else None
    rescue = {"rung": rung, "by": by, "found": found, "ok": False, "reason": "it said nothing"}
    return replace(row, kind=WindowKind.RESCUE, rescue=rescue, request={"serial": None})
