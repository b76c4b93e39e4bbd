"""The timeline in the pane: of the freeze in flight, of the last one, and of a whole group."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agentclient.model.snapshot import FreezeInfo, HeldBy
from agentclient.model.states import FreezeState, OutcomeKind
from agentclient.model.timeline import Timeline
from tests.console.console_session import SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, long_freeze, lost, put
from tests.console.held import ended_well, group_held, group_waits, one_held, unverified
from tui.shared.glyphs import Signs


def bar(session: ConsoleSession) -> str:
    return session.line_of(" time ")


async def test_a_freeze_in_flight_grows_to_the_right(still: StillClock) -> None:
    async with console_session(long_freeze(still), still, size=SMALL) as session:
        before = bar(session)
        assert "─" in before
        assert "pending 12:19" in before
        await session.settle(60)
        assert "pending 13:19" in bar(session)
        assert bar(session).count("─") > before.count("─")


async def test_what_is_held_shows_how_much_longer_and_what_is_usual(still: StillClock) -> None:
    async with console_session(one_held(still), still, size=(120, 40)) as session:
        line = bar(session)
        assert "held 0:42/1:00" in line
        assert "▓" in line
        assert "┄" in line
        assert "[" in line
        assert "]" in line
        assert "█" not in line, "nothing is certified before its thaw"


async def test_the_last_freeze_stays_and_is_solid_if_it_is_certified(still: StillClock) -> None:
    async with console_session(ended_well(still), still, size=SMALL) as session:
        assert "✓ certified" in bar(session)
        assert "█" in bar(session)


async def test_an_unverified_window_is_never_drawn_as_a_verified_one(still: StillClock) -> None:
    fleet = one_held(still)
    unverified(fleet, "db-1")
    async with console_session(fleet, still, size=(120, 40)) as session:
        assert "░" in bar(session)
        assert "▓" not in bar(session)


async def test_a_loss_is_marked(still: StillClock) -> None:
    fleet = fleet_of(["db-1"], still)
    now = still.mono
    times = Timeline(now - 31.2, now - 31, None, now - 20, None, now - 12, now - 3, now - 2.9)
    put(fleet, qemu("db-1"), last=lost(), timeline=times)
    async with console_session(fleet, still, size=SMALL) as session:
        line = bar(session)
        assert "✗ lost" in line
        assert line.index("✗") < line.index("│")


async def test_a_group_stands_below_each_other_with_what_it_has_in_common(
    still: StillClock,
) -> None:
    async with console_session(group_held(still), still, size=(120, 40)) as session:
        await session.until(lambda: "together 41.0 s" in session.text)
        first = session.lines.index(bar(session))
        *members, common = session.lines[first : first + 4]
        for name, line in zip(("app-1", "db-1", "web-1"), members, strict=True):
            assert f" {name} " in line
            assert "held 0:4" in line
        assert "├─" in common
        assert " together 41.0 s " in common


async def test_a_group_that_waits_for_one_has_nothing_in_common_yet(still: StillClock) -> None:
    async with console_session(group_waits(still), still, size=(120, 40)) as session:
        await session.until(lambda: "not all are frozen and verified yet" in session.text)
        assert "together" not in session.text


async def test_on_a_small_screen_the_group_still_says_whether_it_is_whole(
    still: StillClock,
) -> None:
    async with console_session(group_held(still), still, size=SMALL) as session:
        assert "together 41.0 s" in session.text


async def test_what_another_frostwatch_holds_is_drawn_and_not_as_verified(
    still: StillClock,
) -> None:
    fleet = fleet_of(["db-1"], still)
    since, until = still.wall() - timedelta(seconds=20), still.wall() + timedelta(seconds=40)
    held_by = HeldBy(1316, "root", FreezeState.FROZEN, since, until)
    put(fleet, qemu("db-1"), held_by=held_by, freeze=FreezeInfo(FreezeState.FROZEN, since))
    async with console_session(fleet, still, size=SMALL) as session:
        line = bar(session)
        assert "frozen 0:20" in line
        assert "░" in line
        assert "▓" not in line


async def test_a_foreign_freeze_may_have_begun_earlier(still: StillClock) -> None:
    fleet = fleet_of(["db-1"], still)
    since = still.wall() - timedelta(seconds=300)
    put(fleet, qemu("db-1"), freeze=FreezeInfo(FreezeState.FROZEN, since, foreign=True))
    async with console_session(fleet, still, size=SMALL) as session:
        assert "foreign ≥5:00" in bar(session)
        assert "‹" in bar(session)


async def test_a_vm_that_was_never_frozen_has_none(still: StillClock) -> None:
    async with console_session(fleet_of(["db-1"], still), still, size=SMALL) as session:
        assert " time " not in session.text


async def test_a_bug_in_it_costs_one_line(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("tui.console.widgets.pane.timeline.picture", fail)
    async with console_session(one_held(still), still, size=SMALL) as session:
        assert "can't be drawn" in bar(session)
        assert "window" in session.text


async def test_in_ascii_there_is_nothing_else(still: StillClock) -> None:
    signs = Signs(ascii=True)
    async with console_session(one_held(still), still, size=SMALL, signs=signs) as session:
        assert "=" in bar(session)
        assert session.text.isascii()


@pytest.mark.parametrize("kind", list(OutcomeKind))
async def test_every_outcome_is_drawn(still: StillClock, kind: OutcomeKind) -> None:
    fleet = ended_well(still)
    last = fleet.get(qemu("db-1")).last
    assert last is not None
    put(fleet, qemu("db-1"), last=last._replace(kind=kind))
    async with console_session(fleet, still, size=SMALL) as session:
        assert ("█" in bar(session)) is (kind is OutcomeKind.VERIFIED)
