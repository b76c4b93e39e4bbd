"""A search in the log: what is found, where one is, and what happens when lines come and go."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.geometry import Size

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import LogLine
from agentclient.model.states import Level
from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import NOON, StillClock
from tests.console.fleets import fleet_of
from tui.console.widgets.pane.log_search import LogSearch
from tui.console.widgets.pane.log_view import LogView
from tui.shared.tone import Line, Piece, Tone


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    fleet = fleet_of(["a", "b"], still)
    log(fleet, 0, 60)
    return fleet


def log(fleet: Fleet, first: int, last: int) -> None:
    """Write lines; every tenth has a word that the others haven't."""
    for number in range(first, last):
        word = "FROZEN " if number % 10 == 0 else ""
        fleet.log(qemu("a"), Level.INFO, f"line {number:03} {word}.")


async def search(session: ConsoleSession, words: str) -> None:
    await session.press("tab", "tab")
    assert isinstance(session.app.focused, LogView)
    await session.press("slash", *words, "enter")
    await session.pilot.pause()


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_n_and_shift_n_lead_from_match_to_match(
    fleet: Fleet, still: StillClock, size: tuple[int, int]
) -> None:
    async with console_session(fleet, still, size=size) as session:
        await search(session, "frozen")
        assert "line 050 FROZEN" in session.text
        assert "match 6 of 6" in session.text
        await session.press("N")
        assert "match 5 of 6" in session.text
        assert "line 040 FROZEN" in session.text
        await session.press("N", "N", "N", "N")
        assert "line 000 FROZEN" in session.text
        await session.press("N")
        assert "line 050 FROZEN" in session.text
        await session.press("n")
        assert "match 1 of 6" in session.text
        assert "line 000 FROZEN" in session.text


