"""Private names of Textual and Rich: they are there and save time, and nothing depends on them."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import random
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain

import pytest
from rich.segment import Segment
from textual._compositor import ChopsUpdate
from textual._styles_cache import StylesCache
from textual.app import App
from textual.drivers.headless_driver import HeadlessDriver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session
from tests.console.fakes import StillClock
from tests.console.fleets import every_state, fleet_of
from tui import console
from tui.console import textual_internals
from tui.console.textual_internals import (
    CACHE_METHODS,
    UPDATE_ATTRIBUTES,
    ChangedLines,
    exact_update,
    forget_split_segments,
)
from tui.console.widgets.lines import LinesView
from tui.console.widgets.toned import Toned
from tui.shared.glyphs import Signs

KEYS = (
    *("j", "k", "G", "g", "pagedown", "s", "S", "space", "right", "left", "shift+down", "z"),
    *("tab", "slash", "d", "b", "enter", "escape", "question_mark", "T", "f", "L", "x"),
)  # fmt: skip

THEIRS = {"textual", "rich"}
CONSOLE = sorted(
    each.name
    for each in pkgutil.walk_packages(console.__path__, "tui.console.")
    if each.name != textual_internals.__name__
)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
async def test_our_lines_are_those_of_textual(
    size: tuple[int, int], seed: int, still: StillClock
) -> None:
    dice, keys = random.Random(seed), 0
    signs = Signs(ascii=seed == 1)
    async with console_session(
        every_state(still), still, size=size, signs=signs, drill=seed == 2
    ) as session:
        for number in range(30):
            if number == 20:
                await session.pilot.resize_terminal(size[0] - 7, size[1] - 3)
            if dice.random() < 0.3:
                await session.settle(1.0)
            else:
                await session.press(dice.choice(KEYS))
                keys += 1
            compare(session)
    assert keys > 10


def compare(session: ConsoleSession) -> None:
    """Compare every line that the screen has of our widgets with one drawn anew by Textual."""
    drawn = 0
    for widget in chain(*(screen.query() for screen in session.app.screen_stack)):
        if not isinstance(widget, Toned):
            continue  # a query for a class does not find what has it as its second one
        if not widget.is_on_screen or not widget.outer_size:
            continue
        assert isinstance(widget._styles_cache, ChangedLines)
        region = widget.outer_size.region
        ours, textuals = widget.render_lines(region), StylesCache().render_widget(widget, region)
        assert [line.text for line in ours] == [line.text for line in textuals], widget
        assert list(map(looks, ours)) == list(map(looks, textuals)), widget
        drawn += 1
    assert drawn > 5


def looks(line: Strip) -> list[tuple[str, str]]:
    """Return each cell of a line with its style; nobody sees where segments end."""
    return [(cell, str(part.style)) for part in line for cell in part.text]


async def test_a_line_that_nobody_asked_for_is_not_drawn_again(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console_session(every_state(still), still, size=LARGE) as session:
        await session.settle()
        table, asked = session.app.parts.table, list[int]()
        render_line = table.render_line

        def watched(y: int) -> Strip:
            asked.append(y)
            return render_line(y)

        monkeypatch.setattr(table, "render_line", watched)
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
    async with console_session(every_state(still), still, size=LARGE) as session:
        painted = session.app.screen._compositor.render_strips
        for widget in (session.app.parts.table, session.app.query_one("#facts", LinesView)):
            before = painted()
            setattr(widget.styles, style, value)
            widget.refresh()  # a hatch does not ask for it
            await session.until(lambda: painted() != before)  # noqa: B023 - called here
            compare(session)
            setattr(widget.styles, style, None)
            widget.refresh()
            await session.until(lambda: painted() == before)  # noqa: B023
            compare(session)


def test_pieces_of_old_screens_are_forgotten() -> None:
    Segment("09:41:07 ▲ データ-1: the freeze was lost").split_cells(12)
    assert Segment._split_cells.cache_info().currsize > 0
    forget_split_segments()
    assert Segment._split_cells.cache_info().currsize == 0


# -- a new Textual, or a new Rich -----------------------------------------------------------------


@pytest.mark.parametrize("name", CACHE_METHODS)
def test_textual_keeps_the_lines_of_a_widget_in_a_cache(name: str) -> None:
    assert callable(getattr(Widget()._styles_cache, name))


def test_a_widget_can_be_told_to_draw_its_lines_anew() -> None:
    assert callable(Widget()._set_dirty)


def test_the_cache_keeps_the_lines_of_gone_widgets_in_keys() -> None:
    assert callable(StylesCache.get_inner_outer.cache_clear)


def test_textual_writes_each_update_through_one_method() -> None:
    assert list(inspect.signature(App._display).parameters) == ["self", "screen", "renderable"]


def test_textual_hands_an_error_that_nobody_catches_to_one_method() -> None:
    assert list(inspect.signature(App._handle_exception).parameters) == ["self", "error"]


@pytest.mark.parametrize("name", UPDATE_ATTRIBUTES)
def test_an_update_of_a_part_of_the_screen_says_what_has_changed(name: str) -> None:
    assert hasattr(ChopsUpdate([], [], []), name)


def test_an_exact_update_is_still_one_of_textuals() -> None:
    update = exact_update(ChopsUpdate([], [], []))
    assert isinstance(update, ChopsUpdate)
    assert type(update) is not ChopsUpdate
    assert exact_update("anything else") == "anything else"


def test_a_driver_writes_to_a_file_of_its_own() -> None:
    assert "self._file = sys.__stderr__" in inspect.getsource(LinuxDriver.__init__)
    assert "WriterThread(self._file)" in inspect.getsource(LinuxDriver.start_application_mode)


def test_rich_keeps_what_it_has_cut() -> None:
    assert callable(Segment._split_cells.cache_clear)


@pytest.mark.parametrize("module", CONSOLE)
def test_nothing_else_uses_a_private_name_of_theirs(module: str) -> None:
    imported = importlib.import_module(module)
    for node in ast.walk(ast.parse(inspect.getsource(imported))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            assert not (node.module.split(".")[0] in THEIRS and "._" in node.module)
    for kind in vars(imported).values():
        if inspect.isclass(kind) and kind.__module__ == module:
            theirs = [base for base in kind.__mro__ if base.__module__.split(".")[0] in THEIRS]
            assert not any(private_names(kind) & private_names(base) for base in theirs), kind


def private_names(kind: type) -> frozenset[str]:
    """Return the private names that a class defines, and those of its own that it uses."""
    if kind not in _NAMES:
        _NAMES[kind] = _private_names(kind)
    return _NAMES[kind]


_NAMES: dict[type, frozenset[str]] = {}


def _private_names(kind: type) -> frozenset[str]:
    nodes = list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(kind)))))
    names = {
        each.attr
        for each in nodes
        if isinstance(each, ast.Attribute)
        and isinstance(each.value, ast.Name)
        and each.value.id == "self"
    }
    names |= {
        each.name for each in nodes if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return frozenset(each for each in names if each.startswith("_") and not each.startswith("__"))


# -- without any of it ----------------------------------------------------------------------------


@pytest.fixture
def _nothing_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textual_internals, "ENABLED", False)


@pytest.mark.usefixtures("_nothing_private")
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
async def test_the_console_works_without_anything_private(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same keys on the same fleet, and each screen looks as it does with all of it."""
    without: list[list[str]] = []
    async with all_states(size, private=False) as session:
        for key in KEYS[::2]:
            await session.press(key)
            await session.settle(1.0)
            without.append(await settled(session))
    monkeypatch.setattr(textual_internals, "ENABLED", True)
    async with all_states(size, private=True) as session:
        for key, screen in zip(KEYS[::2], without, strict=True):
            await session.press(key)
            await session.settle(1.0)
            await session.until(lambda: session.lines == screen)  # noqa: B023 - called here


