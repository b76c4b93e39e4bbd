"""A terminal that becomes larger or smaller: the console is arranged as one that began there."""

from __future__ import annotations

import pytest
from textual.geometry import Region

from tests.console.console_session import ConsoleSession
from tests.console.fakes import StillClock
from tests.console.screens import SCREENS, Screen, shown
from tui.shared.glyphs import Signs

SIZES = [(200, 60), (80, 24), (120, 40), (60, 16)]
# What stands above the table, and below the pane, with a dialog or a page before it.
NAMES = ("filter", "banner", "handover", "bulk", "quit", "events")


@pytest.mark.parametrize("name", NAMES)
async def test_it_is_arranged_as_one_that_began_there(still: StillClock, name: str) -> None:
    async with shown(screen(name), still, Signs(), SIZES[0]) as session:
        for size in SIZES[1:]:
            await session.pilot.resize_terminal(*size)
            await as_arranged(session, await regions_of_one_that_begins(name, size))
            main = session.app.screen_stack[0]
            assert main.virtual_size == main.size, "nothing stands below the terminal's last line"


async def as_arranged(session: ConsoleSession, wanted: dict[str, Region]) -> None:
    await session.until(lambda: regions(session) == wanted)


async def regions_of_one_that_begins(name: str, size: tuple[int, int]) -> dict[str, Region]:
    async with shown(screen(name), StillClock(), Signs(), size) as session:
        return regions(session)


def screen(name: str) -> Screen:
    """Return a screen, also where it has no room for its words; the handover comes later."""
    return SCREENS[name] if name == "handover" else SCREENS[name]._replace(words="")


def regions(session: ConsoleSession) -> dict[str, Region]:
    return {str(one): one.region for one in session.app.screen_stack[0].children}


@pytest.mark.parametrize("first", [(80, 24), (200, 60)])
async def test_what_stands_behind_a_question_is_wrapped_anew(
    still: StillClock, first: tuple[int, int]
) -> None:
    size = (120, 40)
    async with shown(screen("copy-left"), StillClock(), Signs(), size) as session:
        begun = session.text
    async with shown(screen("copy-left"), still, Signs(), first) as session:
        await session.pilot.resize_terminal(*size)
        await session.pilot.pause(0.3)  # all is laid out, and nothing else happens
        assert session.text == begun
