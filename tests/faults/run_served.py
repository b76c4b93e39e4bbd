"""Frostwatch's command line on the VMs of a server, in place of this host's.

python -m tests.faults.run_served SOCKET ARGUMENT…

With STOPS_AT=EVENT in its environment it stops itself (SIGSTOP) soon after that event.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from agentclient import engine
from agentclient.backends.base import Backends
from agentclient.freeze.effects import ReportEvent
from agentclient.operations.fleet_reporter import FleetReporter
from tests.faults.served_memory import ServedBackend
from tui.main import run

# So long it goes on, in seconds: what it tells its holder at the same moment is told by then.
SOON_S = 0.2


def stop_at(event: str) -> None:
    """Have this process stop itself soon after an event."""
    report = FleetReporter.event

    def reported(self: FleetReporter, told: ReportEvent) -> None:
        report(self, told)
        if told.kind == event:
            threading.Timer(SOON_S, os.kill, (os.getpid(), signal.SIGSTOP)).start()

    setattr(FleetReporter, "event", reported)  # noqa: B010 - as below


if __name__ == "__main__":
    if "STOPS_AT" in os.environ:
        stop_at(os.environ["STOPS_AT"])
    where, *arguments = sys.argv[1:]
    backends = Backends([ServedBackend(Path(where))])
    setattr(engine, "choose", lambda *_, **__: backends)  # noqa: B010 - it is a name of its own
    sys.exit(run(arguments))
