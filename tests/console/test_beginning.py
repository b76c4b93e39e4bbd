"""What the console begins once its first screen is there, and what that does once it is gone."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual.screen import Screen
from textual.timer import Timer

from agentclient.model.states import Level
from tests.console.console_session import LARGE, SMALL, console_session
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import every_state, fleet_of, state_of
from tests.unit.no_thread import each_lack
from tui.console import memory
from tui.console.app import FrostwatchApp


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
async def test_the_first_picture_has_all_but_scroll_bars(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: list[list[str]] = []
    display = FrostwatchApp._display

    def noted(app: FrostwatchApp, screen: Screen[Any], update: Any) -> None:
        if not app._batch_count and update is not None:
            pictures.append([strip.text for strip in screen._compositor.render_strips()])
        display(app, screen, update)

    monkeypatch.setattr(FrostwatchApp, "_display", noted)
    still = StillClock()
    async with console_session(every_state(still), still, size=size) as session:
        await session.settle()
        assert [line[:-1] for line in pictures[0]] == [line[:-1] for line in session.lines]


class Unprepared(FakeOperations):
    def prepare(self) -> None:
        raise OSError(24, "Too many open files")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """As the command line begins it."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("operations", [FakeOperations, Unprepared])
@pytest.mark.usefixtures("uncollected")
async def test_it_watches_and_collects_garbage(operations: type[FakeOperations]) -> None:
    still = StillClock()
    async with console_session(
        fleet_of(["a"], still), still, operations=operations(), memory=memory
    ) as session:
        await session.until(gc.isenabled)
        assert session.watcher.started


@each_lack
@pytest.mark.usefixtures("uncollected")
async def test_without_a_thread_to_prepare_them_the_keys_act_all_the_same(
    start: Callable[..., None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = threading.Thread.start

    def start_another(thread: threading.Thread) -> None:
        start(thread) if thread.name == "prepare" else begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start_another)
    still = StillClock()
    async with console_session(fleet_of(["a"], still), still, memory=memory) as session:
        await session.until(gc.isenabled)
        assert session.watcher.started
        await session.press("f")
        assert session.dialog == "FreezeDialog"


async def test_what_it_repeats_does_nothing_once_its_screen_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repeated: list[Callable[[], None]] = []
    begin = FrostwatchApp.set_interval

    def noted(app: FrostwatchApp, *given: Any, **named: Any) -> Timer:
        repeated.append(given[1])
        return begin(app, *given, **named)

    monkeypatch.setattr(FrostwatchApp, "set_interval", noted)
    still = StillClock()
    fleet = fleet_of(["a"], still)
    async with console_session(fleet, still):
        pass
    fleet.log(state_of(fleet, "a").vm.id, Level.WARNING, "said too late")
    for tick in repeated:
        tick()
    assert len(repeated) >= 4
