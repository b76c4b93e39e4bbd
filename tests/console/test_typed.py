"""Lines in which words are typed: keys that come in a bunch, and the room that a line takes."""

from __future__ import annotations

import pytest
from textual import events

from tests.console.console_session import LARGE, SMALL, console_session
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of
from tui.console.dialogs.save import SaveDialog


async def test_keys_behind_enter_are_no_words_however_fast_they_come() -> None:
    still = StillClock()
    async with console_session(fleet_of(["app-1", "web-1", "web-2"], still), still) as session:
        await session.press("slash")
        for key in (*"web-2", "enter", "f"):  # as a slow line brings them: all at once
            name = "minus" if key == "-" else key
            session.app.post_message(events.Key(name, key if len(key) == 1 else None))
        await session.until(
            lambda: session.dialog == "FreezeDialog" and "qemu:web-2 · pid" in session.text
        )
        assert session.app.view.filter.text == "web-2"
        await session.press("escape", "slash", "x")
        assert session.app.view.filter.text == "x"  # what was there is selected


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_an_enlarged_pane_leaves_room_for_the_filter(size: tuple[int, int]) -> None:
    still = StillClock()
    names = [f"vm-{number:02}" for number in range(40)]
    async with console_session(fleet_of(names, still), still, size=size) as session:
        await session.press("enter", "slash", *"vm-1", "enter")
        assert session.app.screen.max_scroll_y == 0
        assert session.line_of("/ vm-1") == session.lines[-2]
        assert "q Quit" in session.lines[-1]
        await session.press("escape")
        assert session.app.screen.max_scroll_y == 0


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"], ids=["LF", "CR", "CR LF"])
async def test_a_line_that_is_pasted_ends_where_its_line_does(end: str) -> None:
    """Many terminals send CR where the clipboard has LF; and a name has no control characters."""
    still = StillClock()
    async with console_session(fleet_of(["web-1"], still), still, size=LARGE) as session:
        await session.press("w", "5", "ctrl+u")
        session.app.screen.post_message(events.Paste(f"/tmp/one\x1b[31m\tline{end}another"))
        await session.until(lambda: "/tmp/one" in session.text)
        dialog = session.app.screen
        assert isinstance(dialog, SaveDialog)
        assert dialog.typed == "/tmp/one[31mline"
