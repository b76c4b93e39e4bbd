"""The handover on the screen: after the first screen, until Esc, and never in the way."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from agentclient.journal.handover import Handover, HeldNow
from agentclient.model.snapshot import FreezeInfo, HeldBy
from agentclient.model.states import FreezeState, RunState, WindowState
from tests.console.console_session import SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import NOON, StillClock
from tests.console.fleets import fleet_of, put, thawed
from tests.console.past import certified, lost, past_window
from tui.console.ports import HandoverPort

ROOT = HeldBy(1316, "root", FreezeState.FROZEN, NOON, NOON + timedelta(hours=1))
BAD = Handover(
    NOON - timedelta(hours=10),
    (
        *(certified(n, timedelta(hours=1)) for n in range(13)),
        lost(14, timedelta(hours=9), vm="qemu:mail2"),
    ),
    (HeldNow("db1", ROOT),),
)


class FakeBook:
    def __init__(self, found: Handover | Exception | None) -> None:
        self._found = found
        self.free = threading.Event()
        self.free.set()
        self.thread = ""
        self.left = 0

    def open(self) -> Handover | None:
        self.thread = threading.current_thread().name
        self.free.wait(60)
        if isinstance(self._found, Exception):
            raise self._found
        return self._found

    def leave(self) -> None:
        self.left += 1


@asynccontextmanager
async def with_book(
    still: StillClock, book: FakeBook, size: tuple[int, int] = SMALL
) -> AsyncIterator[ConsoleSession]:
    fleet = fleet_of(["db1", "mail2", "web1"], still)
    put(fleet, qemu("db1"), freeze=FreezeInfo())  # what is known of it is not newer than the book
    made: Callable[[], HandoverPort] = lambda: book  # noqa: E731
    async with console_session(fleet, still, size=size, handover=made) as session:
        yield session


@pytest.mark.parametrize("size", [SMALL, (120, 40), (200, 60)])
async def test_what_happened_is_told_after_the_first_screen_until_esc(
    still: StillClock, size: tuple[int, int]
) -> None:
    book = FakeBook(BAD)
    async with with_book(still, book, size) as session:
        await session.until(lambda: "since you left at 02:00" in session.text)
        for words in ("13 certified", "1 lost (mail2, 03:00; thawed 03:00)", "pid 1316"):
            assert words in session.flat.replace(" Esc ", " ")
        assert book.thread == "prepare", "nobody waits for it in Textual's thread"
        await session.press("escape")
        assert "since you left" not in session.text


async def test_a_journal_that_hangs_keeps_nobody_waiting(still: StillClock) -> None:
    book = FakeBook(BAD)
    book.free.clear()
    async with with_book(still, book) as session:
        await session.press("j", "s")
        assert "sorted" in session.notice
        assert "since you left" not in session.text
        book.free.set()
        await session.until(lambda: "since you left" in session.text)


async def test_nothing_is_one_notice_and_no_more(still: StillClock) -> None:
    async with with_book(still, FakeBook(Handover(NOON - timedelta(hours=1)))) as session:
        await session.until(lambda: "since you left at 11:00: nothing was frozen" in session.notice)
        assert session.text.count("since you left") == 1


@pytest.mark.parametrize("found", [None, OSError("no disk")])
async def test_what_is_not_known_is_not_told(
    still: StillClock, found: Handover | Exception | None
) -> None:
    async with with_book(still, FakeBook(found)) as session:
        await session.settle(1)
        assert "since you left" not in session.text


async def test_it_goes_by_itself(still: StillClock) -> None:
    async with with_book(still, FakeBook(BAD)) as session:
        await session.until(lambda: "since you left" in session.text)
        await session.settle(301)
        assert "since you left" not in session.text


async def test_leaving_is_noted_only_if_opening_was(still: StillClock) -> None:
    book = FakeBook(BAD)
    async with with_book(still, book) as session:
        await session.until(lambda: "since you left" in session.text)
        session.app.handovers.leave()
    assert book.left == 1
    async with console_session(fleet_of(["a"], still), still) as session:
        session.app.handovers.leave()


# -- what is over by now --------------------------------------------------------------------------


async def test_who_holds_a_guest_is_told_until_it_is_thawed(still: StillClock) -> None:
    book = FakeBook(BAD)
    book.free.clear()
    async with with_book(still, book) as session:
        put(session.fleet, qemu("db1"), held_by=ROOT, freeze=FreezeInfo(FreezeState.FROZEN))
        await session.settle(1)
        book.free.set()
        await session.until(lambda: "is held by root, pid 1316" in session.flat)
        put(session.fleet, qemu("db1"), held_by=None)
        await session.settle(1)
        assert "is held by root" in session.flat, "its agent has not answered yet"
        put(session.fleet, qemu("db1"), freeze=thawed(still))
        await session.settle(1)
        assert "is held by root" not in session.flat
        assert "13 certified" in session.flat, "what has happened stays true"
        put(session.fleet, qemu("db1"), freeze=FreezeInfo(FreezeState.FROZEN, foreign=True))
        await session.settle(1)
        assert "is held by root" not in session.flat
        await session.settle(300)
        assert "since you left" not in session.text, "no change makes it stay for longer"


async def test_who_holds_it_now_is_not_who_held_it(still: StillClock) -> None:
    async with with_book(still, FakeBook(BAD)) as session:
        another = ROOT._replace(pid=1400, window=77)
        put(session.fleet, qemu("db1"), held_by=another, freeze=FreezeInfo(FreezeState.FROZEN))
        await session.until(lambda: "since you left" in session.text)
        await session.settle(1)
        assert "pid 1316, until" not in session.flat


async def test_a_guest_that_has_ended_is_held_by_nobody(still: StillClock) -> None:
    found = Handover(NOON - timedelta(hours=1), (), (HeldNow("db1", ROOT),))
    async with with_book(still, FakeBook(found)) as session:
        put(session.fleet, qemu("db1"), run_state=RunState.GONE)
        await session.settle(1)
        assert "since you left" not in session.text, "nothing is left to be told"


async def test_what_may_be_frozen_and_what_goes_on_is_told_as_over(still: StillClock) -> None:
    unsettled = replace(lost(14, timedelta(minutes=9), vm="qemu:mail2"), settled=False)
    pending = replace(
        past_window(15, timedelta(minutes=5), vm="qemu:web1", sent=0.5), state=WindowState.OPEN
    )
    found = Handover(NOON - timedelta(hours=1), (unsettled, pending))
    book = FakeBook(found)
    book.free.clear()
    async with with_book(still, book) as session:
        for name in ("mail2", "web1"):
            put(session.fleet, qemu(name), freeze=FreezeInfo(FreezeState.FROZEN))
        await session.settle(1)
        book.free.set()
        await session.until(lambda: "1 pending (web1" in session.flat)
        assert "(mail2, 11:51; MAY STILL BE" in session.flat
        put(session.fleet, qemu("mail2"), freeze=thawed(still))
        put(session.fleet, qemu("web1"), freeze=thawed(still))
        await session.settle(1)
        assert "1 lost (mail2" in session.flat
        assert "MAY STILL BE" not in session.flat
        assert "1 over by now (web1" in session.flat


@pytest.mark.parametrize("how", ["escape", "click"])
async def test_the_room_that_it_took_is_shared_anew_by_key_and_by_mouse(
    still: StillClock, how: str
) -> None:
    async with with_book(still, FakeBook(BAD)) as session:
        await session.until(lambda: "since you left at 02:00" in session.text)
        with_it = session.app.parts.pane.size.height
        if how == "click":
            await session.pilot.click("#handover")
        else:
            await session.press("escape")
        await session.until(lambda: "since you left" not in session.text)
        await session.until(lambda: session.app.parts.pane.size.height > with_it)
