"""An open journal database: its schema's migrations, and transactions.

Only the journal's own process uses this, as it does `agentclient.journal.storage.store`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from agentclient.journal.storage.fault import code, is_of_one_job
from agentclient.journal.storage.tables import Columns, Steps

# How long we wait for another program's transaction, in seconds.
BUSY_S: Final = 1.0

Row = Mapping[str, Any]
Rows = list[dict[str, Any]]
Statement = tuple[str, Sequence[object]]


class JournalError(Exception):
    """The journal can't be used; the text is one clause for a person."""


class JobResult(NamedTuple):
    """The result of one job.

    Attributes:
        error: why the job failed, though the file is all right; None if it was done.
        found: the rows of each of its statements.
    """

    error: str | None
    found: list[Rows]


def prepare(connection: sqlite3.Connection, steps: Steps, added: Columns = ()) -> bool:
    """Migrate a journal that was just opened to the newest version of its schema.

    Args:
        connection: the open file.
        steps: the statements of each migration.
        added: the columns that were added to the table of windows later.

    Returns:
        Whether a newer frostwatch wrote the file: then it is only read.

    Raises:
        sqlite3.Error: the file can't be read or written.
    """
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    # A killed process loses no commit; a crash of the host may lose the last ones.
    connection.execute("PRAGMA synchronous = NORMAL")
    version = _version(connection)
    if version > len(steps):
        connection.execute("PRAGMA query_only = ON")
        return True
    if version < len(steps):
        _use_wal(connection)
        _migrate(connection, steps)
    if _missing(connection, added):
        _add(connection, added)
    return False


def _use_wal(connection: sqlite3.Connection) -> None:
    """Change to WAL mode; SQLite itself does not wait for other processes that do the same."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, steps: Steps) -> None:
    with _transaction(connection, writes=True):
        # Read the version again: another process may have migrated while we waited for the lock.
        version = _version(connection)
        for number, statements in enumerate(steps[version:], version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number:d}")


def _add(connection: sqlite3.Connection, added: Columns) -> None:
    with _transaction(connection, writes=True):
        # Looked up again, for the same reason.
        for name, kind in _missing(connection, added):
            connection.execute(f"ALTER TABLE windows ADD COLUMN {name} {kind}")


def _missing(connection: sqlite3.Connection, added: Columns) -> Columns:
    there = {row["name"] for row in connection.execute("PRAGMA table_info(windows)")}
    # A table of windows without a key is another program's: it is left alone.
    return [one for one in added if one[0] not in there] if "key" in there else ()


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _transaction(connection: sqlite3.Connection, *, writes: bool) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def in_transaction(
    connection: sqlite3.Connection, jobs: Sequence[Sequence[Statement]], *, writes: bool
) -> list[JobResult]:
    """Run jobs in one transaction; a job whose own statement fails does not stop the others.

    Args:
        connection: the open file.
        jobs: the statements of each job.
        writes: whether any of them writes.

    Raises:
        JournalError: the file is no journal.
        sqlite3.Error: no job can be done.
    """
    with _transaction(connection, writes=writes):
        return [_done(connection, job) for job in jobs]


def _done(connection: sqlite3.Connection, job: Sequence[Statement]) -> JobResult:
    connection.execute("SAVEPOINT job")
    try:
        found = [_executed(connection, statement) for statement in job]
    except (sqlite3.Error, ValueError, OverflowError) as error:
        if isinstance(error, sqlite3.Error) and not is_of_one_job(error):
            raise
        if str(error).startswith("no such "):  # table, or column
            raise JournalError(f"it is no journal of frostwatch's: {error}") from error
        connection.execute("ROLLBACK TO job")
        done = JobResult(str(error) or repr(error), [])
    else:
        done = JobResult(None, found)
    connection.execute("RELEASE job")
    return done


def _executed(connection: sqlite3.Connection, statement: Statement) -> Rows:
    text, values = statement
    return [dict(row) for row in connection.execute(text, tuple(values)).fetchall()]