async def test_escape_leaves_the_search_and_the_reader_where_he_is(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await search(session, "line 020")
        await session.press("escape")
        await session.until(lambda: "log paused" in session.text)
        assert "line 020" in session.text
        assert isinstance(session.app.focused, LogView)
        assert "match" not in session.text
        await session.press("n", "end")
        await session.until(lambda: "paused" not in session.text)


async def test_words_that_are_not_there(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await search(session, "thawed")
        await session.until(lambda: "not in this log" in session.text)
        await session.press("n", "N")
        await session.until(lambda: "line 059" in session.text)
        await session.press("escape")
        await session.until(lambda: "not in this log" not in session.text)
        log(fleet, 60, 61)
        await session.settle()
        await session.until(lambda: "line 060" in session.text)


async def test_a_search_is_left_alone_while_lines_come(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await search(session, "frozen")
        log(fleet, 60, 90)
        await session.settle()
        assert "line 050 FROZEN" in session.text
        assert "match 6 of 9, 30 new below" in session.text
        await session.press("n")
        assert "line 060 FROZEN" in session.text


async def test_a_search_outlives_the_lines_that_are_forgotten(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await search(session, "frozen")
        log(fleet, 60, 555)
        await session.settle()
        assert "match 1 of 50" in session.text
        await session.press("n")
        await session.press("N", "N")
        assert "match 50 of 50" in session.text
        assert "line 550 FROZEN" in session.text


async def test_the_filter_of_the_table_is_another_one(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await session.press("slash", "b", "enter", "up")
        await session.press("escape")
        await search(session, "frozen")
        assert not session.app.view.filter
        await session.press("shift+tab", "shift+tab", "slash", "b")
        assert session.app.view.filter.text == "b"


async def test_another_vm_ends_the_search(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await search(session, "frozen")
        await session.press("shift+tab", "shift+tab", "j")
        await session.until(lambda: "match" not in session.text)
        await session.press("k")
        await session.until(lambda: "line 059" in session.text)


async def test_the_line_to_type_in_does_not_move_the_reader(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("tab", "tab", "pageup")
        await session.pilot.wait_for_scheduled_animations()
        top = session.app.query_one(LogView).scroll_offset.y
        await session.press("slash")
        await session.pilot.pause()
        assert session.app.query_one(LogView).scroll_offset.y == top
        await session.press("escape")
        await session.pilot.pause()
        assert session.app.query_one(LogView).scroll_offset.y == top


async def test_a_height_that_was_not_heard_of_yet_leads_to_no_other_match(
    fleet: Fleet, still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console_session(fleet, still) as session:
        log = session.app.query_one(LogView)
        await session.until(lambda: "line 059" in session.text)
        log.search("line")
        smaller = Size(log.size.width, log.size.height - 3)
        monkeypatch.setattr(LogView, "size", smaller)  # and its `Resize` waits to be handled
        log.search("line 0")
        assert log._search.place == (60, 60)


async def test_a_thousand_lines_at_once_are_one_write(
    fleet: Fleet, still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console_session(fleet, still) as session:
        view = session.app.query_one(LogView)
        shown: list[int] = []
        show_lines = view.show_lines

        def noted(lines: Sequence[Line]) -> None:
            shown.append(len(lines))
            show_lines(lines)

        monkeypatch.setattr(view, "show_lines", noted)
        log(fleet, 60, 1060)
        await session.settle()
        assert shown == [500]
        await session.until(lambda: "line 1059" in session.text)


@pytest.mark.parametrize("focus", [(), ("tab", "tab")], ids=["filter", "search"])
async def test_letters_that_come_together_with_the_key_are_typed(
    fleet: Fleet, still: StillClock, focus: tuple[str, ...]
) -> None:
    """Over a slow line several keys come at once; none of them may reach the guests."""
    async with console_session(fleet, still) as session:
        await session.press(*focus)
        for key, character in (("slash", "/"), ("f", "f"), ("t", "t"), ("enter", "\r")):
            session.app.post_message(events.Key(key, character))
        await session.pilot.pause()
        assert session.dialog == ""
        assert "/ ft" in session.text
        assert not session.operations.started


async def test_a_slash_is_a_letter_where_one_types(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await session.press("slash", "a", "slash", "b")
        assert session.app.view.filter.text == "a/b"
        await session.press("escape", "f", "slash")
        assert session.dialog == "FreezeDialog"
        await session.press("escape")
        assert not session.app.view.filter


# -- without a screen ---------------------------------------------------------------------------


def entry(number: int, text: str) -> LogLine:
    return LogLine(number, NOON, Level.INFO, text)


ENTRIES = [entry(number, "Frozen" if number % 2 else "thawed") for number in range(1, 8)]


@pytest.mark.parametrize(("near", "at"), [(7, 7), (6, 5), (1, 1), (0, 1)])
def test_the_first_match_is_the_newest_in_sight(near: int, at: int) -> None:
    search = LogSearch()
    search.look_for("frozen", ENTRIES, near=near)
    assert search.at == at


def test_matches_that_are_forgotten() -> None:
    search = LogSearch()
    search.look_for("frozen", ENTRIES, near=1)
    search.forget(4)
    assert (search.at, search.place) == (5, (1, 2))
    search.forget(8)
    assert search.place == (0, 0)
    search.step(1)
    assert search.place == (0, 0)
    search.add([entry(9, "frozen")])
    search.step(1)
    assert (search.at, search.place) == (9, (1, 1))


@given(st.text("aAß[]b ", max_size=20), st.text("aAß[b", min_size=1, max_size=3))
def test_highlighting_changes_no_letter(text: str, words: str) -> None:
    search = LogSearch()
    search.look_for(words, [entry(1, text)], near=1)
    line: Line = (Piece("12:00:00 "), Piece(text))
    for found in (True, False):
        lit = search.highlighted(line, found=found)
        assert "".join(piece.text for piece in lit[1:]) == text
        tones = {piece.text.casefold() for piece in lit[1:] if piece.tone is not Tone.NORMAL}
        assert tones <= {words.casefold()}
