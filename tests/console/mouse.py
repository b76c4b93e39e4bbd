"""A mouse for tests: its buttons go the way that a terminal's take, from the app on."""

from __future__ import annotations

from textual import events

from tests.console.console_session import ConsoleSession

MIDDLE, RIGHT = 2, 3


def place_of(session: ConsoleSession, words: str) -> tuple[int, int]:
    """Return the first cell of words on the screen, as column and line."""
    found = [(line.index(words), y) for y, line in enumerate(session.lines) if words in line]
    assert found, f"{words!r} is not on the screen:\n{session.text}"
    return found[0]


async def press(session: ConsoleSession, place: tuple[int, int], button: int = 1) -> None:
    """Have a button go down."""
    await _send(session, events.MouseDown, place, button)


async def release(session: ConsoleSession, place: tuple[int, int], button: int = 1) -> None:
    """Have a button come up."""
    await _send(session, events.MouseUp, place, button)


async def click(
    session: ConsoleSession, where: str | tuple[int, int], *, button: int = 1, times: int = 1
) -> None:
    """Click on words of the screen, or on a cell; several times without a pause."""
    place = place_of(session, where) if isinstance(where, str) else where
    for _ in range(times):
        await press(session, place, button)
        await release(session, place, button)


async def _send(
    session: ConsoleSession, kind: type[events.MouseEvent], place: tuple[int, int], button: int
) -> None:
    x, y = place
    session.app.post_message(
        kind(None, x, y, 0, 0, button, shift=False, meta=False, ctrl=False, screen_x=x, screen_y=y)
    )
    await session.pilot.pause()
