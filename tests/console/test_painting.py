"""What is drawn is what Textual would draw; what was cut for a screen that has gone is not kept."""

from __future__ import annotations

import random
from itertools import chain

import pytest
from rich.segment import Segment
from textual._styles_cache import StylesCache
from textual.geometry import Region
from textual.strip import Strip

from tests.console.driving import LARGE, SMALL, Seat, seated
from tests.console.fakes import StillClock
from tests.console.fleets import every_state
from tui.console.textual_internals import OwnLines, forget
from tui.console.widgets.toned import Toned
from tui.shared.glyphs import Signs

KEYS = (
    *("j", "k", "G", "g", "pagedown", "s", "S", "space", "right", "left", "shift+down", "z"),
    *("tab", "slash", "d", "b", "enter", "escape", "question_mark", "T", "f", "L", "x"),
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
async def test_our_lines_are_those_of_textual(
    size: tuple[int, int], seed: int, still: StillClock
) -> None:
    dice, keys = random.Random(seed), 0
    signs = Signs(ascii=seed == 1)
    async with seated(every_state(still), still, size=size, signs=signs, drill=seed == 2) as seat:
        for number in range(30):
            if number == 20:
                await seat.pilot.resize_terminal(size[0] - 7, size[1] - 3)
            if dice.random() < 0.3:
                await seat.settle(1.0)
            else:
                await seat.press(dice.choice(KEYS))
                keys += 1
            compare(seat)
    assert keys > 10


def compare(seat: Seat) -> None:
    """Compare every line that the screen has of our widgets with one drawn anew by Textual."""
    drawn = 0
    for widget in chain(*(screen.query() for screen in seat.app.screen_stack)):
        if not isinstance(widget, Toned):
            continue  # a query for a class does not find what has it as its second one
        if not widget.is_on_screen or not widget.outer_size:
            continue
        assert isinstance(widget._styles_cache, OwnLines)
        region = widget.outer_size.region
        ours, textuals = widget.render_lines(region), StylesCache().render_widget(widget, region)
        assert [line.text for line in ours] == [line.text for line in textuals], widget
        assert list(map(looks, ours)) == list(map(looks, textuals)), widget
        drawn += 1
    assert drawn > 5


def looks(line: Strip) -> list[tuple[str, str]]:
    """Return each cell of a line with its style; nobody sees where segments end."""
    return [(cell, str(part.style)) for part in line for cell in part.text]


async def test_a_line_that_nobody_asked_for_is_not_drawn_again(still: StillClock) -> None:
    async with seated(every_state(still), still, size=LARGE) as seat:
        await seat.settle()
        table, asked = seat.app._table, []
        render_line = table.render_line
        table.render_line = lambda y: asked.append(y) or render_line(y)  # type: ignore
        region = table.outer_size.region
        before = table.render_lines(region)
        assert table.render_lines(region) is before
        assert asked == []
        table.refresh_line(3)
        assert table.render_lines(region) == before
        assert asked == [3]
        table._styles_cache.clear()
        assert table.render_lines(region) == before
        assert asked == [3, *region.line_range]
        table.refresh_line(5)
        assert table.render_lines(Region(7, 4, 20, 3)) == [line.crop(7, 27) for line in before[4:7]]
        assert table.render_lines(region) == before
        assert asked == [3, *region.line_range, 5]


@pytest.mark.parametrize(
    ("style", "value"),
    [
        ("border_left", ("heavy", "red")),
        ("border", ("round", "red")),
        ("outline", ("round", "red")),
        ("padding", (1, 2)),
        ("hatch", ("/", "red")),
        ("tint", "red 40%"),
        ("opacity", 0.4),
        ("text_opacity", 0.4),
    ],
)
async def test_what_is_styled_in_another_way_is_drawn_by_textual(
    style: str, value: object, still: StillClock
) -> None:
    async with seated(every_state(still), still, size=LARGE) as seat:
        painted = seat.app.screen._compositor.render_strips
        for widget in (seat.app._table, seat.app._pane._facts):
            before = painted()
            setattr(widget.styles, style, value)
            widget.refresh()  # a hatch does not ask for it
            await seat.until(lambda: painted() != before)  # noqa: B023 - called here
            compare(seat)
            setattr(widget.styles, style, None)
            widget.refresh()
            await seat.until(lambda: painted() == before)  # noqa: B023
            compare(seat)


def test_pieces_of_old_screens_are_forgotten() -> None:
    Segment("09:41:07 ▲ データ-1: the freeze was lost").split_cells(12)
    assert Segment._split_cells.cache_info().currsize > 0
    forget()
    assert Segment._split_cells.cache_info().currsize == 0
