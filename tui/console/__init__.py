"""The console; nothing of it, nor textual, is imported before `run_console` is called."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from agentclient.model.request import DEFAULT_MAXIMUM_HOLD_S, Schedule

if TYPE_CHECKING:
    from agentclient.fleet.store import Fleet
    from agentclient.fleet.watcher import Watcher
    from agentclient.operations.manager import Operations


def run_console(
    fleet: Fleet,
    operations: Operations,
    watcher: Watcher | None,
    *,
    read_only: bool,
    interval_s: float,
    drill: bool = False,
    max_hold_s: float = DEFAULT_MAXIMUM_HOLD_S,
) -> int:
    """Open the console, and return when it was left and every guest is thawed, or was told about.

    Args:
        fleet: what is known about all VMs.
        operations: what freezes and thaws.
        watcher: keeps the fleet up to date; it is started and stopped here.
        read_only: nothing is sent to any guest.
        interval_s: seconds between two visits to an agent.
        drill: the VMs are simulated; the screen says so.
        max_hold_s: how long a window may be held at the most, in seconds.

    Returns:
        0, or 1 if a guest may still be frozen or the console failed.
    """
    # Nothing of what is built until the first screen is garbage; after it the console enables this.
    gc.disable()
    from tui.console.run import run  # noqa: PLC0415 - the command line starts without textual

    return run(
        fleet,
        operations,
        watcher,
        read_only=read_only,
        interval_s=interval_s,
        drill=drill,
        schedule=Schedule(maximum_hold_s=max_hold_s),
    )
