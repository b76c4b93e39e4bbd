"""Programs that the benchmarks run on a terminal: ``python -m tests.benchmarks.children NAME``.

``still N FD``    the console on N VMs; each byte in the pipe FD is one second of long freezes
``grid N FD``     Textual's own table, with the same rows by name and the same changes
``grid-by-trouble N FD``  the same, in the order that the console begins with
``lively N``      the console on N VMs that all change each second, every tenth in a freeze
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from textual.app import App, ComposeResult
from textual.widgets import DataTable

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import VmState
from tests.benchmarks.big_fleets import Second, big_fleet, change_every_second
from tests.console.console_session import make_app
from tests.console.fakes import FakeOperations, StillClock
from tui.console import memory
from tui.console.model.order import Order
from tui.console.run import run
from tui.console.widgets.table.cells import Paint
from tui.console.widgets.table.columns import COLUMNS
from tui.shared.glyphs import Signs

KEYS = {"step", "total", "silent"}  # the columns with running clocks


def at_each_byte(fd: int, act: Callable[[], None]) -> None:
    """Act in the app's own loop whenever a byte comes."""

    def come() -> None:
        os.read(fd, 1)
        act()

    asyncio.get_running_loop().add_reader(fd, come)


class Grid(App[None]):
    """Textual's own table in front of the same fleet: a cell for each of our cells."""

    def __init__(self, fleet: Fleet, still: StillClock, order: Order = Order.NAME) -> None:
        super().__init__()
        self._fleet = fleet
        self._order = order
        self._still = still
        self._version = 0
        self.table: DataTable[str] = DataTable(cursor_type="row")

    def compose(self) -> ComposeResult:
        """Yield the table alone."""
        yield self.table

    def on_mount(self) -> None:
        """Fill the table."""
        for column in COLUMNS:
            self.table.add_column(column.title, key=column.id, width=column.width)
        for state in sorted(self._fleet.states(), key=self._order.key):
            self.table.add_row(*self._cells(state).values(), key=state.vm.name)
        self._version = self._fleet.version

    def _cells(self, state: VmState) -> dict[str, str]:
        paint = Paint(self._still.clock.moment(), Signs())
        return {column.id: column.cell(state, paint).text for column in COLUMNS}

    def drain(self) -> None:
        """Show what has changed: the clocks of those VMs."""
        seen, self._version = self._version, self._fleet.version
        for state in self._fleet.states():
            if state.version <= seen:
                continue
            for key, text in self._cells(state).items():
                if key in KEYS:
                    self.table.update_cell(state.vm.name, key, text)


def still(count: int, fd: int) -> None:
    clock = StillClock()
    fleet = big_fleet(count, clock)
    app = make_app(fleet, clock, memory=memory)
    pass_second = Second(fleet, count, clock)

    def act() -> None:
        pass_second()
        app.drain()
        app.parts.second()

    run_followed(app, fd, act)


def grid(count: int, fd: int, order: Order = Order.NAME) -> None:
    clock = StillClock()
    fleet = big_fleet(count, clock)
    app = Grid(fleet, clock, order)
    pass_second = Second(fleet, count, clock)

    def act() -> None:
        pass_second()
        app.drain()

    run_followed(app, fd, act)


def run_followed(app: App[Any], fd: int, act: Callable[[], None]) -> None:
    """Run an app that acts at each byte of a pipe; none comes before it is on the screen."""

    async def run() -> None:
        at_each_byte(fd, act)
        await app.run_async()

    asyncio.run(run())


def lively(count: int) -> None:
    fleet = big_fleet(count, StillClock(time.monotonic()))
    threading.Thread(target=change_every_second, args=(fleet, count), daemon=True).start()
    run(fleet, FakeOperations(), None, read_only=False, interval_s=15.0)


def main() -> None:
    name, *numbers = sys.argv[1:]
    programs: dict[str, Callable[..., None]] = {
        "still": still,
        "grid": grid,
        "grid-by-trouble": partial(grid, order=Order.TROUBLE),
        "lively": lively,
    }
    programs[name](*map(int, numbers))


if __name__ == "__main__":
    main()
