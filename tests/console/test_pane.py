"""The pane: the facts of the VM under the cursor, and a log that leaves its reader alone."""

from __future__ import annotations

from agentclient.fleet.store import Fleet
from agentclient.model.states import Level
from tests.console.console_session import LARGE, ConsoleSession, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import every_state, fleet_of, long_freeze
from tui.console.widgets.pane.log_view import LogView


def log(fleet: Fleet, first: int, last: int) -> None:
    for number in range(first, last):
        fleet.log(qemu("a"), Level.INFO, f"line {number:03}")


async def test_the_pane_shows_the_vm_under_the_cursor(still: StillClock) -> None:
    async with console_session(long_freeze(still), still) as session:
        assert "qemu:db-1 · pid 4001" in session.text
        assert "step 2 of 6 ends in 7:41" in session.text
        assert "the agent has read the freeze" in session.text
        assert "not covered: vda15" in session.text
        await session.press("down")
        assert "qemu:app-1 · pid 4000" in session.text


async def test_clocks_in_the_pane_run(still: StillClock) -> None:
    async with console_session(long_freeze(still), still) as session:
        await session.settle(1)
        assert "step 2 of 6 ends in 7:40" in session.text


async def test_a_large_pane_shows_evidence_and_log_side_by_side(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=LARGE) as session:
        await session.press("slash", *"app-2", "enter")
        assert "✓ reply: 2 (3.1 s old)" in session.text
        await session.press("escape", "slash", *"app-1 !app-10", "enter")
        line = session.line_of("now ")
        assert "freeze sent" in line


async def test_enter_enlarges_the_pane(still: StillClock) -> None:
    async with console_session(every_state(still), still) as session:

        def table() -> int:
            return sum("●" in line for line in session.lines)

        before = table()
        await session.press("enter")
        await session.until(lambda: table() < before)
        await session.press("enter")
        await session.until(lambda: table() == before)


async def test_the_log_follows(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    log(fleet, 0, 60)
    async with console_session(fleet, still) as session:
        await session.until(lambda: "line 059" in session.text)
        log(fleet, 60, 90)
        await session.settle()
        await session.until(lambda: "line 089" in session.text)
        assert "line 059" not in session.text


async def test_a_reader_who_scrolled_up_is_left_alone(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    log(fleet, 0, 60)
    async with console_session(fleet, still) as session:
        await _to_the_log(session)
        await session.press("pageup", "pageup")
        await session.pilot.wait_for_scheduled_animations()
        shown = _log_lines(session)
        log(fleet, 60, 90)
        await session.settle()
        assert _log_lines(session) == shown
        assert "log paused, 30 new below: End follows" in session.text
        await session.press("end")
        await session.until(lambda: "line 089" in session.text)
        log(fleet, 90, 91)
        await session.settle()
        await session.until(lambda: "line 090" in session.text)
        assert "paused" not in session.text


async def test_a_reader_is_left_alone_when_old_lines_are_forgotten(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    log(fleet, 0, 500)
    async with console_session(fleet, still) as session:
        await _to_the_log(session)
        await session.press("pageup", "pageup")
        await session.pilot.wait_for_scheduled_animations()
        shown = _log_lines(session)
        log(fleet, 500, 600)
        await session.settle()
        assert _log_lines(session) == shown


async def _to_the_log(session: ConsoleSession) -> None:
    await session.press("tab", "tab")
    assert isinstance(session.app.focused, LogView)


def _log_lines(session: ConsoleSession) -> list[str]:
    return [line.split("line ")[1][:3] for line in session.lines if "line " in line]


async def test_another_vm_has_another_log(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    log(fleet, 0, 3)
    async with console_session(fleet, still) as session:
        await session.press("down")
        assert "line 00" not in session.text
        assert "this console has logged nothing of it yet" in session.text
        await session.press("up")
        assert "line 002" in session.text


async def test_long_log_lines_are_wrapped(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    fleet.log(qemu("a"), Level.ERROR, "word " * 40)
    async with console_session(fleet, still) as session:
        assert sum("word word" in line for line in session.lines) >= 3


async def test_another_vms_log_starts_at_its_end(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    for number in range(40):
        fleet.log(qemu("b"), Level.INFO, f"line {number:03}")
    async with console_session(fleet, still) as session:
        await session.press("down")
        await session.settle()
        assert "line 039" in session.text
        await session.press("up", "slash", "b", "enter")
        await session.settle()
        assert "line 039" in session.text
