"""Pages on screens of very few cells: what they are about is read, and they can be left."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session
from tests.console.fakes import StillClock
from tests.console.fleets import every_state, put
from tui.console.widgets.lines import LinesView

TINY, LITTLE, LOW = (20, 5), (30, 8), (40, 10)
SIZES = (TINY, LITTLE, LOW)
PAGES = (("d",), ("d", "2"), ("d", "3"), ("d", "4"), ("d", "5"), ("d", "6"), ("E",), ("i",))


def words_of(session: ConsoleSession) -> str:
    """Return what is read, without scroll bars."""
    return " ".join(re.sub("[▁-▇]", " ", session.text).split())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", PAGES, ids="-".join)
async def test_its_last_line_says_how_to_leave_it(
    still: StillClock, size: tuple[int, int], keys: tuple[str, ...]
) -> None:
    async with console_session(every_state(still), still, size=size) as session:
        await session.press(*keys)
        assert "Esc Back" in session.lines[-1]
        assert len([line for line in session.lines if line.strip()]) >= 4, session.text
        await session.press("escape")
        assert "Esc Back" not in session.text


@pytest.mark.parametrize("size", SIZES)
async def test_all_of_a_vm_is_read_line_by_line(still: StillClock, size: tuple[int, int]) -> None:
    async with console_session(every_state(still), still, size=size) as session:
        await session.press("d")
        seen = words_of(session)
        for _ in range(60):
            await session.press("down")
            seen += " " + words_of(session)
        for word in ("partial", "consistent:", "frostwatch", "freeze", "qemu:old-win"):
            assert word in seen.replace(" ", ""), word  # a long one is broken


@pytest.mark.parametrize("size", SIZES)
async def test_the_open_tab_is_in_sight(still: StillClock, size: tuple[int, int]) -> None:
    titles = ("1 Now", "2 Evidence", "3 Guest", "4 Identity", "5 Log", "6 Past")
    async with console_session(every_state(still), still, size=size) as session:
        await session.press("d")
        for number, title in enumerate(titles, start=1):
            await session.press(str(number))
            assert title in session.text
        await session.press("6")
        assert "No journal is kept here: none is in a drill." in words_of(session)


@pytest.mark.parametrize("size", SIZES)
async def test_what_a_word_means_stands_below_it(still: StillClock, size: tuple[int, int]) -> None:
    async with console_session(every_state(still), still, size=size) as session:
        await session.press("i")
        assert "partial: some file systems are" in words_of(session)
        await session.press("down")
        assert "agent-restarted" in words_of(session)


@pytest.mark.parametrize("size", SIZES)
async def test_an_event_and_whose_it_is_are_seen(still: StillClock, size: tuple[int, int]) -> None:
    async with console_session(every_state(still), still, size=size) as session:
        await session.press("E")
        rows = [line for line in session.lines if "app-1" in line]
        assert any("…" in line and "no ans" in line for line in rows), session.text
        assert "2025-09-09 qemu:app-1: no" in words_of(session)


async def test_the_events_name_the_key_that_goes_to_the_vm(still: StillClock) -> None:
    for size in (SMALL, LARGE):
        async with console_session(every_state(still), still, size=size) as session:
            await session.press("E")
            assert "Enter To the VM" in session.lines[-1]
            await session.press("slash", *"app-1", "enter")
            assert "Events" in session.text, "Enter keeps what is typed"
            await session.press("enter")
            assert "Events" not in session.text
            assert "qemu:app-1" in session.text


@pytest.mark.parametrize("size", [(40, 10), (61, 16), SMALL, (120, 30)])
async def test_facts_do_not_touch_their_scroll_bar(
    still: StillClock, size: tuple[int, int]
) -> None:
    fleet = every_state(still)
    for state in fleet.states():
        put(fleet, state.id, trouble="x" * 400)  # it fills its lines
    async with console_session(fleet, still, size=size) as session:
        facts = session.app.query_one("#facts", LinesView)
        assert facts.max_scroll_y
        for y in range(len(facts._lines)):
            line = "".join(piece.text for piece in facts._lines[y])
            assert cell_len(line) < facts.room, line
