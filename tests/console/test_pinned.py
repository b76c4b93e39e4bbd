"""The longest freeze: always in sight, whatever the table shows."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from agentclient.model.snapshot import AgentHealth, FreezeInfo, VmState
from agentclient.model.states import AgentState, FreezeState
from tests.console import copying
from tests.console.console_session import console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, held, put, thawed, thousand
from tui.console.model.longest_frozen import LongestFrozen
from tui.console.widgets.pinned import PinnedLine
from tui.shared.frozen_for import frozen_for


def foreign(still: StillClock, seconds: float) -> FreezeInfo:
    since = still.wall() - timedelta(seconds=seconds)
    return FreezeInfo(FreezeState.FROZEN, since, foreign=True)


async def test_it_is_pinned_whatever_cursor_filter_and_scroll_are(still: StillClock) -> None:
    async with console_session(thousand(still), still) as session:
        pinned = "◈ frozen longest: vm-0250, for ≥12:03, foreign · 2 more"
        assert pinned in session.lines[1]
        await session.press("G", "slash", *"vm-09", "enter")
        assert pinned in session.lines[1]
        await session.settle(2)
        assert "≥12:05" in session.lines[1]
        await session.press("L")
        assert session.app.view.cursor == qemu("vm-0250")
        assert "qemu:vm-0250" in session.text
        assert not session.app.view.filter


async def test_a_window_of_ours_is_pinned_with_its_clock(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    put(fleet, qemu("b"), progress=held(still), freeze=FreezeInfo(FreezeState.FROZEN))
    put(fleet, qemu("b"), job=copying.progress(still))  # else a banner says it
    async with console_session(fleet, still) as session:
        assert "❆ frozen longest: b, for 0:42/1:00, frozen" in session.lines[1]


async def test_short_windows_do_not_move_the_table(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    async with console_session(fleet, still) as session:
        put(fleet, qemu("a"), freeze=foreign(still, 0))
        await session.settle(2)
        assert not session.app.query_one(PinnedLine).is_there
        await session.settle(3)
        assert "frozen longest: a, for ≥0:05" in session.lines[1]
        put(fleet, qemu("a"), freeze=thawed(still))
        await session.settle()
        assert "NAME" in session.lines[1]


async def test_it_waits_for_the_operators_finger(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    async with console_session(fleet, still) as session:
        await session.press("j")
        put(fleet, qemu("a"), freeze=foreign(still, 60))
        await session.settle(1)
        assert "NAME" in session.lines[1]
        await session.settle(1)
        assert "frozen longest: a" in session.lines[1]


async def test_a_single_vm_says_it_itself(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    put(fleet, qemu("a"), freeze=foreign(still, 60))
    async with console_session(fleet, still) as session:
        assert "NAME" in session.lines[1]


async def test_nothing_is_frozen(still: StillClock) -> None:
    async with console_session(fleet_of(["a", "b"], still), still) as session:
        await session.press("L")
        assert "nothing is frozen" in session.notice


async def test_a_click_goes_there(still: StillClock) -> None:
    async with console_session(thousand(still), still) as session:
        await session.pilot.click(PinnedLine, offset=(5, 0))
        await session.pilot.pause()
        assert session.app.view.cursor == qemu("vm-0250")


async def test_a_vm_that_can_not_be_shown_is_one_broken_line(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    async with console_session(fleet, still) as session:
        unheard_of = FreezeInfo(cast(FreezeState, "nonsense"))
        put(fleet, qemu("a"), freeze=unheard_of, progress=held(still))
        put(fleet, qemu("a"), job=copying.progress(still))
        await session.settle()
        assert "can't be shown" in session.lines[1]
        assert "alive" in session.line_of(" b ")


async def test_trouble_is_in_sight_without_a_key(still: StillClock) -> None:
    async with console_session(thousand(still), still) as session:
        shown = [line.split()[0] for line in session.lines[3:10]]
        assert "vm-0999" in session.line_of("✗ lost ")
        assert shown[1:] == ["vm-0042", "vm-0250", "vm-0777", "vm-0017", "vm-0404", "vm-0611"]


async def test_trouble_that_is_found_later_comes_into_sight_too(still: StillClock) -> None:
    """The cursor that nobody has moved does not lead the table away from it."""
    fleet = fleet_of([f"vm-{number:03}" for number in range(200)], still)
    async with console_session(fleet, still) as session:
        for number in range(100, 150):
            put(fleet, qemu(f"vm-{number}"), agent=AgentHealth(AgentState.SILENT))
        await session.settle()
        assert session.cursor == "vm-100"
        assert session.lines[2].startswith("▌")


# -- the model ----------------------------------------------------------------------------------


def test_the_longest_is_found_among_ours_and_others(still: StillClock) -> None:
    fleet = fleet_of(["a", "b", "c"], still)
    put(fleet, qemu("a"), freeze=foreign(still, 10))
    put(fleet, qemu("b"), progress=held(still), freeze=FreezeInfo(FreezeState.THAWING))
    put(fleet, qemu("c"), freeze=foreign(still, 30))
    longest, moment = LongestFrozen(), still.clock.moment()
    assert longest.find(moment) is None
    for state in fleet.states():
        longest.put(state)
    assert longest.find(moment) == qemu("b")
    longest.drop(qemu("b"))
    assert longest.find(moment) == qemu("c")
    longest.put(fleet.get(qemu("c"))._replace(freeze=thawed(still)))
    assert longest.find(moment) == qemu("a")
    assert len(longest) == 1


def test_a_freeze_of_unknown_age_is_not_the_longest(still: StillClock) -> None:
    state = VmState(fleet_of(["a"], still).states()[0].vm, freeze=FreezeInfo(FreezeState.FROZEN))
    assert frozen_for(state, still.clock.moment()) == 0
