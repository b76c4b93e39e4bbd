"""The filter's language at the keys: what is shown, what is said of a mistake, and as time goes."""

from __future__ import annotations

from functools import partial

import pytest
from textual.widget import Widget

from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState
from tests.console.console_session import SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import every_state, fleet_of, put, state_of, thawed
from tui.console.widgets.table.widget import VmTable
from tui.shared.glyphs import Signs

SIZES = [SMALL, (120, 40), (200, 60)]
SIZES_AND_SIGNS = [(SMALL, True), ((120, 40), False), ((200, 60), False)]


def names(session: ConsoleSession) -> list[str]:
    return [vm_id.name for vm_id in session.app.view.rows]


@pytest.mark.parametrize(("size", "plain"), SIZES_AND_SIGNS)
async def test_terms_are_typed_and_kept(
    still: StillClock, size: tuple[int, int], plain: bool
) -> None:
    signs = Signs(ascii=plain)
    async with console_session(every_state(still), still, size=size, signs=signs) as session:
        await session.press("slash", *"state:frozen !state:foreign", "enter")
        assert sorted(names(session)) == ["app-2", "db-1"]
        assert "2 of 16 VMs" in session.lines[0]
        assert "state:frozen !state:foreign" in session.text
        await session.press("slash", "ctrl+u", *"agent:silent,busy", "enter")
        assert sorted(names(session)) == ["files", "git"]
        await session.press("escape")
        assert len(names(session)) == 16
        assert not plain or session.text.isascii()


async def test_what_a_kept_filter_leaves_empty_is_the_panes(still: StillClock) -> None:
    fleet = fleet_of([f"vm-{number:02}" for number in range(20)], still)
    async with console_session(fleet, still, size=SMALL) as session:
        pane = session.app.parts.pane
        height = pane.size.height
        await session.press("slash", *"vm-0", "backspace", "0", "7")
        assert names(session) == ["vm-07"]
        assert pane.size.height == height - 1, "nothing but the filter's own line moves"
        await session.press("enter")
        assert pane.size.height > height
        taller = pane.size.height
        put(fleet, qemu("vm-07"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall()))
        await session.settle()
        assert pane.size.height == taller
        await session.press("escape")
        assert pane.size.height == height


async def test_the_table_grows_with_what_a_kept_filter_shows_and_never_shrinks(
    still: StillClock,
) -> None:
    fleet = fleet_of([f"vm-{number:02}" for number in range(20)], still)
    vms = [qemu(f"vm-{number:02}") for number in range(20)]
    async with console_session(fleet, still, size=(80, 40)) as session:
        await session.press("slash", *"state:frozen", "enter")
        pane, heights = session.app.parts.pane, []
        for vm in vms[:9]:
            put(fleet, vm, freeze=FreezeInfo(FreezeState.FROZEN, still.wall()))
            await session.settle()
            heights.append(pane.size.height)
        assert heights == sorted(heights, reverse=True)
        assert len(names(session)) == 9
        assert session.app.parts.table.size.height >= 10
        for vm in vms[:9]:
            put(fleet, vm, freeze=thawed(still))
        await session.settle()
        assert (names(session), pane.size.height) == ([], heights[-1])


async def test_a_mistake_is_told_where_one_types_and_where_the_rows_were(
    still: StillClock,
) -> None:
    async with console_session(every_state(still), still) as session:
        await session.press("slash", *"state:f")
        assert names(session)  # shortened: nothing is wrong yet
        await session.press(*"rozn")
        assert "state: nothing is 'frozn' (did you mean frozen" in session.text
        assert "Nothing matches the filter." in session.text
        assert "'frozn'" in session.line_of("/ state:frozn").partition("state:frozn")[2]
        await session.press("backspace", *"en")
        assert "nothing is" not in session.text
        await session.press("ctrl+u", *"agnt:silent")
        assert "no VM has a 'agnt' (did you mean agent:?)" in session.text
        await session.press("ctrl+u", *"slient")
        assert "did you mean silent" in session.text
        await session.press("escape")
        assert len(names(session)) == 16


async def test_time_brings_rows_in_and_takes_them_out(still: StillClock) -> None:
    fleet = fleet_of(["a", "b", "c"], still)
    put(fleet, qemu("b"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True))
    async with console_session(fleet, still) as session:
        await session.press("slash", *">10s", "enter")
        assert names(session) == []
        await session.settle(9)
        assert names(session) == []
        await session.settle(2)
        assert names(session) == ["b"]
        assert session.cursor == "b"
        await session.press("slash", "ctrl+u", *"<15s", "enter")
        assert names(session) == ["b"]
        await session.settle(5)
        assert names(session) == []
        put(fleet, qemu("b"), freeze=thawed(still))
        await session.settle()
        assert names(session) == []


