"""Columns that don't fit, and titles that are clicked."""

from __future__ import annotations

from tests.console.console_session import LARGE, SMALL, console_session
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
        await session.pilot.click(VmTable, offset=(60, 0))
        assert session.app.view.order is Order.NAME


async def test_keys_reverse_the_order(still: StillClock) -> None:
    async with console_session(fleet_of(["a", "b", "c"], still), still) as session:
        await session.press("s", "j", "S")
        assert [vm_id.name for vm_id in session.app.view.rows] == ["c", "b", "a"]
        assert session.cursor == "b"
        await session.press("s")
        assert not session.app.view.backwards
