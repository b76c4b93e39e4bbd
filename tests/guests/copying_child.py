"""Makes a copy in a process of its own, which tests kill: VM FOLDER POLICY LIMIT SECONDS HOLD.

It prints each stage. SECONDS is how long its copy takes in the window, and HOLD how long that is
open at the most. With COMMAND and ``half`` or ``none`` behind them it stops itself in its first
visit to the monitor with that command, of which it has sent half of another one, or nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentclient import Engine
from agentclient.access.exchange import Steps
from agentclient.access.qmp_session import Ask, QmpSession
from agentclient.jobs.backup import BackupJob
from agentclient.jobs.request import BackupRequest
from agentclient.model.events import Event, JobEnded, StageBegan
from agentclient.model.job import FreezePolicy
from agentclient.model.request import FreezeRequest, Schedule


def tell(event: Event) -> None:
    """Print the stage that an event tells."""
    if isinstance(event.details, StageBegan):
        print(event.details.stage.value, flush=True)
    if isinstance(event.details, JobEnded):
        print(f"{event.details.job.result.value}: {event.details.job.reason}", flush=True)


class SlowBackup(BackupJob):
    """A backup that stays in its window for some time."""

    seconds = 0.0

    def start(self) -> None:
        """Start it, and stay."""
        super().start()
        print("in the window", flush=True)
        time.sleep(self.seconds)


def stop_in_visit(command: str, *, half: bool) -> None:
    """Stop this process in its first visit with a command, which may be sent by half."""
    whole = QmpSession.ask
    left = [command]

    def ask(session: QmpSession, asks: Sequence[Ask]) -> Steps[list[Any]]:
        if left and asks[0].command == command:
            left.clear()
            yield from whole(session, [Ask("query-name")])  # QEMU serves us
            if half:
                os.write(session.channel.fileno(), b'{"execute": "query-na')
            print("in a visit", flush=True)
            # To this thread: else it may go on for a moment, until another one takes the signal.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        return (yield from whole(session, asks))

    setattr(QmpSession, "ask", ask)  # noqa: B010 - no type fits both


def main(vm: str, folder: str, policy: str, limit: int, seconds: float, hold_s: float) -> None:
    """Make the copy."""
    SlowBackup.seconds = seconds
    request = BackupRequest(
        folder=Path(folder),
        disks=("a",),
        policy=FreezePolicy(policy),
        fleece="off",
        freeze=FreezeRequest(schedule=Schedule(hold_s=hold_s)),
    )
    with Engine([vm], named_only=True) as engine:
        found = engine.find_one(vm.split(",", maxsplit=1)[0].removeprefix("name="))
        engine.jobs.begin(found, lambda context: SlowBackup(context, request), tell, limit).wait()


if __name__ == "__main__":
    named, target, rule, bytes_a_second, taken_in_s, held_for_s, *stops = sys.argv[1:]
    if stops:
        stop_in_visit(stops[0], half=stops[1] == "half")
    main(named, target, rule, int(bytes_a_second), float(taken_in_s), float(held_for_s))
