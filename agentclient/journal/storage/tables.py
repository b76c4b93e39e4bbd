"""The journal's tables: what leads from each version of the file to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

Steps = Sequence[Sequence[str]]
Columns = Sequence[tuple[str, str]]

# When something was so far: each has two columns, wall clock and seconds since it was asked for.
MOMENTS: Final = (
    "asked",
    "armed",
    "sent",
    "replied",
    "verdict",
    "held",
    "thaw_sent",
    "thawed",
    "ended",
)

_MOMENT_COLUMNS: Final = ", ".join(f"{name}_at TEXT, {name}_s REAL" for name in MOMENTS)

# What was added to the table of windows since, each by its name and type. None of it changes what
# was there: a frostwatch that does not know it goes on with the same file, and leaves it empty.
# What is empty is not known.
ADDED: Final[Columns] = (
    ("vm_host", "TEXT"),  # the VM's; empty for the host on which `host` has written it
    ("instance", "TEXT"),  # its source's word for this start of it
    ("uuid", "TEXT"),  # the machine's
    ("incoming", "INTEGER"),  # it was started to take a VM that migrates
)

# The statements that lead from each version to the next; never changed, only added to.
STEPS: Final[Steps] = (
    (
        f"""CREATE TABLE windows (
            id INTEGER PRIMARY KEY, kind TEXT NOT NULL,
            vm TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL,
            vm_pid INTEGER, vm_ticks INTEGER, agent TEXT, monitor TEXT, socket TEXT,
            request TEXT NOT NULL,
            uid INTEGER NOT NULL, user TEXT NOT NULL, pid INTEGER NOT NULL,
            ticks INTEGER NOT NULL, command TEXT NOT NULL, host TEXT NOT NULL, boot TEXT NOT NULL,
            holder_pid INTEGER, holder_ticks INTEGER,
            {_MOMENT_COLUMNS},
            outcome TEXT, thaw TEXT, cause TEXT, settled INTEGER NOT NULL DEFAULT 0, note TEXT
        )""",
        "CREATE INDEX windows_of_vm ON windows (vm, id)",
        "CREATE INDEX windows_of_socket ON windows (socket, id)",
        "CREATE INDEX unsettled_windows ON windows (id) WHERE settled = 0",
        """CREATE TABLE events (
            window INTEGER NOT NULL REFERENCES windows (id) ON DELETE CASCADE,
            kind TEXT NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL, at TEXT NOT NULL,
            s REAL
        )""",
        "CREATE INDEX events_of_window ON events (window)",
    ),
    (
        # By what a window is called before SQLite has given it its number.
        "ALTER TABLE windows ADD COLUMN key TEXT",
        # When it was asked for, in seconds of the boot's monotonic clock.
        "ALTER TABLE windows ADD COLUMN mono REAL",
        # How long the window was to be held, and what a rung of a rescue has found.
        "ALTER TABLE windows ADD COLUMN hold_s REAL",
        "ALTER TABLE windows ADD COLUMN rescue TEXT",
        "CREATE UNIQUE INDEX windows_of_key ON windows (key)",
        "CREATE INDEX windows_of_process ON windows (vm_pid, vm_ticks)",
        # What is written twice, since nobody knew whether it had been written, stands there once.
        "ALTER TABLE events ADD COLUMN number INTEGER",
        "CREATE UNIQUE INDEX events_of_number ON events (window, number)",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    ),
)
