"""What is kept of the view for the next console, and what is never in the way of one."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from tests.console.console_session import LARGE, SMALL, console_session
from tests.console.fakes import StillClock
from tests.console.fleets import every_state, fleet_of
from tui.console import kept
from tui.console.kept import Keeper, NotKept, read, write
from tui.console.model.kept_view import USUAL, KeptView, changed, from_values
from tui.console.model.order import Order


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "frostwatch" / "console.json"


def put(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o600)


async def begun(
    file: Path, still: StillClock, keys: tuple[str, ...], size: tuple[int, int] = SMALL
) -> None:
    """Open a console, press keys, and leave it as its process does."""
    keeper = Keeper(file)
    async with console_session(every_state(still), still, keeper=keeper, size=size) as session:
        await session.press(*keys)
        session.app.keep_view()
    keeper.finish()


@pytest.mark.parametrize("size", [SMALL, (200, 60)])
async def test_the_next_console_looks_as_the_last_one_did(
    file: Path, still: StillClock, size: tuple[int, int]
) -> None:
    keys = ("s", "S", "Y", "plus", "plus", "C", "space", "enter", "slash", *"state:f", "enter")
    await begun(file, still, keys, size)
    keeper = Keeper(file)
    async with console_session(every_state(still), still, keeper=keeper, size=size) as session:
        view = session.app.view
        assert (view.order, view.backwards) == (Order.NAME, True)
        assert view.filter.text == "state:f"
        assert "/ state:f" in session.text
        assert "filtered as you left it: state:f; Esc shows all" in session.text
        assert "SOURCE" not in session.line_of("NAME")
        assert session.app.theme_name == "light"
        assert session.app.current_theme.background == "#f7f9fb"
        assert session.app.parts.split == 2
        await session.press("escape")
        assert view.shown == 16
        await session.press("down")  # the table has the keys


async def test_what_was_not_changed_is_as_usual(file: Path, still: StillClock) -> None:
    await begun(file, still, ("down", "f", "escape"))
    assert not file.exists()
    await begun(file, still, ("s",))
    assert json.loads(file.read_text()) == {"schema": 1, "sort": "name"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    await begun(file, still, ("s", "s", "s"))
    assert json.loads(file.read_text())["sort"] == "step"


async def test_it_is_kept_while_the_console_runs(file: Path, still: StillClock) -> None:
    keeper = Keeper(file)
    async with console_session(fleet_of(["a"], still), still, keeper=keeper) as session:
        await session.press("s")
        session.app.keep_view()
        await session.until(file.exists)  # a kill from now on loses nothing


@pytest.mark.parametrize("text", ["x" * 100_000, "a\x1b[2J"], ids=["long", "hostile"])
async def test_a_filter_that_can_not_be_kept_costs_nothing_else(
    file: Path, still: StillClock, text: str
) -> None:
    """Somebody pastes the wrong thing; the next console looks as this one all the same."""
    keeper = Keeper(file)
    async with console_session(fleet_of(["a"], still), still, keeper=keeper) as session:
        await session.press("s", "slash")
        session.app.post_message(events.Paste(text))
        await session.until(lambda: session.app.view.filter.text != "")
        session.app.keep_view()
    keeper.finish()
    assert file.stat().st_size < 1000
    async with console_session(fleet_of(["a"], still), still, keeper=Keeper(file)) as session:
        assert session.app.view.order is Order.NAME
        assert "the view is not as you left it" not in session.text


async def test_two_consoles_keep_what_each_has_changed(file: Path, still: StillClock) -> None:
    one, other = Keeper(file), Keeper(file)
    fleet = fleet_of(["a"], still)
    async with console_session(fleet, still, keeper=one) as first:
        await first.press("s")
        first.app.keep_view()
    one.finish()
    async with console_session(fleet, still, keeper=other) as second:  # has read nothing
        await second.press("plus")
        second.app.keep_view()
    other.finish()
    assert json.loads(file.read_text()) == {"schema": 1, "sort": "name", "split": 1}


def test_many_consoles_at_once_lose_nothing(file: Path) -> None:
    def change(number: int) -> None:
        for value in range(5):
            write(file, {f"n{number}": value})

    threads = [threading.Thread(target=change, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(file) == {f"n{number}": 4 for number in range(6)}
    assert sorted(path.name for path in file.parent.iterdir()) == ["console.json", "console.lock"]


async def test_a_drill_keeps_no_filter_and_has_none(file: Path, still: StillClock) -> None:
    put(file, '{"schema": 1, "filter": "db"}')
    keeper = Keeper(file)
    async with console_session(fleet_of(["a"], still), still, keeper=keeper, drill=True) as session:
        assert not session.app.view.filter
        await session.press("s", "slash", *"web", "enter")
        session.app.keep_view()
    keeper.finish()
    assert read(file) == {"filter": "db", "sort": "name"}


# -- what is never in the way ----------------------------------------------------------------------


def folder(file: Path) -> None:
    file.mkdir(parents=True)


def pipe(file: Path) -> None:
    file.parent.mkdir()
    os.mkfifo(file)


def link(file: Path) -> None:
    file.parent.mkdir()
    file.symlink_to("/etc/passwd")


def open_to_all(file: Path) -> None:
    put(file, "{}")
    file.chmod(0o606)


def no_json(file: Path) -> None:
    put(file, '{"schema": 1, "sort"')


def no_object(file: Path) -> None:
    put(file, "[1]")


def nested(file: Path) -> None:
    put(file, "[" * 60_000)


def bytes_of_all_kinds(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(bytes(range(256)) * 4)


def huge(file: Path) -> None:
    put(file, " " * (kept.MOST_BYTES + 1))


def newer(file: Path) -> None:
    put(file, '{"schema": 2, "sort": "name"}')


def of_a_stranger(file: Path) -> None:
    put(file, '{"schema": 1, "sort": "name"}')


THEIRS = (folder, pipe, link, open_to_all, newer, of_a_stranger)


@pytest.mark.parametrize(
    "make",
    [*THEIRS, no_json, no_object, nested, bytes_of_all_kinds, huge],
    ids=lambda make: str(make.__name__),
)
def test_what_is_broken_is_written_anew_and_what_is_foreign_is_left_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    make(file)
    if make is of_a_stranger:
        be_another(monkeypatch)
    with pytest.raises(NotKept):
        read(file)
    if make in THEIRS:
        before = file.lstat()
        with pytest.raises(NotKept):
            write(file, {"sort": "name"})
        assert file.lstat()[:8] == before[:8]
    else:
        write(file, {"sort": "name"})
        assert read(file) == {"sort": "name"}


def be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)


@pytest.mark.parametrize("make", [no_json, of_a_stranger])
async def test_it_is_ignored_with_one_notice(
    file: Path, still: StillClock, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    make(file)
    if make is of_a_stranger:
        be_another(monkeypatch)
    keeper = Keeper(file)
    async with console_session(fleet_of(["a"], still), still, keeper=keeper, size=LARGE) as session:
        session.app.keep_view()
        assert "the view is not as you left it: " in session.notice
        assert session.app.view.order is Order.TROUBLE
        await session.press("s")
        session.app.keep_view()
        keeper.finish()
        session.app.keep_view()
        assert "sorted by name" in session.notice  # it was told once


async def test_a_folder_that_can_not_be_written_is_told_once(
    file: Path, still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    put(file, '{"schema": 1, "sort": "name"}')
    keeper = Keeper(file)
    async with console_session(fleet_of(["a"], still), still, keeper=keeper, size=LARGE) as session:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            await session.press("s")
            session.app.keep_view()
            keeper.finish()
        session.app.keep_view()
        assert "No space left on device" in session.notice
    assert read(file) == {"sort": "name"}  # as it was
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


async def test_a_start_does_not_wait_for_a_storage_that_hangs(
    file: Path, still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(kept, "read", lambda _path: answers.wait(60) and {})
    keeper = Keeper(file)
    async with console_session(fleet_of(["a"], still), still, keeper=keeper, size=LARGE) as session:
        session.app.keep_view()
        assert "can't be read in time" in session.notice
        assert session.cursor == "a"
    answers.set()


def test_who_holds_the_lock_keeps_nobody_for_long(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, {"sort": "name"})
    monkeypatch.setattr(kept, "_LOCK_WAITS_S", 0.05)
    with (file.parent / "console.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            write(file, {"sort": "agent"})
    assert read(file) == {"sort": "name"}


async def test_a_theme_that_is_there_no_more_is_the_usual_one(
    file: Path, still: StillClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    put(file, '{"schema": 1, "theme": "mine"}')
    async with console_session(
        fleet_of(["a"], still), still, keeper=Keeper(file), size=LARGE
    ) as session:
        assert session.app.theme_name == "dark"
        assert "no theme is called 'mine'" in session.notice
    themes = tmp_path / "frostwatch" / "themes"
    themes.mkdir(parents=True, exist_ok=True)
    (themes / "mine.toml").write_text('background = "#101010"')
    (themes / "mine.toml").chmod(0o600)
    async with console_session(fleet_of(["a"], still), still, keeper=Keeper(file)) as session:
        assert session.app.theme_name == "mine"
        assert session.app.current_theme.background == "#101010"


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.floats()),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)
_FIELDS = st.sampled_from([*KeptView._fields, "other"])
_VIEWS = st.builds(
    KeptView,
    columns=st.permutations([one.value for one in Order if one is not Order.NAME]).map(
        lambda ids: ("name", *ids[:4])
    ),
    sort=st.sampled_from([one.value for one in Order]),
    backwards=st.booleans(),
    filter=st.text(alphabet='ab:>!" ', max_size=20),
    theme=st.sampled_from(["", "light", "mine"]),
    split=st.integers(-50, 50),
)


@given(st.dictionaries(_FIELDS, _JSON))
def test_whatever_stands_there_is_a_view(values: dict[str, Any]) -> None:
    view = from_values(values)
    assert Order(view.sort)
    assert from_values(view.values()) == view


@given(_VIEWS)
def test_what_is_kept_is_what_it_was(view: KeptView) -> None:
    assert from_values(json.loads(json.dumps(view.values()))) == view


@given(_VIEWS, _VIEWS)
def test_changes_lead_from_one_view_to_the_other(before: KeptView, now: KeptView) -> None:
    assert from_values({**before.values(), **changed(before, now)}) == now
    assert changed(now, now) == {}


def test_nothing_kept_is_as_usual() -> None:
    assert from_values({}) == USUAL
