"""Takes a snapshot in a process of its own, which tests kill: VM NAME KIND MOMENT.

It says "in the window" before or after the snapshot is taken, and stays there.
"""

from __future__ import annotations

import sys
import time

from agentclient import Engine
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.snapshots.external import ExternalSnapshot
from agentclient.jobs.snapshots.internal import InternalSnapshot
from tests.guests.copy_window import LONG_WINDOW

BEFORE = "before"


def stay() -> None:
    """Stay in the window."""
    print("in the window", flush=True)
    time.sleep(60)


class SlowInternal(InternalSnapshot):
    """An internal snapshot that stays in its window."""

    moment = BEFORE

    def start(self) -> None:
        """Take it, and stay."""
        if self.moment == BEFORE:
            stay()
        super().start()
        stay()


class SlowExternal(ExternalSnapshot):
    """An external snapshot that stays in its window."""

    moment = BEFORE

    def start(self) -> None:
        """Take it, and stay."""
        if self.moment == BEFORE:
            stay()
        super().start()
        stay()


def main(vm: str, name: str, kind: str, moment: str) -> None:
    """Take it."""
    made = SlowExternal if kind == "external" else SlowInternal
    made.moment = moment
    request = SnapshotRequest(name=name, external=kind == "external", freeze=LONG_WINDOW)
    with Engine([vm], named_only=True) as engine:
        found = engine.find_one(vm.split(",", maxsplit=1)[0].removeprefix("name="))
        engine.jobs.begin(found, lambda context: made(context, request)).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
