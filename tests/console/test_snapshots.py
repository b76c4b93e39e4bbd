"""What one sees: pictures that are compared, each of them reached by real keys.

After a change on purpose: ``pytest tests/console/test_snapshots.py --snapshot-update``, and look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from agentclient.fleet.store import Fleet
from agentclient.model.job import JobOutcome
from agentclient.model.states import Level
from screenshots.others import stuck_backups
from tests.console import copying
from tests.console.console_session import LARGE, SMALL, make_app, qemu
from tests.console.copying import WITH_READ_ONLY
from tests.console.fakes import FakeJobs, FakeOperations, StillClock
from tests.console.fleets import (
    HOSTILE_NAMES,
    every_state,
    fleet_of,
    long_freeze,
    put,
    state_of,
    thousand,
)
from tui.shared.glyphs import Signs

Compare = Callable[..., bool]


def flying(fleet: Fleet, *names: str) -> FakeOperations:
    operations = FakeOperations()
    for name in names:
        operations.add(state_of(fleet, name).vm)
    return operations


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
def test_every_state(snap_compare: Compare, still: StillClock, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(every_state(still), still), terminal_size=size)


def test_every_state_in_ascii(snap_compare: Compare, still: StillClock) -> None:
    app = make_app(every_state(still), still, signs=Signs(ascii=True))
    assert snap_compare(app, terminal_size=SMALL)


def test_every_state_without_colour(
    snap_compare: Compare, still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(make_app(every_state(still), still), terminal_size=SMALL)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
def test_a_long_freeze(snap_compare: Compare, still: StillClock, size: tuple[int, int]) -> None:
    app = make_app(long_freeze(still), still)
    assert snap_compare(app, terminal_size=size)


def test_the_freeze_confirmation(snap_compare: Compare, still: StillClock) -> None:
    fleet = every_state(still)
    keys = ["slash", *"app-10", "enter", "f", "right"]
    assert snap_compare(make_app(fleet, still), press=keys, terminal_size=SMALL)


def test_the_confirmation_of_many(snap_compare: Compare, still: StillClock) -> None:
    fleet = every_state(still)
    app = make_app(fleet, still, flying(fleet, "app-1"))
    keys = ["s", "home", "space", "j", "space", "end", "space", "slash", *"app", "enter", "f"]
    assert snap_compare(app, press=keys, terminal_size=LARGE)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
def test_a_fleet_of_a_thousand(
    snap_compare: Compare, still: StillClock, size: tuple[int, int]
) -> None:
    app = make_app(thousand(still), still)
    keys = ["j", "J", "J", "slash", *"vm-00", "enter"]
    assert snap_compare(app, press=keys, terminal_size=size)


def test_columns_that_do_not_fit(snap_compare: Compare, still: StillClock) -> None:
    app = make_app(every_state(still), still)
    assert snap_compare(app, press=["right", "right", "right"], terminal_size=SMALL)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
def test_a_search_in_the_log(
    snap_compare: Compare, still: StillClock, size: tuple[int, int]
) -> None:
    app = make_app(long_freeze(still), still)
    keys = ["tab", "tab", "slash", *"freeze", "enter", "N"]
    assert snap_compare(app, press=keys, terminal_size=size)


def test_the_thaw_of_a_foreign_freeze(snap_compare: Compare, still: StillClock) -> None:
    keys = ["slash", *"foreign", "enter", "t"]
    assert snap_compare(make_app(every_state(still), still), press=keys, terminal_size=SMALL)


def test_stop_waiting(snap_compare: Compare, still: StillClock) -> None:
    fleet = long_freeze(still)
    app = make_app(fleet, still, flying(fleet, "db-1"))
    assert snap_compare(app, press=["x"], terminal_size=SMALL)


def test_quit_while_something_is_in_flight(snap_compare: Compare, still: StillClock) -> None:
    fleet = every_state(still)
    app = make_app(fleet, still, flying(fleet, "app-1", "app-2"))
    assert snap_compare(app, press=["q", "enter"], terminal_size=SMALL)


def test_help(snap_compare: Compare, still: StillClock) -> None:
    app = make_app(long_freeze(still), still)
    assert snap_compare(app, press=["question_mark"], terminal_size=LARGE)


def test_hostile_names(snap_compare: Compare, still: StillClock) -> None:
    fleet = fleet_of(HOSTILE_NAMES, still)
    vm_id = next(s.id for s in fleet.states() if s.vm.name.startswith("\x1b"))
    fleet.log(vm_id, Level.ERROR, "the agent answered [/]: \x1b[2J\u202e[bold]x" + "y" * 300)
    assert snap_compare(make_app(fleet, still), terminal_size=SMALL)


def test_an_empty_fleet(snap_compare: Compare, still: StillClock) -> None:
    assert snap_compare(make_app(Fleet(), still), terminal_size=SMALL)


def test_a_refusal(snap_compare: Compare, still: StillClock) -> None:
    fleet = long_freeze(still)

    async def restart(pilot: Any) -> None:
        await pilot.press("j", "f")
        others = [state.vm for state in fleet.states() if state.vm.name != "app-1"]
        fleet.set_vms("qemu", others)
        pilot.app.drain()
        await pilot.press("enter")
        pilot.app.drain()
        await pilot.pause()

    app = make_app(fleet, still)
    assert snap_compare(app, run_before=restart, terminal_size=SMALL)
    assert "refused" in fleet.log_since(qemu("app-1"))[-1].text


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
def test_the_form_of_a_copy(
    snap_compare: Compare, still: StillClock, size: tuple[int, int]
) -> None:
    jobs = FakeJobs()
    jobs.found = WITH_READ_ONLY

    async def ask(pilot: Pilot[Any]) -> None:
        await pilot.press("c")
        await until_there(pilot, "drive-scsi2")
        await pilot.press("down", "down", "down", "down", "ctrl+u", *"/srv/backups")
        await until_there(pilot, "GiB free")

    app = make_app(fleet_of(["db-1", "web-1"], still), still, jobs=jobs)
    assert snap_compare(app, terminal_size=size, run_before=ask)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
def test_copies_of_each_kind(
    snap_compare: Compare, still: StillClock, size: tuple[int, int]
) -> None:
    fleet = fleet_of(["a", "b", "c", "d", "e", "f"], still)
    put(fleet, qemu("a"), job=copying.progress(still))
    put(fleet, qemu("b"), block_jobs=(copying.LEFT,))
    copying.ended(fleet, qemu("c"), copying.outcome(still))
    copying.ended(fleet, qemu("d"), copying.crash_consistent(still))
    copying.ended(fleet, qemu("e"), copying.failed(still))
    copying.ended(fleet, qemu("f"), copying.refused(still))
    app = make_app(fleet, still)
    assert snap_compare(app, terminal_size=size, press=["L", "G", "g", "down"])


@pytest.mark.parametrize("ended", [copying.outcome, copying.crash_consistent, copying.failed])
def test_what_came_of_a_copy(
    snap_compare: Compare, still: StillClock, ended: Callable[[StillClock], JobOutcome]
) -> None:
    fleet = fleet_of(["db-1"], still)
    copying.ended(fleet, qemu("db-1"), ended(still))
    assert snap_compare(make_app(fleet, still), terminal_size=SMALL)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
def test_what_others_do(snap_compare: Compare, still: StillClock, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(stuck_backups(still), still), terminal_size=size)


def test_what_others_do_in_ascii(snap_compare: Compare, still: StillClock) -> None:
    app = make_app(stuck_backups(still), still, signs=Signs(ascii=True))
    assert snap_compare(app, terminal_size=SMALL, press=["j"])


async def until_there(pilot: Pilot[Any], words: str) -> None:
    """Wait until something that was looked for in a thread stands on the screen."""
    for _ in range(500):
        await pilot.pause(0.02)
        strips = pilot.app.screen._compositor.render_strips()
        if any(words in strip.text for strip in strips):
            return
    raise AssertionError(f"{words!r} is not on the screen")
