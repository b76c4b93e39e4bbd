"""Journals for tests: of this process, and of others that have died or are still at work."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

from agentclient.journal.entry import Entry, begin_freeze
from agentclient.journal.history import windows
from agentclient.journal.storage.database import Statement
from agentclient.journal.storage.jobs import Query
from agentclient.journal.window_row import WindowRow
from agentclient.journal.writer import Journal
from agentclient.model.clock import now
from agentclient.model.events import Event, EventKind
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest
from agentclient.model.states import Level, OutcomeKind
from agentclient.model.vm import AgentChannel, Process, Vm, VmId
from tests.event_details import event_details

VERIFIED = Outcome(
    OutcomeKind.VERIFIED, "frozen", frozen=2, thawed=2, certified=True, settled=True, seconds=1.0
)
LOST = Outcome(OutcomeKind.LOST, "lost", next="frostwatch thaw --foreign qemu:db1")
WAIT_S = 60.0
T = TypeVar("T")


def vm(folder: Path, name: str = "db1", process: Process | None = None) -> Vm:
    """Return a VM with a file in the place of its agent's socket."""
    path = folder / f"{name.replace(chr(47), chr(95))}.qga"
    path.touch()
    return Vm(VmId("qemu", name), AgentChannel(path), process=process)


def begin(journal: Journal, one: Vm) -> Entry:
    entry = begin_freeze(journal, one, FreezeRequest())
    assert entry is not None
    return entry


def add_event(entry: Entry, one: Vm, kind: EventKind, text: str = "said", **fields: Any) -> None:
    entry.event(Event(one.id, now(), kind, Level.INFO, text, event_details(**fields)))


def nothing() -> list[Statement]:
    """Return what writes nothing: who waits for it knows that all before it is written."""
    return [("SELECT 1", ())]


def flush(journal: Journal) -> None:
    """Wait until everything is written, and what follows from that."""
    until = time.monotonic() + WAIT_S
    for _ in range(2):
        # On a busy machine it may be said to hang for a while.
        while not journal.write(nothing(), WAIT_S):
            assert time.monotonic() < until, journal.problem
            time.sleep(0.05)


def number(journal: Journal, entry: Entry) -> int:
    """Return the number that SQLite has given to a window."""
    flush(journal)
    query = Query(
        [("SELECT id FROM windows WHERE key = ?", (entry.key,))], lambda found: found[0][0]["id"], 0
    )
    return int(_asked(journal, query))


def whole(journal: Journal, one: Vm, outcome: Outcome = VERIFIED) -> int:
    """Write a freeze from its beginning to its end; return its window."""
    entry = put(journal, one, outcome)
    return number(journal, entry)


def put(journal: Journal, one: Vm, outcome: Outcome = VERIFIED) -> Entry:
    """Have a freeze written from its beginning to its end, whether that can be done or not."""
    entry = begin(journal, one)
    entry.armed()
    add_event(entry, one, EventKind.SENT)
    add_event(entry, one, EventKind.REPLY, frozen=2)
    add_event(entry, one, EventKind.THAW_SENT)
    if outcome.settled:
        add_event(entry, one, EventKind.THAWED)
    add_event(entry, one, EventKind.OUTCOME, outcome=outcome)
    return entry


def rows(journal: Journal) -> tuple[WindowRow, ...]:
    """Return all windows, the newest first, once everything is written."""
    if journal.path.exists():
        flush(journal)
    return _asked(journal, windows(None, 1000))


def _asked(journal: Journal, query: Query[T]) -> T:
    until = time.monotonic() + WAIT_S
    # On a busy machine it may be said to hang for a while.
    while (found := journal.ask(query, WAIT_S)) is None:
        assert time.monotonic() < until, journal.problem
        time.sleep(0.05)
    return found


def change(path: Path, window: int, **columns: Any) -> None:
    """Change a window behind the journal's back, as another process would have written it."""
    with sqlite3.connect(path) as file:
        for name, value in columns.items():
            file.execute(f"UPDATE windows SET {name} = ? WHERE id = ?", (value, window))
    file.close()


def of_a_dead_process(path: Path, window: int) -> None:
    """Make it look as if a process had written a window that has died since."""
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    change(path, window, pid=int(child.stdout), ticks=1)


def of_a_living_process(path: Path, window: int) -> None:
    """Make it look as if another process that lives had written a window."""
    pid = os.getppid()
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    change(path, window, pid=pid, ticks=ticks)
