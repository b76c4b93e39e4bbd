"""Columns that don't fit, and titles that are clicked."""

from __future__ import annotations

import pytest

from agentclient.model.snapshot import VmState
from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import every_state, fleet_of, pending, put
from tests.console.mouse import place_of
from tui.console.model.order import Order
from tui.console.widgets.table.columns import COLUMNS, lay_out
from tui.console.widgets.table.widget import VmTable
from tui.shared.glyphs import Signs


def test_every_column_can_be_reached_at_any_width() -> None:
    for width in range(30, 200):
        seen, skip = set(), 0
        while True:
            layout = lay_out(width, skip)
            assert layout.placed[0].column.id == "name"
            seen |= {place.column.id for place in layout.placed}
            assert layout.before + layout.after + len(layout.placed) == len(COLUMNS)
            if not layout.after:
                break
            skip += 1
        assert seen == {column.id for column in COLUMNS}
        assert lay_out(width, skip + 5) == layout


def test_the_name_stays_where_it_is() -> None:
    for width in (60, 79, 100, 130):
        names = {lay_out(width, skip).placed[0] for skip in range(12)}
        assert len(names) == 1


def test_nothing_is_scrolled_where_everything_fits() -> None:
    assert lay_out(159, 3) == lay_out(159)
    assert lay_out(159).after == 0


async def test_keys_lead_to_the_columns_that_do_not_fit(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=SMALL) as session:
        head = session.line_of("NAME")
        assert "›" in head
        assert "‹" not in head
        assert "WHY" not in head
        await session.press(*["right"] * 8)
        head = session.line_of("NAME")
        assert "›" not in head
        assert "‹" in head
        assert "locked: backup" in session.line_of("db-2  ")
        await session.press(*["h"] * 6)
        assert "AGENT" in session.line_of("NAME")
        await session.press("l")
        assert "AGENT" not in session.line_of("NAME")


async def test_a_wider_screen_shows_everything_again(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=SMALL) as session:
        await session.press("right", "right")
        await session.pilot.resize_terminal(*LARGE)
        await session.until(lambda: "WHY" in session.line_of("NAME"))
        assert "‹" not in session.line_of("NAME")
        assert "AGENT" in session.line_of("NAME")


async def test_the_signs_are_ascii_where_they_have_to_be(still: StillClock) -> None:
    async with console_session(
        every_state(still), still, size=SMALL, signs=Signs(ascii=True)
    ) as session:
        await session.press("right")
        assert "<FREEZE" in session.line_of("NAME")
        assert session.text.isascii()


async def test_a_click_on_a_title_sorts_and_a_second_one_reverses(still: StillClock) -> None:
    async with console_session(fleet_of(["a", "b", "c"], still), still) as session:
        await session.pilot.click(VmTable, offset=(4, 0))
        assert session.app.view.order is Order.NAME
        assert "▾NAME" in session.line_of("NAME")
        await session.pilot.click(VmTable, offset=(4, 0))
        assert "▴NAME" in session.line_of("NAME")
        assert [vm_id.name for vm_id in session.app.view.rows] == ["c", "b", "a"]
        assert "backwards" in session.notice
        assert session.app.view.order is Order.NAME


@pytest.mark.parametrize("size", [SMALL, (200, 60)])
async def test_any_column_sorts_by_a_click_and_by_keys(
    still: StillClock, size: tuple[int, int]
) -> None:
    async with console_session(every_state(still), still, size=size) as session:
        table = session.app.query_one(VmTable)
        for place in table._layout.placed:
            await session.pilot.click(VmTable, offset=(place.x + place.width - 2, 0))
            assert session.app.view.order == place.column.id
            assert f"▾{place.column.title}" in session.line_of("NAME")
            keys = [session.app.view.order.key(state) for state in table_states(session)]
            assert keys == sorted(keys)
        await session.press("home", "slash", *"zz", "escape")
        seen = set()
        for _ in COLUMNS:
            await session.press("greater_than_sign")
            seen.add(session.app.view.order)
            assert session.app.view.order.label in session.notice
        assert seen == set(Order)
        order = session.app.view.order
        await session.press("greater_than_sign", "less_than_sign")
        assert session.app.view.order is order


def table_states(session: ConsoleSession) -> list[VmState]:
    return [state for row in range(99) if (state := session.app.view.at(row)) is not None]


async def test_columns_are_chosen_by_keys_and_by_the_mouse(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=LARGE) as session:
        await session.press("C", "space", "down", "right", "k", "K", "escape")
        assert "SOURCE" in session.line_of("NAME")  # left as it was
        await session.press("C", "space", "down", "right", "enter")
        head = session.line_of("NAME").split()
        assert head[:4] == ["NAME", "AGENT", "RUN", "KNOWN"]
        assert "SOURCE" not in head
    async with console_session(every_state(still), still, size=SMALL) as session:
        await session.press("C")
        box, row = place_of(session, "[x] HELD ")
        await session.pilot.click(offset=(box + 1, row))
        assert "[ ] HELD" in session.text, "a click on its box hides it at once"
        await session.press("d", "up")
        assert "[x] HELD" in session.text
        await session.pilot.click(offset=(box + 8, row))
        assert "[x] HELD" in session.text, "a click beside it chooses it"
        await session.pilot.click(offset=(box + 8, row))
        await session.press("enter")
        assert "HELD" not in session.line_of("NAME")
        assert session.app.parts.table.columns[0].id == "name"


async def test_an_order_by_figures_follows_them(still: StillClock) -> None:
    fleet = fleet_of(["a", "b", "c"], still)
    for name, ends_s in (("a", 300.0), ("b", 100.0), ("c", 200.0)):
        progress = pending(still)._replace(ends_at=still.mono + ends_s)
        put(fleet, qemu(name), progress=progress)
    async with console_session(fleet, still, size=LARGE) as session:
        session.app.view.sort_by(Order.ENDS_IN)
        assert [vm_id.name for vm_id in session.app.view.rows] == ["b", "c", "a"]
        progress = pending(still)._replace(ends_at=still.mono + 900.0)
        put(fleet, qemu("b"), progress=progress)  # a figure: nothing is drained for it
        await session.settle(1)
        assert [vm_id.name for vm_id in session.app.view.rows] == ["c", "a", "b"]


async def test_keys_reverse_the_order(still: StillClock) -> None:
    async with console_session(fleet_of(["a", "b", "c"], still), still) as session:
        await session.press("s", "j", "S")
        assert [vm_id.name for vm_id in session.app.view.rows] == ["c", "b", "a"]
        assert session.cursor == "b"
        await session.press("s")
        assert not session.app.view.backwards


@pytest.mark.parametrize("size", [SMALL, (60, 24), (50, 20)])
async def test_a_click_hides_the_column_that_was_clicked(
    still: StillClock, size: tuple[int, int]
) -> None:
    """On a narrow screen what stands above the columns takes two lines."""
    async with console_session(fleet_of(["a"], still), still, size=size) as session:
        await session.press("C")
        _, row = place_of(session, "[x] RUN ")
        for _ in range(2):
            assert session.text.count("[ ]") == 0
            await session.pilot.click(offset=(size[0] // 2, row))
        assert "[ ] RUN " in session.text
        assert session.text.count("[ ]") == 1
