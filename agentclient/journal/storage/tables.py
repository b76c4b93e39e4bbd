"""The journal's tables: the schema's migrations from each version to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

Steps = Sequence[Sequence[str]]
Columns = Sequence[tuple[str, str]]

# The moments of a window. Each has two columns: the wall clock, and the seconds since the request.
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

# Columns that were added to the table of windows later, with their types. They need no new version:
# an older frostwatch goes on using the same file, and leaves them empty. Empty means not known.
ADDED: Final[Columns] = (
    ("vm_host", "TEXT"),  # the VM's host; empty if that is the host that wrote the row (`host`)
    ("instance", "TEXT"),  # the backend's identity of this start of the VM
    ("uuid", "TEXT"),  # the VM's UUID
    ("incoming", "INTEGER"),  # the VM was started to receive a migration
    ("job", "TEXT"),  # the copy that was taken in the window, as JSON
    ("kept", "INTEGER"),  # its console has left it, and its holder holds it to its end
    ("versions", "TEXT"),  # which versions took part: frostwatch's, the agent's, QEMU's, as JSON
    ("writes", "TEXT"),  # how much the guest had written by then, as JSON
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
        # The window's key, known before SQLite has assigned its number.
        "ALTER TABLE windows ADD COLUMN key TEXT",
        # The time of the request, in seconds of the boot's monotonic clock.
        "ALTER TABLE windows ADD COLUMN mono REAL",
        # For how long the freeze is to be held, and the outcome of a rescue step.
        "ALTER TABLE windows ADD COLUMN hold_s REAL",
        "ALTER TABLE windows ADD COLUMN rescue TEXT",
        "CREATE UNIQUE INDEX windows_of_key ON windows (key)",
        "CREATE INDEX windows_of_process ON windows (vm_pid, vm_ticks)",
        # The event's number: a write that is repeated, because its answer was missing, adds the
        # event only once.
        "ALTER TABLE events ADD COLUMN number INTEGER",
        "CREATE UNIQUE INDEX events_of_number ON events (window, number)",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    ),
)
