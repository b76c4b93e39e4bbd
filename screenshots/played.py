"""A replay, and a scenario of the drill, at clocks that stand still, for the pictures."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState
from agentclient.replay.incident import incident_of
from agentclient.replay.player import Replay
from tests.console.console_session import SMALL
from tests.console.fakes import FakeOperations, FakeWatcher, StillClock
from tests.console.fleets import fleet_of, put
from tests.unit.incidents import lost, of_others, window
from tui.console.replay.app import ReplayApp
from tui.console.training.app import TrainingApp
from tui.console.training.watch import Notebook
from tui.shared.glyphs import Signs
from tui.shared.training.catalogue import SCENARIOS
from tui.shared.training.diary import Fact, What

TITLE = "frostwatch"
# A night in which a group was frozen, of which one was lost, while others had a third one.
NIGHT = (
    window(257, "qemu:db1"),
    window(258, "qemu:web1", after_s=0.2),
    lost(259, "qemu:mail1", after_s=0.3),
    of_others(260, "qemu:git1", after_s=4.0),
)
PLAYED = (
    (8.4, What.FREEZE, "froze files1, to be held 10 s"),
    (8.7, What.HELD, "files1 is frozen, and held"),
    (18.7, What.THAW_SENT, "a thaw is sent to files1"),
    (34.0, What.HINT, "asked for a hint: its agent does not answer the thaw"),
    (41.2, What.RUNG_SYSRQ, "took the rung sysrq on files1"),
    (57.5, What.WRITES, "files1 is thawed, and writes again"),
)


@asynccontextmanager
async def replaying(signs: Signs, size: tuple[int, int]) -> AsyncIterator[Pilot[Any]]:
    """Play a replay up to the middle of the night; yield its console."""
    os.environ["TZ"] = "UTC"  # its times are shown as of here
    time.tzset()
    incident, now = incident_of(NIGHT), [0.0]
    assert incident is not None
    playing = Replay(incident, speed=5.0, clock=lambda: now[0])
    app = ReplayApp(playing, signs=signs)
    try:
        async with app.run_test(size=size) as pilot:
            await pilot.pause(0.2)  # it is begun once it is on the screen
            now[0] = 2.8
            app._follow()
            app.drain()
            app.parts.second()
            await pilot.press("slash", *"mail1", "enter", "escape")
            app.parts.second()
            await pilot.pause()
            yield pilot
    finally:
        playing.stop()


@asynccontextmanager
async def training(
    signs: Signs,
    size: tuple[int, int],
    *,
    keys: tuple[str, ...],
    facts: int,
    seconds: float,
    read: bool = True,
) -> AsyncIterator[Pilot[Any]]:
    """Play the scenario of an agent that has hung; yield its console.

    Args:
        signs: the set of signs.
        size: columns and lines.
        keys: pressed once the task has been read.
        facts: how much has been done and has happened by then.
        seconds: how long that took.
        read: the task has been read; without, it is on the screen.
    """
    app, still = _trainee(facts, signs)
    async with app.run_test(size=size) as pilot:
        still.advance(seconds)
        await pilot.press(*(("enter",) if read else ()))
        app.follow()
        app.parts.second()  # as soon as a second has passed: the clock says so in any case
        await pilot.press(*keys)
        await pilot.pause()
        yield pilot


def _trainee(facts: int, signs: Signs) -> tuple[TrainingApp, StillClock]:
    still = StillClock()
    scenario, notebook = SCENARIOS["hung"], Notebook(lambda: still.mono)
    fleet: Fleet = fleet_of([one.name for one in scenario.guests], still)
    frozen = FreezeInfo(FreezeState.THAWING, still.wall())
    if facts < len(PLAYED):
        put(fleet, fleet.find("files1").id, freeze=frozen)
    app = TrainingApp(
        scenario, notebook, fleet, FakeOperations(), FakeWatcher(), read_only=False,
        interval_s=15.0, clock=still.clock, signs=signs,
    )  # fmt: skip
    notebook.diary.facts += [Fact(at, "files1", what, text) for at, what, text in PLAYED[:facts]]
    return app, still


async def replay() -> str:
    """Return a replay in the middle of the night, as SVG."""
    async with replaying(Signs(), SMALL) as pilot:
        return pilot.app.export_screenshot(title=TITLE)


async def scenario() -> str:
    """Return a scenario in which an agent has hung, with its hint, as SVG."""
    async with training(Signs(), SMALL, keys=("i",), facts=3, seconds=0.0) as pilot:
        return pilot.app.export_screenshot(title=TITLE)


async def debrief() -> str:
    """Return the debrief of that scenario, as SVG."""
    async with training(Signs(), SMALL, keys=(), facts=len(PLAYED), seconds=57.5) as pilot:
        return pilot.app.export_screenshot(title=TITLE)
