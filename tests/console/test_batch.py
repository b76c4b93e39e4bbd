"""Many at once: a bar of how far they are, until one line says what came of all."""

from __future__ import annotations

import gc
import weakref

import pytest

from agentclient.model.outcome import ThawOutcome
from agentclient.model.place import Place
from agentclient.model.states import FreezeState
from tests.console import copying
from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import FakeJobs, StillClock
from tests.console.fleets import fleet_of, lost, refused, verified
from tui.console.widgets.batch_line import BatchLine
from tui.shared.glyphs import Signs

NAMES = [f"vm-{number:02}" for number in range(20)]


def bar_of(session: ConsoleSession) -> str:
    """Return what the line says; empty if it is not there."""
    for line in session.app.query(BatchLine):
        return session.lines[line.region.y].strip() if line.count else ""
    return ""


@pytest.mark.parametrize("ascii_only", [False, True])
async def test_a_bar_tells_how_far_many_are_and_goes_when_they_are_over(
    still: StillClock, ascii_only: bool
) -> None:
    async with console_session(
        fleet_of(NAMES, still), still, signs=Signs(ascii=ascii_only)
    ) as session:
        row = session.lines.index(session.line_of(NAMES[0]))
        assert bar_of(session) == ""
        await session.press("a", "f", "enter")
        begun = session.operations.started
        for one in begun[:5]:
            one.outcome = verified()
        begun[5].outcome = lost()
        begun[-1].place = Place(12, 185.0)
        await session.settle(1)
        bar = bar_of(session)
        assert bar.startswith("freeze ###" if ascii_only else "freeze ███")
        dot = " - " if ascii_only else " · "
        said = ("6/20", "ok=5 lost=1", "12 queued, the last in about 3 min")
        assert bar.endswith(dot.join(said))
        assert NAMES[0] in session.lines[row], "the rows stay where they are"
        for one in begun[6:]:
            one.outcome = refused()
        await session.settle(1)
        assert bar_of(session) == ""
        assert "freeze of 20 VMs is over: ok=5 lost=1 refused=14" in session.notice


async def test_of_those_that_have_ended_nothing_is_kept_but_their_words(still: StillClock) -> None:
    async with console_session(fleet_of(NAMES, still), still) as session:
        await session.press("a", "f", "enter")
        begun = session.operations.started
        refs = [weakref.ref(one) for one in begun]
        for one in begun[:-1]:
            one.outcome = verified()
        del one, begun[:-1]  # the core lets go of them as well
        await session.settle(1)
        gc.collect()
        assert [ref() for ref in refs] == [None] * 19 + begun
        assert "19/20 · ok=19" in bar_of(session)
        begun[0].outcome = lost()
        await session.settle(1)
        assert "freeze of 20 VMs is over: ok=19 lost=1" in session.notice


async def test_one_alone_has_no_bar(still: StillClock) -> None:
    async with console_session(fleet_of(NAMES, still), still) as session:
        await session.press("f", "enter")
        await session.settle(1)
        assert bar_of(session) == ""


async def test_thaws_and_copies_have_one_and_the_newest_is_shown(still: StillClock) -> None:
    jobs = FakeJobs()
    jobs.found = copying.SURVEY
    async with console_session(fleet_of(NAMES[:4], still), still, size=LARGE, jobs=jobs) as session:
        await session.press("space", "space", "t", "enter")
        await session.settle(1)
        assert bar_of(session).endswith("0/2")
        assert bar_of(session).startswith("thaw ")
        thawed = ThawOutcome(qemu("vm-00"), FreezeState.THAWED, 2, False, "thawed 2", 0.1)
        session.operations.started[0].outcome = thawed
        await session.settle(1)
        assert "1/2 · ok=1" in bar_of(session)
        await session.press("escape", "space", "space", "c")
        await session.until(lambda: session.dialog == "CopyDialog")
        await session.until(lambda: "GiB free" in session.text)
        await session.press("enter")
        await session.settle(1)
        assert bar_of(session).startswith("backup ")
        assert bar_of(session).endswith("0/2 · 1 more of the kind")


async def test_it_fits_a_screen_that_is_too_narrow(still: StillClock) -> None:
    async with console_session(fleet_of(NAMES, still), still, size=(40, 24)) as session:
        await session.press("a", "f", "enter")
        for number, one in enumerate(session.operations.started[:-1]):
            one.outcome = verified() if number % 2 else lost()
        session.operations.started[-1].place = Place(1, 400.0)
        await session.settle(1)
        assert "19/20" in bar_of(session)
        assert len(bar_of(session)) < 40


async def test_what_a_vm_shows_is_not_covered(still: StillClock) -> None:
    async with console_session(fleet_of(NAMES, still), still, size=SMALL) as session:
        await session.press("a", "f", "enter")
        await session.settle(1)
        assert bar_of(session)
        assert str(qemu(session.cursor)) in session.text
        assert "Freeze" in session.lines[-1]
