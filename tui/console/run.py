"""The console from its start to the last word after it, whatever ends it.

What holds for the whole process is done here, in `tui.console.leave` and in `tui.console.memory`:
signals, garbage, heaps, and the exit.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from pathlib import Path

from agentclient.fleet.store import Fleet
from agentclient.model.request import Schedule
from tui.console import memory
from tui.console.app import FrostwatchApp
from tui.console.bare_terminal import tell_stderr
from tui.console.copies import no_jobs
from tui.console.kept import Keeper
from tui.console.leave import LEFT_SOMETHING, SignalHandler, leave_windows, thaw_and_leave
from tui.console.model.exit_kind import ExitKind
from tui.console.ports import HandoverPort, JobsPort, OperationsPort, RunningWatcherPort
from tui.console.shortage import draw
from tui.console.terminal import open_terminals
from tui.shared.colours import Colours
from tui.shared.notify import Notify
from tui.shared.terminal_features import is_in_browser

# Mostly they are there at once, and a first screen without them is painted for nothing.
FIRST_LIST_S = 0.1


def run(
    fleet: Fleet,
    operations: OperationsPort,
    watcher: RunningWatcherPort | None,
    *,
    jobs: Callable[[], JobsPort] = no_jobs,
    read_only: bool,
    interval_s: float,
    drill: bool = False,
    notify: Notify = Notify(),  # noqa: B008 - it can't be changed
    schedule: Schedule | None = None,
    copy_to: Path | None = None,
    make_app: Callable[..., FrostwatchApp] | None = None,
    keys: Mapping[str, str] | None = None,
    theme: tuple[str, Colours] | None = None,
    journal: Path | None = None,
    handover: Callable[[], HandoverPort] | None = None,
    journal_options: tuple[str, ...] | None = None,
) -> int:
    """Open the console, and return when it was left and every guest is thawed, or was told about.

    Args:
        fleet: what is known about all VMs.
        operations: what freezes and thaws.
        watcher: keeps the fleet up to date; it is started and stopped here.
        jobs: returns what begins copies; called with the first one.
        read_only: nothing is sent to any guest.
        interval_s: seconds between two visits to an agent.
        drill: the VMs are simulated; the screen says so.
        notify: how an operator is called who does not look at the screen.
        schedule: how long freezes are waited for, and a window may be held at the most.
        copy_to: the folder with which the form of a copy begins; None for the current one.
        make_app: makes the app, with what it takes; None for the console itself.
        keys: the keys that actions have in the place of their usual ones, by the actions' ids.
        theme: the name of the theme that is set, and its colours; None for the last console's.
        journal: the journal's file, which the help names; None if there is none.
        handover: returns what keeps when the console was left; None where nothing is kept.
        journal_options: the options by which another frostwatch finds the same journal; None where
            none can play it again.

    Returns:
        0, or 1 if a guest may still be frozen or the console failed.
    """
    # Whoever has a page's address, and may only look, is not the operator: what they do there is in
    # no way of the operator's next console, and the operator's command is not run once more.
    only_looks = read_only and is_in_browser()
    if only_looks:
        notify = notify._replace(command=())
    keeper = Keeper(writes=not only_looks)
    app = (make_app or FrostwatchApp)(
        fleet,
        operations,
        watcher,
        jobs=jobs,
        read_only=read_only,
        interval_s=interval_s,
        drill=drill,
        notify=notify,
        schedule=schedule,
        copy_to=copy_to,
        keys=keys,
        theme=theme,
        journal=journal,
        keeper=keeper,
        memory=memory,
        handover=None if only_looks else handover,
        journal_options=journal_options,
    )

    def leave() -> int:
        keep = app.return_value is ExitKind.KEPT
        detach = keep or app.return_value is ExitKind.DETACHED
        copies = app.action_context.copies
        if keep:
            leave_windows(fleet, operations, tell_stderr)
        return thaw_and_leave(fleet, operations, handler, tell_stderr, copies=copies, detach=detach)

    # In a browser it is a pipe, whose other end the server has.
    terminals = [0] if is_in_browser() else open_terminals()
    handler = SignalHandler(operations, lambda: app.ask_to_leave(terminals), leave, terminals)
    code = LEFT_SOMETHING
    with handler:
        handler.start()
        if watcher is not None:
            watcher.list_first(FIRST_LIST_S)  # the console starts it once they are on the screen
        try:
            draw(app)
        finally:
            gc.enable()  # the first screen may never have been shown
            handler.screen_left.set()
            if app.ended_by is not None:
                tell_stderr(f"frostwatch: {app.ended_by}")
            code = leave()
            keeper.finish()
            app.handovers.leave()
            if watcher is not None:
                watcher.stop()
            if app.teller is not None:
                app.teller.close()
    return max(code, app.return_code or 0)
