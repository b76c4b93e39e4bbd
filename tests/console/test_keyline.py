"""The last line shows the keys that do something now."""

from __future__ import annotations

import pytest

from tests.console.console_session import LARGE, ConsoleSession, console_session
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import fleet_of, state_of


def keys_of(session: ConsoleSession) -> str:
    return session.lines[-1].strip()


async def test_a_dialog_s_keys_take_the_place_of_the_app_s() -> None:
    still = StillClock()
    async with console_session(fleet_of(["a", "b"], still), still, size=LARGE) as session:
        usual = keys_of(session)
        assert "f Freeze" in usual
        for _ in range(2):
            await session.press("f")
            assert keys_of(session) == "Esc Close  Left Shorter hold  Right Longer hold"
            await session.press("escape")
            assert keys_of(session) == usual


async def test_a_key_for_many_is_shown_with_many() -> None:
    still = StillClock()
    async with console_session(fleet_of(["a", "b"], still), still, size=LARGE) as session:
        await session.press("asterisk", "f")
        assert "b Together" in keys_of(session)


async def test_escape_does_not_leave_the_console() -> None:
    still = StillClock()
    fleet, operations = fleet_of(["a"], still), FakeOperations()
    operations.add(state_of(fleet, "a").vm)
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        await session.press("q")
        assert keys_of(session) == "Esc Stay  d Leave now"


@pytest.mark.parametrize("width", [30, 40, 60, 79])
async def test_help_and_quit_are_the_last_to_go(width: int) -> None:
    still = StillClock()
    async with console_session(fleet_of(["a", "b"], still), still, size=(width, 24)) as session:
        assert keys_of(session).endswith("? Help  q Quit")
        assert len(keys_of(session)) <= width
