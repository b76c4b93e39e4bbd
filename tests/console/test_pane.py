"""The pane: the facts of the VM under the cursor, and a log that leaves its reader alone."""

from __future__ import annotations

from agentclient.fleet.store import Fleet
from agentclient.model.states import Level
from tests.console.driving import LARGE, Seat, qemu, seated
from tests.console.fakes import StillClock
from tests.console.fleets import every_state, fleet_of, long_freeze
from tui.console.widgets.pane.log_view import LogView


def log(fleet: Fleet, first: int, last: int) -> None:
    for number in range(first, last):
        fleet.log(qemu("a"), Level.INFO, f"line {number:03}")


async def test_the_pane_shows_the_vm_under_the_cursor(still: StillClock) -> None:
    async with seated(long_freeze(still), still) as seat:
        assert "qemu:db-1 · pid 4001" in seat.text
        assert "step 2 of 6 ends in 7:41" in seat.text
        assert "the agent has read the freeze" in seat.text
        assert "not covered: vda15" in seat.text
        await seat.press("down")
        assert "qemu:app-1 · pid 4000" in seat.text


async def test_clocks_in_the_pane_run(still: StillClock) -> None:
    async with seated(long_freeze(still), still) as seat:
        await seat.settle(1)
        assert "step 2 of 6 ends in 7:40" in seat.text


async def test_a_large_pane_shows_evidence_and_log_side_by_side(still: StillClock) -> None:
    async with seated(every_state(still), still, size=LARGE) as seat:
        await seat.press("slash", *"app-2", "enter")
        assert "✓ reply: 2 (3.1 s old)" in seat.text
        await seat.press("escape", "slash", *"app-1 !app-10", "enter")
        line = seat.line_of("now ")
        assert "freeze sent" in line


async def test_enter_enlarges_the_pane(still: StillClock) -> None:
    async with seated(every_state(still), still) as seat:

        def table() -> int:
            return sum("●" in line for line in seat.lines)

        before = table()
        await seat.press("enter")
        await seat.until(lambda: table() < before)
        await seat.press("enter")
        await seat.until(lambda: table() == before)


async def test_the_log_follows(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    log(fleet, 0, 60)
    async with seated(fleet, still) as seat:
        await seat.until(lambda: "line 059" in seat.text)
        log(fleet, 60, 90)
        await seat.settle()
        await seat.until(lambda: "line 089" in seat.text)
        assert "line 059" not in seat.text


async def test_a_reader_who_scrolled_up_is_left_alone(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    log(fleet, 0, 60)
    async with seated(fleet, still) as seat:
        await _to_the_log(seat)
        await seat.press("pageup", "pageup")
        await seat.pilot.wait_for_scheduled_animations()
        shown = _log_lines(seat)
        log(fleet, 60, 90)
        await seat.settle()
        assert _log_lines(seat) == shown
        assert "log paused, 30 new below: End follows" in seat.text
        await seat.press("end")
        await seat.until(lambda: "line 089" in seat.text)
        log(fleet, 90, 91)
        await seat.settle()
        await seat.until(lambda: "line 090" in seat.text)
        assert "paused" not in seat.text


async def test_a_reader_is_left_alone_when_old_lines_are_forgotten(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    log(fleet, 0, 500)
    async with seated(fleet, still) as seat:
        await _to_the_log(seat)
        await seat.press("pageup", "pageup")
        await seat.pilot.wait_for_scheduled_animations()
        shown = _log_lines(seat)
        log(fleet, 500, 600)
        await seat.settle()
        assert _log_lines(seat) == shown


async def _to_the_log(seat: Seat) -> None:
    await seat.press("tab", "tab")
    assert isinstance(seat.app.focused, LogView)


def _log_lines(seat: Seat) -> list[str]:
    return [line.split("line ")[1][:3] for line in seat.lines if "line " in line]


async def test_another_vm_has_another_log(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    log(fleet, 0, 3)
    async with seated(fleet, still) as seat:
        await seat.press("down")
        assert "line 00" not in seat.text
        assert "this console has logged nothing of it yet" in seat.text
        await seat.press("up")
        assert "line 002" in seat.text


async def test_long_log_lines_are_wrapped(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    fleet.log(qemu("a"), Level.ERROR, "word " * 40)
    async with seated(fleet, still) as seat:
        assert sum("word word" in line for line in seat.lines) >= 3


async def test_another_vms_log_starts_at_its_end(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    for number in range(40):
        fleet.log(qemu("b"), Level.INFO, f"line {number:03}")
    async with seated(fleet, still) as seat:
        await seat.press("down")
        await seat.settle()
        assert "line 039" in seat.text
        await seat.press("up", "slash", "b", "enter")
        await seat.settle()
        assert "line 039" in seat.text
