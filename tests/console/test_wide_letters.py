"""Letters that are two cells wide: what stands beside them stays where it is, and is whole."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from tests.console.console_session import LARGE, SMALL, console_session
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of
from tui.console.widgets.pane.fact import Fact, urgent_first

WIDE = "日本語の仮想マシンです"


def test_a_fact_that_is_cut_is_told_in_full_however_wide_its_letters_are() -> None:
    text = WIDE * 4
    lines = urgent_first([Fact("last", text, more=True)], 80)
    said = "".join(piece.text for line in lines[1:] for piece in line).replace(" ", "")
    assert said == f"infull{text}"


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_the_panes_title_leaves_room_for_what_stands_at_its_right(
    still: StillClock, size: tuple[int, int]
) -> None:
    name = WIDE * (size[0] // 40)
    async with console_session(fleet_of([name], still), still, size=size) as session:
        await session.press("tab")
        (title,) = [
            line for line in session.lines if "has the keys" in line or "have the keys" in line
        ]
        assert title.rstrip().endswith("Tab, or Esc ─")
        assert cell_len(title) == size[0]


async def test_a_column_is_as_wide_as_its_names_are(still: StillClock) -> None:
    name = f"{WIDE}-01"
    async with console_session(fleet_of([name], still), still, size=LARGE) as session:
        assert name in session.lines[2]


async def test_what_is_typed_is_seen_at_its_end(still: StillClock) -> None:
    async with console_session(fleet_of(["web"], still), still) as session:
        await session.press("colon", *("日" * 60), "x")
        assert "日x_" in session.text
        await session.press("escape", "c", "down")
        await session.until(lambda: "free" in session.text or "looking" in session.text)
        await session.press("ctrl+u", "slash", *("日" * 60), "x")
        assert "日x_" in session.text
