"""A host without a descriptor, thread or memory: the console goes on, or ends and says why."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.console.console_session import LARGE, console_session, make_app, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import fleet_of, held, lost, put, state_of
from tui.console import page_keys
from tui.console.app import DRAWN_LATER, FrostwatchApp
from tui.console.shortage import draw, shortage

SOON_S = 60.0
NO_DESCRIPTOR = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
NO_THREAD = RuntimeError("can't start new thread")


def fails(error: Exception) -> Callable[..., None]:
    def called(*_: object, **__: object) -> None:
        raise error

    return called


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (NO_DESCRIPTOR, "no descriptor is left (ulimit -n)"),
        (OSError(errno.ENFILE, ""), "this host has no descriptor left"),
        (MemoryError(), "no memory is left"),
        (OSError(errno.ENOMEM, ""), "no memory is left"),
        (BlockingIOError(errno.EAGAIN, ""), "no process can be started (ulimit -u)"),
        (NO_THREAD, "no thread is left (ulimit -u)"),
        (OSError("odd"), None),
        (OSError(errno.EACCES, ""), None),
        (RuntimeError("a bug"), None),
        (ValueError("a bug"), None),
    ],
)
def test_what_an_error_says_that_is_missing(error: Exception, why: str | None) -> None:
    assert shortage(error) == why


@pytest.mark.parametrize("key", ["i", "d", "E"])
@pytest.mark.parametrize("error", [NO_DESCRIPTOR, NO_THREAD, MemoryError()])
async def test_a_key_that_lacks_something_is_told_and_ends_nothing(
    still: StillClock, monkeypatch: pytest.MonkeyPatch, key: str, error: Exception
) -> None:
    async with console_session(fleet_of(["web"], still), still, size=LARGE) as session:
        with monkeypatch.context() as lacking:
            lacking.setattr(page_keys, "load", fails(error))
            await session.press(key)
            assert f"that can't be done now: {shortage(error)}" in session.notice
        assert session.app.is_running
        await session.press("E")
        assert "Events" in session.text


async def test_nor_does_what_follows_a_question(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of(["mail"], still)
    put(fleet, qemu("mail"), last=lost())
    async with console_session(fleet, still, size=LARGE) as session:
        monkeypatch.setattr(session.app, "export_screenshot", fails(NO_DESCRIPTOR))
        await session.press("w", "6")
        await session.until(lambda: "that can't be done now: no descriptor" in session.notice)
        assert session.app.is_running


async def test_nor_does_a_timer(still: StillClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with console_session(fleet_of(["web"], still), still, size=LARGE) as session:
        with monkeypatch.context() as lacking:
            lacking.setattr(session.app.parts, "second", fails(NO_DESCRIPTOR))
            await session.until(lambda: "that can't be done now: no descriptor" in session.notice)
        assert session.app.is_running


def app_that_fails(still: StillClock, error: Exception) -> FrostwatchApp:
    """A console of which something fails where nobody catches it."""
    app = make_app(fleet_of(["web"], still), still, FakeOperations())

    def begin() -> None:
        app.parts.table.set_timer(0.05, fails(error))

    app.call_later(begin)
    return app


async def ended(app: FrostwatchApp) -> None:
    async with asyncio.timeout(SOON_S):
        await app.run_async(headless=True)


async def test_where_it_has_to_end_it_ends_and_says_why(still: StillClock) -> None:
    app = app_that_fails(still, NO_DESCRIPTOR)
    await ended(app)
    assert app.ended_by == "the console has to end: no descriptor is left (ulimit -n)"
    assert app.return_code == 1


async def test_it_ends_also_where_an_error_can_not_be_told(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What tells it is imported then; the screen stayed, and knew no key, not even Ctrl-C."""
    monkeypatch.setitem(sys.modules, "rich.traceback", None)
    app = app_that_fails(still, ValueError("odd"))
    await ended(app)
    assert app.ended_by == "the console has to end: ValueError('odd')"
    assert app.return_code == 1


def test_a_screen_that_could_not_begin_is_no_traceback(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(fleet_of(["web"], still), still, FakeOperations())
    monkeypatch.setattr(app, "run", fails(RuntimeError("cannot join thread before it is started")))
    app.ended_by = "the console has to end: no thread is left (ulimit -u)"
    draw(app)
    app.ended_by = None
    with pytest.raises(RuntimeError, match="cannot join"):
        draw(app)


def loaded_by(module: str) -> set[str]:
    """Return the modules that a file imports by name when it needs them."""
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    return set(re.findall(r'load\(\s*"([a-z_.]+)"', Path(found.origin).read_text()))


@pytest.mark.parametrize("module", ["display", "model.notices", "widgets.pane.widget"])
def test_what_is_drawn_by_a_timer_is_imported_before_something_is_missing(module: str) -> None:
    """Where its import failed, all that the timer had to draw behind it was missing as well."""
    assert loaded_by(f"tui.console.{module}") <= set(DRAWN_LATER)


async def test_a_click_that_lacks_something_ends_no_more_than_its_key_does(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, operations = fleet_of(["web"], still), FakeOperations()
    operations.add(state_of(fleet, "web").vm)
    put(fleet, qemu("web"), progress=held(still))
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        with monkeypatch.context() as lacking:
            lacking.setattr(FrostwatchApp, "prompts", property(fails(NO_DESCRIPTOR)))
            await session.pilot.click("#banner")
            await session.until(lambda: "that can't be done now: no descriptor" in session.notice)
        assert session.app.is_running
