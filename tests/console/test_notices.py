"""What the operator is told, and for how long."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.snapshot import FreezeInfo, LeftBy, VmState
from agentclient.model.states import FreezeState, Level, OutcomeKind, Phase
from agentclient.model.vm import Vm
from tests.console.console_session import LARGE, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, held, lost, pending, put, verified
from tui.console.model.notices import Notice, notice_of_change


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    return fleet_of(["app-1", "db-1", "web-1"], still)


def foreign(still: StillClock) -> FreezeInfo:
    return FreezeInfo(FreezeState.FROZEN, still.wall() - timedelta(minutes=12), foreign=True)


async def test_a_verdict_is_told_at_once(fleet: Fleet, still: StillClock) -> None:
    put(fleet, qemu("web-1"), progress=pending(still))
    async with console_session(fleet, still, size=LARGE) as session:
        put(fleet, qemu("web-1"), progress=pending(still, verdict=lost(), phase=Phase.THAWING))
        await session.settle()
        assert "✗ web-1: lost: copy not consistent; guest writes again" in session.notice


async def test_good_news_do_not_push_bad_news_away_at_once(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        put(fleet, qemu("web-1"), last=lost(settled=False))
        await session.settle()
        put(fleet, qemu("db-1"), last=verified())
        await session.settle(2)
        assert "web-1 MAY STILL BE FROZEN: R shows its rescue; lost" in session.notice
        put(fleet, qemu("app-1"), last=verified())
        await session.settle(10)
        assert "app-1: certified" in session.notice


async def test_a_clock_that_is_set_back_holds_back_no_news(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        bad = Notice(Level.ERROR, "bad", still.wall())
        session.app.show_notice(bad)
        session.app.show_notice(Notice(Level.INFO, "news", still.wall() - timedelta(hours=1)))
        assert "news" in session.notice


async def test_dangers_are_told(fleet: Fleet, still: StillClock) -> None:
    put(fleet, qemu("db-1"), progress=held(still))
    async with console_session(fleet, still) as session:
        put(fleet, qemu("db-1"), progress=held(still)._replace(phase=Phase.AT_RISK))
        await session.settle()
        assert "db-1: at risk" in session.notice
        put(fleet, qemu("web-1"), freeze=foreign(still))
        await session.settle()
        assert "web-1: frozen by somebody else" in session.notice


def foreign_and_thawed(still: StillClock) -> tuple[VmState, VmState]:
    frozen = VmState(Vm(qemu("db-1")), freeze=foreign(still))
    return frozen, frozen._replace(freeze=FreezeInfo(FreezeState.THAWED, still.wall()))


def test_who_thawed_what_somebody_else_had_frozen_is_told_rightly(still: StillClock) -> None:
    frozen, thawed = foreign_and_thawed(still)
    (notice,) = notice_of_change(frozen, thawed, still.wall())
    assert notice.text == "db-1: thawed by whoever had frozen it"
    assert list(notice_of_change(frozen, thawed, still.wall(), ours=True)) == []


async def test_our_thaw_of_a_foreign_freeze_is_not_said_to_be_theirs(
    fleet: Fleet, still: StillClock
) -> None:
    put(fleet, qemu("app-1"), freeze=foreign(still))
    async with console_session(fleet, still) as session:
        await session.press("t", "right", "enter")
        outcome = ThawOutcome(
            qemu("app-1"), FreezeState.THAWED, 2, False, "thawed 2 file systems", 0.1
        )
        session.operations.started[0].outcome = outcome
        put(fleet, qemu("app-1"), freeze=FreezeInfo(FreezeState.THAWED, still.wall()))
        await session.settle()
        assert "app-1: thawed 2 file systems" in session.notice


async def test_what_was_known_before_the_console_opened_is_no_news(
    fleet: Fleet, still: StillClock
) -> None:
    put(fleet, qemu("db-1"), last=Outcome(OutcomeKind.FAILED, "hook failed"))
    async with console_session(fleet, still) as session:
        await session.settle()
        assert "hook failed" not in session.notice


async def test_what_a_dead_frostwatch_has_left_is_told_with_what_to_do(
    fleet: Fleet, still: StillClock
) -> None:
    left = LeftBy(1, 4711, "root", still.wall() - timedelta(minutes=12))
    async with console_session(fleet, still, size=LARGE) as session:
        frozen = FreezeInfo(FreezeState.FROZEN, left.at)
        put(fleet, qemu("web-1"), freeze=frozen, left=left)
        await session.settle()
        assert "web-1: left frozen by frostwatch (pid 4711, root)" in session.notice
        assert "t thaws web-1" in session.notice
