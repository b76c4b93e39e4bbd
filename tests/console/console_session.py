"""A console under test: tests press its keys, and read what is on its screen."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from agentclient.fleet.store import Fleet
from agentclient.model.vm import VmId
from tests.console.fakes import FakeJobs, FakeOperations, FakeWatcher, StillClock
from tui.console.app import FrostwatchApp
from tui.console.kept import Keeper
from tui.console.ports import HandoverPort, MemoryPort
from tui.shared.glyphs import Signs
from tui.shared.notify import Notify

SMALL, LARGE = (80, 24), (160, 50)


@dataclass
class ConsoleSession:
    """A console that runs with fakes, its keys and its screen."""

    pilot: Pilot[Any]
    app: FrostwatchApp
    fleet: Fleet
    operations: FakeOperations
    watcher: FakeWatcher
    still: StillClock

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        self.app.screen._on_timer_update()  # what `pilot.pause` does after one more wait

    async def until(self, holds: Callable[[], bool], within_s: float = 60.0) -> None:
        """Wait until something holds: layouts follow each other on a busy machine."""
        end = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end, f"it never came to hold:\n{self.text}"
            await self.pilot.pause(0.02)

    async def settle(self, seconds: float = 0.0) -> None:
        """Let time pass on the console's clock, and what is known reach the screen."""
        self.still.advance(seconds)
        self.app.drain()
        self.app.parts.second()
        await self.pilot.pause()

    def copies_are_known(self) -> None:
        """Have the console know of the copies that a test has begun in its place."""
        assert self.app.action_context.copies.jobs is not None

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return [strip.text for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def flat(self) -> str:
        """What stands on the screen without its frames, as if nothing were wrapped."""
        return " ".join(re.sub("[─│╭╮╰╯▌▂▃▄▅▆▇]", " ", self.text).split())

    def line_of(self, words: str) -> str:
        """Return the first line that has `words`."""
        found = [line for line in self.lines if words in line]
        assert found, f"{words!r} is not on the screen:\n{self.text}"
        return found[0]

    @property
    def cursor(self) -> str:
        """The name of the VM in the line that the cursor's sign stands in."""
        sign = self.app.signs.cursor
        marked = [line for line in self.lines if line.startswith(sign)]
        assert len(marked) == 1, self.text
        return marked[0][3:].split()[0]

    @property
    def notice(self) -> str:
        return self.lines[-2].rstrip()

    @property
    def dialog(self) -> str:
        """The name of the dialog on top, empty if there is none."""
        name = type(self.app.screen).__name__
        return name if name.endswith("Dialog") else ""


@asynccontextmanager
async def console_session(
    fleet: Fleet,
    still: StillClock,
    *,
    size: tuple[int, int] = SMALL,
    operations: FakeOperations | None = None,
    read_only: bool = False,
    signs: Signs | None = None,
    drill: bool = False,
    memory: MemoryPort | None = None,
    jobs: FakeJobs | None = None,
    notify: Notify = Notify(),  # noqa: B008 - it can't be changed
    copy_to: Path | None = None,
    keys: Mapping[str, str] | None = None,
    keeper: Keeper | None = None,
    handover: Callable[[], HandoverPort] | None = None,
) -> AsyncIterator[ConsoleSession]:
    operations = operations or FakeOperations()
    watcher = FakeWatcher()
    app = make_app(
        fleet,
        still,
        operations,
        watcher,
        read_only=read_only,
        signs=signs,
        drill=drill,
        memory=memory,
        jobs=jobs,
        notify=notify,
        copy_to=copy_to,
        keys=keys,
        keeper=keeper,
        handover=handover,
    )
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.05)  # the first layouts follow each other
        await pilot.pause()
        yield ConsoleSession(pilot, app, fleet, operations, watcher, still)


def make_app(
    fleet: Fleet,
    still: StillClock,
    operations: FakeOperations | None = None,
    watcher: FakeWatcher | None = None,
    *,
    read_only: bool = False,
    signs: Signs | None = None,
    drill: bool = False,
    memory: MemoryPort | None = None,
    jobs: FakeJobs | None = None,
    notify: Notify = Notify(),  # noqa: B008 - it can't be changed
    copy_to: Path | None = None,
    keys: Mapping[str, str] | None = None,
    keeper: Keeper | None = None,
    handover: Callable[[], HandoverPort] | None = None,
) -> FrostwatchApp:
    return FrostwatchApp(
        fleet,
        operations or FakeOperations(),
        watcher,
        jobs=lambda: jobs or FakeJobs(),
        read_only=read_only,
        interval_s=15.0,
        clock=still.clock,
        signs=signs or Signs(),
        drill=drill,
        notify=notify,
        memory=memory,
        copy_to=copy_to,
        keys=keys,
        keeper=keeper,
        handover=handover,
    )


def qemu(name: str) -> VmId:
    return VmId("qemu", name)
