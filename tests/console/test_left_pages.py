"""Nothing of a page or a dialog stays once it is left."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
from textual.strip import Strip
from textual.widget import Widget

from tests.console.console_session import ConsoleSession, console_session
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of

# The keys that open each, and leave it.
OPENED = {
    "the VM": ("d", "2", "3", "escape"),
    "events": ("E", "k", "escape"),
    "explain": ("i", "escape"),
    "help": ("question_mark", "slash", "f", "escape", "escape"),
    "palette": ("colon", "t", "escape"),
    "columns": ("C", "escape"),
    "take away": ("w", "escape"),
    "rescue": ("R", "escape"),
    "history": ("H", "escape"),
    "freeze": ("f", "escape"),
}
TIMES = 8


@pytest.fixture(autouse=True)
def only_what_is_new() -> Iterator[None]:
    """Leave out what was there before: to look through all that tests have imported takes long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name", OPENED)
async def test_nothing_stays_of_what_is_left(still: StillClock, name: str) -> None:
    async with console_session(fleet_of(["a", "b"], still), still) as session:
        before = await open_and_leave(session, OPENED[name])
        for _ in range(TIMES):
            assert await open_and_leave(session, OPENED[name]) < before + 100, "lines drawn"


async def open_and_leave(session: ConsoleSession, keys: tuple[str, ...]) -> int:
    """Press the keys, and wait until the screen that they have opened is no more.

    Asyncio keeps a page's timer, and what it is called with, until it would have been due.

    Returns:
        How many drawn lines there are then.
    """
    first, seen = session.app.screen, list[weakref.ref[Widget]]()
    for key in keys:
        await session.press(key)
        if session.app.screen is not first:
            seen.append(weakref.ref(session.app.screen))
    session.operations.looks.clear()  # they know who waits for them
    assert seen
    await session.until(lambda: session.app.screen is first and not alive(seen))
    return sum(type(one) is Strip for one in gc.get_objects())


def alive(seen: list[weakref.ref[Widget]]) -> bool:
    gc.collect()
    return any(one() is not None for one in seen)
