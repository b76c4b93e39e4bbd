"""Columns that don't fit, and titles that are clicked."""

from __future__ import annotations

from tests.console.driving import LARGE, SMALL, seated
from tests.console.fakes import StillClock
from tests.console.fleets import every_state, fleet_of
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
    async with seated(every_state(still), still, size=SMALL) as seat:
        head = seat.line_of("NAME")
        assert "›" in head
        assert "‹" not in head
        assert "WHY" not in head
        await seat.press(*["right"] * 8)
        head = seat.line_of("NAME")
        assert "›" not in head
        assert "‹" in head
        assert "locked: backup" in seat.line_of("db-2  ")
        await seat.press(*["h"] * 6)
        assert "AGENT" in seat.line_of("NAME")
        await seat.press("l")
        assert "AGENT" not in seat.line_of("NAME")


async def test_a_wider_screen_shows_everything_again(still: StillClock) -> None:
    async with seated(every_state(still), still, size=SMALL) as seat:
        await seat.press("right", "right")
        await seat.pilot.resize_terminal(*LARGE)
        await seat.until(lambda: "WHY" in seat.line_of("NAME"))
        assert "‹" not in seat.line_of("NAME")
        assert "AGENT" in seat.line_of("NAME")


async def test_the_signs_are_ascii_where_they_have_to_be(still: StillClock) -> None:
    async with seated(every_state(still), still, size=SMALL, signs=Signs(ascii=True)) as seat:
        await seat.press("right")
        assert "<FREEZE" in seat.line_of("NAME")
        assert seat.text.isascii()


async def test_a_click_on_a_title_sorts_and_a_second_one_reverses(still: StillClock) -> None:
    async with seated(fleet_of(["a", "b", "c"], still), still) as seat:
        await seat.pilot.click(VmTable, offset=(4, 0))
        assert seat.app.view.order is Order.NAME
        assert "▾NAME" in seat.line_of("NAME")
        await seat.pilot.click(VmTable, offset=(4, 0))
        assert "▴NAME" in seat.line_of("NAME")
        assert [vm_id.name for vm_id in seat.app.view.rows] == ["c", "b", "a"]
        assert "backwards" in seat.notice
        await seat.pilot.click(VmTable, offset=(60, 0))
        assert seat.app.view.order is Order.NAME


async def test_keys_reverse_the_order(still: StillClock) -> None:
    async with seated(fleet_of(["a", "b", "c"], still), still) as seat:
        await seat.press("s", "j", "S")
        assert [vm_id.name for vm_id in seat.app.view.rows] == ["c", "b", "a"]
        assert seat.cursor == "b"
        await seat.press("s")
        assert not seat.app.view.backwards
