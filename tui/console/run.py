"""The console from its start to the last word after it, whatever ends it."""

from __future__ import annotations

import gc
import os

from agentclient.fleet.store import Fleet
from agentclient.model.request import Schedule
from tui.console.app import FrostwatchApp
from tui.console.bare_terminal import tell_stderr
from tui.console.leave import LEFT_SOMETHING, Guard, take_leave
from tui.console.model.leaving import Leave
from tui.console.ports import OperationsPort, RunningWatcherPort
from tui.console.terminal_driver import has_ended

# Mostly they are there at once, and a first screen without them is painted for nothing.
FIRST_LIST_S = 0.1


def run(
    fleet: Fleet,
    operations: OperationsPort,
    watcher: RunningWatcherPort | None,
    *,
    read_only: bool,
    interval_s: float,
    drill: bool = False,
    schedule: Schedule | None = None,
) -> int:
    """Run the console, then take leave; see `tui.console.run_console`."""
    app = FrostwatchApp(
        fleet,
        operations,
        watcher,
        read_only=read_only,
        interval_s=interval_s,
        drill=drill,
        schedule=schedule,
    )

    def leave_screen() -> None:
        if any(map(has_ended, terminals)):
            app.terminal_has_gone()
        app.post_message(FrostwatchApp.MustLeave())  # safe from any thread

    def farewell() -> int:
        detach = app.return_value is Leave.DETACHED
        return take_leave(fleet, operations, guard, tell_stderr, detach=detach)

    terminals = [number for number in (0, 1, 2) if os.isatty(number)]
    guard = Guard(operations, leave_screen, farewell, terminals)
    code = LEFT_SOMETHING
    with guard:
        guard.start()
        if watcher is not None:
            watcher.list_first(FIRST_LIST_S)  # the console starts it once they are on the screen
        try:
            app.run()
        finally:
            gc.enable()  # the first screen may never have been shown
            guard.screen_left.set()
            code = farewell()
            if watcher is not None:
                watcher.stop()
    return max(code, app.return_code or 0)
