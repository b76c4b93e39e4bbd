"""An open journal: its versions, and jobs that are done in one transaction.

For the journal's own process alone, as the file itself (`agentclient.journal.storage.store`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from agentclient.journal.storage.fault import code, is_of_one_job
from agentclient.journal.storage.tables import Columns, Steps

# How long another program's transaction is waited for, in seconds.
BUSY_S: Final = 1.0

Row = Mapping[str, Any]
Rows = list[dict[str, Any]]
Statement = tuple[str, Sequence[object]]


class Trouble(Exception):
    """The journal can't be used; the text is one clause for a person."""


class Done(NamedTuple):
    """What came of one job.

    Attributes:
        error: why it was not done, though the file is well; None if it was.
        found: the rows of each of its statements.
    """

    error: str | None
    found: list[Rows]


def prepare(connection: sqlite3.Connection, steps: Steps, added: Columns = ()) -> bool:
    """Bring a journal that was just opened to the newest version.

    Args:
        connection: it.
        steps: what leads from each version to the next.
        added: the columns that its windows have besides.

    Returns:
        Whether it is of a newer frostwatch: then it can be read, as far as it is understood.

    Raises:
        sqlite3.Error: it can't be read, or written.
    """
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    # A kill loses nothing that is committed; only the host's own end may cost the last of it.
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
    """Change over to WAL, for which SQLite does not wait by itself if others are at it as well."""
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
        # Asked once more: another process may have done it while we waited for the lock.
        version = _version(connection)
        for number, statements in enumerate(steps[version:], version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number:d}")


def _add(connection: sqlite3.Connection, added: Columns) -> None:
    with _transaction(connection, writes=True):
        # Asked once more, as above.
        for name, kind in _missing(connection, added):
            connection.execute(f"ALTER TABLE windows ADD COLUMN {name} {kind}")


def _missing(connection: sqlite3.Connection, added: Columns) -> Columns:
    there = {row["name"] for row in connection.execute("PRAGMA table_info(windows)")}
    # A table of another program's is left alone.
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
) -> list[Done]:
    """Do some jobs in one transaction; one that fails by itself costs no other.

    Raises:
        Trouble: it is no journal.
        sqlite3.Error: none of them can be done.
    """
    with _transaction(connection, writes=writes):
        return [_done(connection, job) for job in jobs]


def _done(connection: sqlite3.Connection, job: Sequence[Statement]) -> Done:
    connection.execute("SAVEPOINT job")
    try:
        found = [_executed(connection, statement) for statement in job]
    except (sqlite3.Error, ValueError, OverflowError) as error:
        if isinstance(error, sqlite3.Error) and not is_of_one_job(error):
            raise
        if str(error).startswith("no such "):  # table, or column
            raise Trouble(f"it is no journal of frostwatch's: {error}") from error
        connection.execute("ROLLBACK TO job")
        done = Done(str(error) or repr(error), [])
    else:
        done = Done(None, found)
    connection.execute("RELEASE job")
    return done


def _executed(connection: sqlite3.Connection, statement: Statement) -> Rows:
    text, values = statement
    return [dict(row) for row in connection.execute(text, tuple(values)).fetchall()]