@asynccontextmanager
async def all_states(size: tuple[int, int], *, private: bool) -> AsyncIterator[ConsoleSession]:
    still = StillClock()
    async with console_session(every_state(still), still, size=size) as session:
        kinds = {
            type(each._styles_cache) for each in session.app.query() if isinstance(each, Toned)
        }
        assert kinds == {ChangedLines if private else StylesCache}
        assert ("_display" in vars(session.app)) is private
        yield session


async def settled(session: ConsoleSession) -> list[str]:
    """Return what stands on the screen once it stays the same: layouts follow each other."""
    looks = [session.lines]
    while looks[-3:] != [looks[-1]] * 3:
        await session.pilot.pause(0.05)
        looks.append(session.lines)
    return looks[-1]


@pytest.mark.usefixtures("_nothing_private")
async def test_a_guest_is_frozen_and_thawed_without_anything_private(still: StillClock) -> None:
    async with console_session(fleet_of(["one", "two"], still), still) as session:
        await session.press("down", "f", "enter")
        assert [one.vm.name for one in session.operations.started] == ["two"]
        await session.press("x", "enter")
        assert session.operations.started[0].calls == ["cancel"]
        await session.press("slash", *"one", "enter", "t", "enter")
        assert [(one.vm.name, one.kind) for one in session.operations.started[1:]] == [
            ("one", "thaw")
        ]


async def test_a_driver_without_that_file_is_left_alone() -> None:
    driver = HeadlessDriver(App())
    textual_internals.survive_lost_terminal(driver)
    assert not hasattr(driver, "_file")
