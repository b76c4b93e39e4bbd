"""What is drawn of every screen, and how one of them is drawn and compared."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.console.fakes import StillClock
from tests.console.painted import compare, painted
from tests.console.screens import COLOURED, PLAYED, SCREENS, shown
from tui.shared.glyphs import Signs

SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x60": (200, 60)}
LOOKS = ("colour", "grey", "ascii")
_BETWEEN_S, _MOST_LOOKS = 0.05, 40
ALL = SCREENS | COLOURED
WANTED = [
    (name, size, look)
    for name in (*ALL, *PLAYED)
    for size in SIZES
    for look in (LOOKS[:1] if name in COLOURED else LOOKS)
]


def wanted(look: str) -> list[tuple[str, str]]:
    """Return the names and sizes that are drawn in one look."""
    return [(name, size) for name, size, of in WANTED if of == look]


async def draw(still: StillClock, config: pytest.Config, name: str, size: str, look: str) -> None:
    """Draw a screen, and compare it with its picture."""
    signs = Signs(ascii=look == "ascii")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("/")  # dialogs begin with the folder of the console
        if look == "grey":
            patch.setenv("NO_COLOR", "1")
        seen = await _seen(still, name, size, signs)
    if look == "ascii":
        assert seen.isascii()
    compare(f"{name}-{size}-{look}", seen, config)


async def _seen(still: StillClock, name: str, size: str, signs: Signs) -> str:
    if name in PLAYED:
        async with PLAYED[name](signs, SIZES[size]) as pilot:
            return await _at_rest(pilot)
    async with shown(ALL[name], still, signs, SIZES[size]) as session:
        return await _at_rest(session.pilot)


async def _at_rest(pilot: Pilot[Any]) -> str:
    """Return what is on the screen once it stays the same: a theme is painted bit by bit."""
    for field in pilot.app.screen.query(Input):
        field.cursor_blink = False  # it is there now, and stays
    seen = ""
    for _ in range(_MOST_LOOKS):
        last, seen = seen, painted(pilot.app)
        if seen == last:
            break
        await pilot.pause(_BETWEEN_S)
    return seen
