"""Hostile guests in front of the whole console: a row, a log line, a clear error. Nothing else.

Real sockets, the real core and a drill's guests; what a real agent does with such requests is in
tests/guests.
"""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from agentclient.access.access_pool import AccessPool
from agentclient.backends.drill.backend import DrillBackend
from agentclient.backends.drill.troubles import HUGE_BYTES, Trouble
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, OutcomeKind
from tests.console.console_session import LARGE
from tests.drilled import Ready, drill_of
from tui.console.app import FrostwatchApp

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PATIENCE_S = 60.0


@asynccontextmanager
async def console(
    troubles: dict[str, Trouble],
) -> AsyncIterator[tuple[FrostwatchApp, Pilot[Any], Fleet]]:
    """Open the console on a drill's guests, as `frostwatch` does."""
    with drill_of(troubles) as drill:
        fleet, accesses = Fleet(), AccessPool()
        watcher = Watcher(fleet, accesses, [DrillBackend(drill)], port_interval_s=0.3)
        operations = Ready(fleet, accesses)
        app = FrostwatchApp(fleet, operations, watcher, read_only=False, interval_s=15.0)
        try:
            watcher.list_first()  # the console starts it
            async with app.run_test(size=LARGE) as pilot:
                await pilot.pause()
                yield app, pilot, fleet
        finally:
            operations.stop(2.0)
            watcher.stop()


def screen(app: FrostwatchApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def state_of(fleet: Fleet, name: str) -> VmState:
    return next(state for state in fleet.states() if state.vm.name == name)


async def until(pilot: Pilot[Any], holds: Any) -> None:
    """Wait until something holds, while the console lives."""
    for _ in range(int(PATIENCE_S / 0.05)):
        await pilot.pause()
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("in vain")


def alive(fleet: Fleet, count: int) -> bool:
    states = fleet.states()
    return len(states) == count and all(one.agent.state is AgentState.ALIVE for one in states)


async def test_markup_in_a_name_and_escapes_in_everything_else() -> None:
    name = "db[/]1"
    async with console({name: Trouble.HOSTILE}) as (app, pilot, fleet):
        await until(pilot, lambda: alive(fleet, 1))
        await until(pilot, lambda: name in screen(app))
        await pilot.press("f")
        await until(pilot, lambda: "/srv/" in screen(app))
        assert name in screen(app)  # the confirmation repeats it as it is
        assert not CONTROLS.search(screen(app).replace("\n", ""))
        await pilot.press("enter")
        await until(pilot, lambda: state_of(fleet, name).last is not None)
        await until(pilot, lambda: "hook says" in screen(app))
        last = state_of(fleet, name).last
        assert last is not None
        assert (last.kind, last.settled) == (OutcomeKind.FAILED, True)
        assert "[red]db[/]" in last.reason
        assert not CONTROLS.search(last.reason)
        assert not CONTROLS.search(screen(app).replace("\n", ""))
        for line in fleet.log_since(state_of(fleet, name).id):
            assert not CONTROLS.search(line.text)
        assert "\\x1b" in str(state_of(fleet, name).agent.version)


async def test_a_reply_of_100_mb_is_one_clear_error() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    troubles = {"bloated": Trouble.HUGE, "quiet": Trouble.FAST}
    async with console(troubles) as (app, pilot, fleet):
        await until(pilot, lambda: len(fleet.states()) == 2)
        # On a busy machine the visit's 2 s may be over before the limit is reached.
        await until(pilot, lambda: state_of(fleet, "bloated").agent.seen_at is not None)
        await pilot.press("f", "enter")
        await until(pilot, lambda: state_of(fleet, "bloated").last is not None)
        last = state_of(fleet, "bloated").last
        assert last is not None
        assert last.kind is OutcomeKind.REFUSED
        assert "limit 8388608" in last.reason
        assert last.settled
        # Its neighbour is a healthy row all the while (P8).
        await until(pilot, lambda: state_of(fleet, "quiet").agent.state is AgentState.ALIVE)
        await until(pilot, lambda: "quiet" in screen(app))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert grown < HUGE_BYTES / 2, "the reply was kept in memory"
