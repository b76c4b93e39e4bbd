"""Dialogs above dialogs: what changes on the screens below all of them is seen behind them."""

from __future__ import annotations

from tests.console.console_session import LARGE, console_session, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import fleet_of, held, put
from tests.console.past import past_of_web1

STACK = ("H", "enter", "w")


async def test_the_keys_are_those_of_the_dialog_on_top(still: StillClock) -> None:
    operations = FakeOperations()
    operations.past = past_of_web1()
    fleet = fleet_of(["web1"], still)
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        await session.press(*STACK[:-1])
        await session.until(lambda: "w Save" in session.lines[-1])
        await session.press(STACK[-1])
        await session.until(lambda: session.dialog == "SaveDialog")
        await session.until(lambda: "w Save" not in session.lines[-1])
        assert "Esc" in session.lines[-1]
        await session.press("escape")
        await session.until(lambda: "w Save" in session.lines[-1])


async def test_a_held_windows_seconds_go_on(still: StillClock) -> None:
    operations = FakeOperations()
    operations.past = past_of_web1()
    fleet = fleet_of(["web1"], still)
    put(fleet, qemu("web1"), progress=held(still))
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        await session.press(*STACK)
        await session.until(lambda: session.dialog == "SaveDialog")
        await session.settle()
        first = session.lines[:4]
        assert any("0:18" in line for line in first), session.text
        await session.settle(7.0)
        await session.until(lambda: any("0:11" in line for line in session.lines[:4]))
