"""Real kills of a process that writes: the journal is readable, and no window is half a window."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentclient.journal.left_windows import OPEN_WINDOWS, close_windows
from agentclient.journal.storage.jobs import Query
from agentclient.journal.writer import Journal
from agentclient.model.states import WindowState
from tests.unit.journals import WAIT_S, rows

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from agentclient.model.events import EventKind
from agentclient.journal.writer import Journal, Query
from tests.unit.journals import begin, add_event, vm, VERIFIED
folder = Path(sys.argv[1])
journal, number = Journal(folder / "journal.db"), 0
print("begun", flush=True)
while True:
    number += 1
    one = vm(folder, f"db{number % 7}")
    entry = begin(journal, one)
    if entry.armed() and entry.unrecorded is None:
        print(entry.key, flush=True)
    for kind in (EventKind.SENT, EventKind.VERDICT, EventKind.THAW_SENT, EventKind.THAWED):
        add_event(entry, one, kind)
    add_event(entry, one, EventKind.OUTCOME, outcome=VERIFIED)
"""


def _kill_one(folder: Path, after_s: float) -> list[str]:
    """Let a process write, and kill it; return the windows that it has said stand in the file."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    time.sleep(after_s)
    child.send_signal(signal.SIGKILL)
    said = child.stdout.read().splitlines(keepends=True)
    child.stdout.close()
    child.wait()
    return [line.strip() for line in said if line.endswith("\n")]


@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.soak)])
def test_the_journal_survives_every_kill(tmp_path: Path, kills: int) -> None:
    path = tmp_path / "journal.db"
    dice = random.Random(kills)
    said: set[str] = set()
    for _ in range(kills):
        said.update(_kill_one(tmp_path, dice.uniform(0.0, 0.15)))
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()
    journal = Journal(path)
    keys: Query[set[str]] = Query(
        [("SELECT key FROM windows", ())], lambda found: {row["key"] for row in found[0]}, set()
    )
    written = journal.ask(keys, WAIT_S)
    assert written is not None
    assert said <= written, "a freeze would have been sent whose window is nowhere"
    found = journal.ask(OPEN_WINDOWS, WAIT_S)
    assert found is not None
    # The files in the place of the sockets are still there: each kill may have left one freeze.
    assert len(found.left) + len(found.to_close) <= kills
    journal.write(close_windows(found.to_close, "2026-03-01T10:00:00+00:00"), WAIT_S)
    for row in rows(journal):
        assert row.state in (WindowState.CLOSED, WindowState.LEFT), "nobody is at work on it"
        assert row.settled == (row.state is WindowState.CLOSED)
        if row.settled and row.note is None:
            assert row.outcome is not None
            assert row.events[-1].kind == "outcome"
    assert path.stat().st_size < 50_000_000
    journal.close()
    assert journal.problem is None
