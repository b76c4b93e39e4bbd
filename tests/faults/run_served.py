"""Frostwatch's command line on the VMs of a server, in place of this host's.

python -m tests.faults.run_served SOCKET ARGUMENT…
"""

from __future__ import annotations

import sys
from pathlib import Path

from agentclient import engine
from agentclient.backends.base import Backends
from tests.faults.served_memory import ServedBackend
from tui.main import run

if __name__ == "__main__":
    where, *arguments = sys.argv[1:]
    backends = Backends([ServedBackend(Path(where))])
    setattr(engine, "choose", lambda *_, **__: backends)  # noqa: B010 - it is a name of its own
    sys.exit(run(arguments))
