"""Copies a guest under libvirt in a process that tests kill: URI NAME FOLDER LIMIT SECONDS.

It prints each stage. SECONDS is how long it stays in the window.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from agentclient.jobs.called.backup import CalledBackup
from agentclient.jobs.request import BackupRequest
from agentclient.model.events import Event, JobEnded, StageBegan
from tests.guests.copy_window import LONG_WINDOW
from tests.guests.libvirt_copying import LARGE, domains_alone


def tell(event: Event) -> None:
    """Print the stage that an event tells."""
    if isinstance(event.details, StageBegan):
        print(event.details.stage.value, flush=True)
    if isinstance(event.details, JobEnded):
        print(f"{event.details.job.result.value}: {event.details.job.reason}", flush=True)


class SlowBackup(CalledBackup):
    """A backup that stays in its window for some time."""

    seconds = 0.0

    def start(self) -> None:
        """Start it, and stay."""
        super().start()
        print("in the window", flush=True)
        time.sleep(self.seconds)


def main(uri: str, name: str, folder: Path, limit: int, seconds: float) -> None:
    """Make the copy."""
    SlowBackup.seconds = seconds
    request = BackupRequest(folder=folder, disks=(LARGE,), freeze=LONG_WINDOW)
    with domains_alone(uri, folder.parent) as engine:
        vm = engine.find_one(f"libvirt:{name}")
        engine.jobs.begin(vm, lambda context: SlowBackup(context, request), tell, limit).wait()


if __name__ == "__main__":
    address, called, to, bytes_a_second, window_s = sys.argv[1:]
    main(address, called, Path(to), int(bytes_a_second), float(window_s))