async def test_marks_and_freezes_are_bound_to_what_was_marked_whatever_time_hides(
    still: StillClock,
) -> None:
    fleet = fleet_of(["a", "b"], still)
    put(fleet, qemu("a"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True))
    async with console_session(fleet, still) as session:
        await session.press("slash", *"<10s", "enter", "asterisk")
        await session.settle(20)
        assert names(session) == []
        assert "1 marked, 1 hidden" in session.lines[0]
        await session.press("t")
        assert "qemu:a" in session.text
        assert session.dialog == "ThawDialog"


async def test_the_table_keeps_rows_whatever_lines_are_open(still: StillClock) -> None:
    async with console_session(every_state(still), still, drill=True) as session:
        await session.settle()
        await session.press("slash", *"a", "enter")
        table = session.app.query_one(VmTable)
        assert "frozen longest" in session.text
        assert table.size.height - 1 >= 7
        await session.press(*["plus"] * 12)
        assert table.size.height - 1 >= 3
        assert session.app.parts.pane.size.height >= 3
        await session.press(*["minus"] * 20)
        assert session.app.parts.pane.size.height == 3
        await session.press("plus")
        assert session.app.parts.pane.size.height == 4
        await session.press("enter")
        assert table.size.height - 1 == 3


def begins_at(widget: Widget, y: int) -> bool:
    return bool(widget.region.y == y)


async def test_the_pane_s_title_is_dragged(still: StillClock) -> None:
    async with console_session(every_state(still), still) as session:
        pane, table = session.app.parts.pane, session.app.query_one(VmTable)
        for y, top in ((9, 9), (2, 8), (23, 19), (12, 12)):
            await session.pilot.mouse_down("#pane-title", offset=(40, 0))
            await session.pilot.hover(offset=(40, (y + pane.region.y) // 2))
            await session.pilot.hover(offset=(40, y))
            await session.pilot.mouse_up(offset=(40, y))
            await session.until(partial(begins_at, pane, top))
            assert session.line_of("qemu:old-win ·") == session.lines[top]
        await session.pilot.hover(offset=(40, 5))
        assert pane.region.y == 12
        assert table.size.height > 3


@pytest.mark.parametrize("size", SIZES)
async def test_trouble_out_of_sight_is_counted_at_both_edges(
    still: StillClock, size: tuple[int, int]
) -> None:
    fleet = fleet_of([f"vm-{number:03}" for number in range(150)], still)
    for number in (3, 4, 75, 147, 148, 149):
        foreign = FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True)
        put(fleet, qemu(f"vm-{number:03}"), freeze=foreign)
    async with console_session(fleet, still, size=size) as session:
        await session.press("s")  # by name
        await session.press("home")
        assert "▲4 below" in session.text
        assert "above" not in session.text
        await session.press("right_square_bracket", "right_square_bracket")
        await session.press("right_square_bracket")
        assert session.cursor == "vm-075"
        assert "▲2 above" in session.line_of("NAME")
        assert "▲3 below" in session.text
        await session.press("end")
        assert "▲3 above" in session.line_of("NAME")
        assert "below" not in session.text
        await session.press("left_square_bracket")
        assert session.cursor == "vm-148"
        assert state_of(fleet, "vm-148").freeze.foreign


async def test_names_leave_their_spare_room_to_the_reason(still: StillClock) -> None:
    fleet = every_state(still)
    async with console_session(fleet, still, size=(160, 50)) as session:
        layout = {place.column.id: place for place in session.app.parts.table._layout.placed}
        assert layout["name"].width == 14
        assert layout["why"].width >= 30
        await session.press("slash", *"spare", "enter")
        assert "no permission to connect to /run/4" in session.line_of("spare ")
    async with console_session(fleet, still, size=(200, 60)) as session:
        line = session.line_of("spare ")
        assert "no permission to connect to /run/4999.qmp (run this as root)" in line


async def test_a_foreign_freeze_is_counted_once(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    put(fleet, qemu("a"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True))
    async with console_session(fleet, still, size=(120, 40)) as session:
        assert "❆ 0 frozen" in session.lines[0]
        assert "◈ 1 foreign" in session.lines[0]
