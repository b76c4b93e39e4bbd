"""The journal's file: SQLite in WAL mode, its schema, and what becomes of it when it is broken."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agentclient.journal.rows import MOMENTS, first_id_at

MOST_WINDOWS: Final = 10_000
KEPT_S: Final = 400 * 24 * 3600.0
# The thread that waits for another process's transaction is nobody else's.
BUSY_S: Final = 5.0
_FILES: Final = ("", "-wal", "-shm")
_CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WHY: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
    sqlite3.SQLITE_BUSY: "another program has locked it",
    sqlite3.SQLITE_IOERR: "its disk fails",
}

Work = Callable[[sqlite3.Connection], object]
Steps = Sequence[Sequence[str]]

_MOMENTS: Final = ", ".join(f"{name}_at TEXT, {name}_s REAL" for name in MOMENTS)

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
            {_MOMENTS},
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
)


class Trouble(Exception):
    """The journal can't be used; the text is one clause for a person."""


class Store:
    """The file, opened when it is first needed; for one thread.

    Args:
        path: where it is.
        steps: the schema's versions, by the statements that lead to each.
    """

    def __init__(self, path: Path, steps: Steps = STEPS) -> None:
        self._path = path
        self._steps = steps
        self._connection: sqlite3.Connection | None = None
        self._pruned = False

    def run(self, works: Sequence[Work], *, writes: bool) -> list[object] | None:
        """Do some work in one transaction, and return what each returned.

        A corrupt file is put aside, and begun anew.

        Args:
            works: what is to be done.
            writes: whether any of it writes; then the file is made if there is none.

        Returns:
            None if there is no file to read.

        Raises:
            Trouble: the file can't be used.
        """
        try:
            return self._run(works, writes=writes)
        except sqlite3.DatabaseError as error:
            self.close()
            if not _is_corrupt(error):
                raise Trouble(_why(error)) from error
        except OSError as error:
            raise Trouble(f"{error.filename}: {error.strerror}") from error
        try:
            self._put_aside()
            return self._run(works, writes=writes)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise Trouble(f"it is corrupt, and can't be begun anew: {error}") from error

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _run(self, works: Sequence[Work], *, writes: bool) -> list[object] | None:
        connection = self._opened(create=writes)
        if connection is None:
            return None
        results = _in_transaction(connection, works, writes=writes)
        if writes and not self._pruned:
            self._pruned = True
            _in_transaction(connection, [_prune], writes=True)
        return results

    def _opened(self, *, create: bool) -> sqlite3.Connection | None:
        if self._connection is None:
            if create:
                _make(self._path)
            elif not self._path.exists():
                return None
            connection = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
            try:
                _prepare(connection, self._steps)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _put_aside(self) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = self._path.with_name(f"{self._path.name}.corrupt-{stamp}")
        for end in _FILES:
            with suppress(FileNotFoundError):
                Path(f"{self._path}{end}").rename(f"{aside}{end}")


def _make(path: Path) -> None:
    """Make the file, for its owner alone; what SQLite puts beside it takes its mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):  # opening one that is in use would drop its locks at our close
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _prepare(connection: sqlite3.Connection, steps: Steps) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    # A kill loses nothing that is committed; only the host's own end may cost the last of it.
    connection.execute("PRAGMA synchronous = NORMAL")
    version = _version(connection)
    if version > len(steps):
        raise Trouble("it was written by a newer frostwatch")
    if version < len(steps):
        _use_wal(connection)
        _in_transaction(connection, [lambda one: _migrate(one, steps)], writes=True)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Change over to WAL, for which SQLite does not wait by itself if others are at it as well."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, steps: Steps) -> None:
    # Asked once more: another process may have done it while we waited for the lock.
    version = _version(connection)
    for number, statements in enumerate(steps[version:], version + 1):
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number:d}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _in_transaction(
    connection: sqlite3.Connection, works: Sequence[Work], *, writes: bool
) -> list[object]:
    connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    try:
        results = [work(connection) for work in works]
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return results


def _prune(connection: sqlite3.Connection) -> None:
    """Forget the oldest windows; ids are in the order of time."""
    oldest = connection.execute(
        "SELECT id FROM windows ORDER BY id DESC LIMIT 1 OFFSET ?", (MOST_WINDOWS - 1,)
    ).fetchone()
    before = first_id_at(time.time() - KEPT_S)
    if oldest is not None:
        before = max(before, oldest["id"])
    connection.execute("DELETE FROM windows WHERE id < ?", (before,))


def _code(error: sqlite3.Error) -> int | None:
    """Return the primary code, without what extends it; None if Python itself raised it."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_corrupt(error: sqlite3.Error) -> bool:
    return _code(error) in _CORRUPT


def _why(error: sqlite3.Error) -> str:
    known = _WHY.get(_code(error) or 0)
    return f"{known} ({error})" if known else str(error)
