"""Tells what is wrong with the journal's file, from the errors of SQLite and of the system."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

_CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# Errors of one statement: the file is all right.
_OF_ONE_JOB: Final = (
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_MISUSE,
)
_WHY: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
    sqlite3.SQLITE_BUSY: "another program has locked it",
    sqlite3.SQLITE_LOCKED: "another program has locked it",
    sqlite3.SQLITE_PERM: "it may not be used",
    sqlite3.SQLITE_IOERR: "its disk fails",
}

# Errors of a disk that can perhaps be read, but not be written.
_OF_DISK: Final = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
)


def code(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code; None if Python itself raised the error."""
    number = getattr(error, "sqlite_errorcode", None)
    return None if number is None else number & 0xFF


def is_corrupt(error: sqlite3.Error) -> bool:
    """Return whether the file is corrupt, or no database."""
    return code(error) in _CORRUPT


def is_of_one_job(error: sqlite3.Error) -> bool:
    """Return whether the statement failed while the file is all right."""
    return code(error) in (None, *_OF_ONE_JOB)


def is_of_disk(error: sqlite3.Error) -> bool:
    """Return whether the file can't be written, but can perhaps be read."""
    return code(error) in _OF_DISK


def why(error: sqlite3.Error, path: Path) -> str:
    """Return what has gone wrong, in one clause for a person."""
    number = code(error) or 0
    known = (_of_disk(path) if number in _OF_DISK else None) or _WHY.get(number)
    return f"{known} ({error})" if known else str(error)


def _of_disk(path: Path) -> str | None:
    """Return what is wrong with the disk, where SQLite reports no more than an I/O error."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return None
    if disk.f_flag & os.ST_RDONLY:
        return _WHY[sqlite3.SQLITE_READONLY]
    return _WHY[sqlite3.SQLITE_FULL] if not disk.f_bavail or not disk.f_favail else None


def of_system(error: OSError) -> str:
    """Return the system's message for an error, and the file's name."""
    where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
    return f"{where}{error.strerror or error}"
