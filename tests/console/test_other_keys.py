"""Other keys for the console's actions, as they are set: they act, and the old ones don't."""

from __future__ import annotations

import pytest

from tests.console.console_session import LARGE, ConsoleSession, console_session
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of
from tui.console.model.order import Order

SWAPPED = {"freeze": "t", "thaw": "f"}


def keys_of(session: ConsoleSession) -> str:
    return session.lines[-1].strip()


async def test_two_actions_that_have_each_others_key(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still, keys=SWAPPED, size=LARGE) as session:
        assert "t Freeze  f Thaw" in keys_of(session)
        await session.press("t")
        assert session.dialog == "FreezeDialog"
        await session.press("escape", "f")
        assert session.dialog == "ThawDialog"


async def test_the_old_key_does_nothing_any_more(still: StillClock) -> None:
    keys = {"freeze": "f6", "filter": "ctrl+f", "vms.page_down": "pagedown"}
    async with console_session(fleet_of(["a"], still), still, keys=keys, size=LARGE) as session:
        await session.press("f", "slash")
        assert "Freeze the file" not in session.text
        assert not session.app.parts.filter_line.is_open
        await session.press("f6")
        assert session.dialog == "FreezeDialog"
        await session.press("escape", "ctrl+f", *"a/b", "enter")
        assert session.app.view.filter.text == "a/b"


@pytest.mark.parametrize("key", ["s", "less_than_sign", "f5", "ctrl+t"])
async def test_one_action_may_have_several_keys(still: StillClock, key: str) -> None:
    keys = {"sort": "s,less_than_sign,f5,ctrl+t", "sort.previous": "f4"}
    async with console_session(fleet_of(["a"], still), still, keys=keys) as session:
        await session.press(key)
        assert session.app.view.order is Order.NAME


async def test_keys_of_the_table_and_of_the_log_too(still: StillClock) -> None:
    keys = {"vms.down": "n", "vms.up": "i", "log.search": "ctrl+s"}
    async with console_session(fleet_of(["a", "b"], still), still, keys=keys) as session:
        await session.press("n")
        assert session.cursor == "b"
        await session.press("j", "down")
        assert session.cursor == "b"
        await session.press("i")
        assert session.cursor == "a"
        await session.press("tab", "tab", "ctrl+s", *"zz")
        assert "not in this log" in session.text


async def test_help_palette_and_the_last_line_say_the_keys_as_they_are(still: StillClock) -> None:
    keys = {"freeze": "F,ctrl+t", "help": "f1"}
    async with console_session(fleet_of(["a"], still), still, keys=keys, size=LARGE) as session:
        assert "F Freeze" in keys_of(session)
        assert "F1 Help" in keys_of(session)
        await session.press("f1")
        assert "F Ctrl-t" in session.line_of("Freeze the marked VMs")
        await session.press("escape", "colon", *"freeze m")
        assert "F Ctrl-t" in session.line_of("Freeze   ")
        await session.press("enter")
        assert session.dialog == "FreezeDialog"


async def test_ctrl_c_leaves_whatever_is_set(still: StillClock) -> None:
    keys = {"quit": "Q"}
    async with console_session(fleet_of(["a"], still), still, keys=keys) as session:
        await session.press("q")
        assert session.app.is_running
        await session.press("ctrl+c")
        await session.until(lambda: not session.app.is_running)
