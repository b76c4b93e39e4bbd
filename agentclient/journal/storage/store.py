"""The journal's file: how it is opened, and how a corrupt one is replaced.

Only the journal's own process (`agentclient.journal.storage.server`) uses this: the disk may hang,
and then a process that reads or writes it can't even be killed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agentclient.journal.storage.database import (
    BUSY_S,
    JobResult,
    JournalError,
    Statement,
    in_transaction,
    prepare,
)
from agentclient.journal.storage.fault import is_corrupt, is_of_disk, of_system, why
from agentclient.journal.storage.state_folder import make_folder
from agentclient.journal.storage.tables import ADDED, STEPS, Steps

MOST_WINDOWS: Final = 10_000
_FILES: Final = ("", "-wal", "-shm")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ASIDE: Final = ".corrupt-"
_NEWER: Final = "it was written by a newer frostwatch, and is only read"


class Store:
    """The journal's file, opened when it is first needed; for one thread.

    Args:
        path: the file.
        steps: the statements of each migration of the schema.

    Attributes:
        path: as given.
        notices: what a person should know about the file, a clause each.
    """

    def __init__(self, path: Path, steps: Steps = STEPS) -> None:
        self.notices: list[str] = []
        self.path = path
        self._steps = steps
        self._added = ADDED if steps is STEPS else ()
        self._newer = False
        self._connection: sqlite3.Connection | None = None
        self._identity: object = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._pruned = False

    def run(self, jobs: Sequence[Sequence[Statement]], *, writes: bool) -> list[JobResult] | None:
        """Run jobs in one transaction; a job whose own statement fails does not stop the others.

        A corrupt file is renamed; the next write makes a new one.

        Args:
            jobs: the statements of each job.
            writes: whether any of them writes; then a missing file is made.

        Returns:
            None if there is no file to read.

        Raises:
            JournalError: the file can't be used.
        """
        try:
            return self._run(jobs, writes=writes)
        except JournalError as trouble:
            raise JournalError(_NEWER) if self._newer else trouble from None
        except sqlite3.Error as error:
            copied = self._copy is not None  # the copy may be torn by a write
            self.close()
            if copied or not is_corrupt(error):
                raise JournalError(why(error, self.path)) from error
        except OSError as error:
            self.close()
            raise JournalError(of_system(error)) from error
        try:
            aside = self._put_aside()
            if not writes:
                raise JournalError(_corrupt(aside))
            self.notices.append(f"{_corrupt(aside)}, and a new one was begun")
            return self._run(jobs, writes=True)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise JournalError(f"it is corrupt, and can't be put aside: {error}") from error

    def aside(self) -> list[str]:
        """Return the paths of earlier files that were corrupt, the oldest first."""
        try:
            names = [each.name for each in self.path.parent.iterdir()]
        except OSError:
            return []
        ours = sorted(each for each in names if each.startswith(f"{self.path.name}{_ASIDE}"))
        whole = [each for each in ours if not each.endswith(_FILES[1:])]
        return [str(self.path.with_name(each)) for each in whole]

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        copy, self._copy = self._copy, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        if copy is not None:
            copy.cleanup()

    def _run(self, jobs: Sequence[Sequence[Statement]], *, writes: bool) -> list[JobResult] | None:
        connection = self._opened(writes=writes)
        if connection is None:
            return None
        if writes and self._newer:
            raise JournalError(_NEWER)
        results = in_transaction(connection, jobs, writes=writes)
        if writes and not self._pruned:
            self._pruned = True
            in_transaction(connection, [_PRUNE], writes=True)
        return results

    # -- opening it -----------------------------------------------------------------------

    def _opened(self, *, writes: bool) -> sqlite3.Connection | None:
        """Return the open file; it is opened again if another one has taken its place."""
        identity = self._seen()
        if self._connection is not None and (
            identity != self._identity or (writes and self._copy is not None)
        ):
            self.close()
        if self._connection is None:
            if writes:
                _make(self.path)
            elif identity is None:
                return None
            with _none_moves_in(self.path.parent):
                self._identity = self._seen()  # before it is opened: it may turn out to be corrupt
                self._connection = self._open(writes=writes)
            if self._copy is not None:
                self._identity = self._seen()
        return self._connection

    def _open(self, *, writes: bool) -> sqlite3.Connection:
        if writes:
            return self._connected(self.path)
        if _is_writable(self.path):
            try:
                return self._connected(self.path)
            except sqlite3.Error as error:
                if not is_of_disk(error):
                    raise
        # SQLite has to write files beside the journal also to read it: so a copy is read.
        self._copy = tempfile.TemporaryDirectory(prefix="frostwatch-")
        return self._connected(_copied(self.path, Path(self._copy.name)))

    def _connected(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            self._newer = prepare(connection, self._steps, self._added)
        except BaseException:
            connection.close()
            raise
        return connection

    def _seen(self) -> object:
        """Return the file's identity, which a replacement does not have; None if it is missing."""
        found = _stat(self.path)
        if found is None:
            return None
        if self._copy is None:
            return found.st_dev, found.st_ino
        wal = _stat(Path(f"{self.path}-wal"))
        after = None if wal is None else (wal.st_ino, wal.st_mtime_ns, wal.st_size)
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, after

    def _put_aside(self) -> Path | None:
        """Rename the corrupt file, and return its new path; None if another process did so."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        with _alone_in(self.path.parent):
            aside = self.path.with_name(f"{self.path.name}{_ASIDE}{stamp}")
            number = 1
            while aside.exists():
                number += 1
                aside = self.path.with_name(f"{self.path.name}{_ASIDE}{stamp}-{number}")
            if self._seen() != self._identity:
                return None
            for end in _FILES:
                with suppress(FileNotFoundError):
                    Path(f"{self.path}{end}").rename(f"{aside}{end}")
        return aside


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _make(path: Path) -> None:
    """Make the file with access for its owner alone; SQLite's files beside it get the same mode."""
    make_folder(path.parent)
    with suppress(FileExistsError):  # to open and close a file in use would drop its locks
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _is_writable(path: Path) -> bool:
    """Return whether SQLite can write its files beside the journal, which it needs to read, too."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _copied(path: Path, folder: Path) -> Path:
    """Copy a journal that can't be written into `folder`, and return the copy's path."""
    for end in _FILES[:2]:
        with suppress(FileNotFoundError):
            shutil.copyfile(f"{path}{end}", folder / f"journal.db{end}")
    return folder / "journal.db"


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other frostwatch processes from moving or opening files in a folder meanwhile.

    Raises:
        OSError: the folder can't be locked, or another process keeps it locked.
    """
    handle = os.open(folder, _FOLDER)
    try:
        _lock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _none_moves_in(folder: Path) -> Iterator[None]:
    """Keep other frostwatch processes from moving files in a folder, if it can be locked.

    SQLite opens a database and the files beside it by name, one after the other: they have to
    belong to the same journal.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            handle = os.open(folder, _FOLDER)
            stack.callback(os.close, handle)
            _lock(handle, fcntl.LOCK_SH)
        yield


def _lock(handle: int, how: int) -> None:
    until = time.monotonic() + BUSY_S
    while True:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise
        time.sleep(0.01)


# The oldest windows are deleted, by their numbers, since a clock may be wrong. A window whose guest
# may still be frozen is never deleted.
_PRUNE: Final[list[Statement]] = [
    (
        "DELETE FROM windows WHERE (settled = 1 OR kind != 'freeze' AND ended_at IS NOT NULL)"
        " AND id < (SELECT id FROM windows ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (MOST_WINDOWS - 1,),
    )
]


def _corrupt(aside: Path | None) -> str:
    if aside is None:
        return "it was corrupt, and another frostwatch has put it aside"
    return f"it was corrupt, and lies in {aside} now"
