"""What is drawn of every screen, and how one of them is drawn and compared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.filter import Monochrome
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
    """Draw a screen, and compare it with its picture; in colour, with that in greyscale as well."""
    signs = Signs(ascii=look == "ascii")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("/")  # dialogs begin with the folder of the console
        if look == "grey":
            patch.setenv("NO_COLOR", "1")
        async with _session(still, name, size, signs) as pilot:
            seen = await _at_rest(pilot)
            grey = await _in_greyscale(pilot) if look == "colour" and name not in COLOURED else ""
    if look == "ascii":
        assert seen.isascii()
    compare(f"{name}-{size}-{look}", seen, config)
    if grey:
        compare(f"{name}-{size}-grey", grey, config)


@asynccontextmanager
async def _session(
    still: StillClock, name: str, size: str, signs: Signs
) -> AsyncIterator[Pilot[Any]]:
    if name in PLAYED:
        async with PLAYED[name](signs, SIZES[size]) as pilot:
            yield pilot
        return
    async with shown(ALL[name], still, signs, SIZES[size]) as session:
        yield session.pilot


async def _in_greyscale(pilot: Pilot[Any]) -> str:
    """Do to a console what `NO_COLOR` does to it at its start; return what is on the screen."""
    app = pilot.app
    app.no_color = True
    app._filters.append(Monochrome())
    app.refresh_css(animate=False)
    for screen in app.screen_stack:
        for widget in screen.walk_children(with_self=True):
            widget.refresh()
    await pilot.pause()
    return await _at_rest(pilot)


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
