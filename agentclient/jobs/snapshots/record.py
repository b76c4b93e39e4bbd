"""What is kept of a snapshot: in the journal, and for an external one in a file beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from agentclient.jobs.archive import open_file, open_folder
from agentclient.jobs.control import JobControl
from agentclient.jobs.delete_files import delete, delete_files
from agentclient.jobs.durable import write_whole
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.made_apart import made_apart
from agentclient.jobs.opened import Inode
from agentclient.jobs.patience import patiently
from agentclient.jobs.snapshots.names import RECORD_SUFFIX
from agentclient.journal.history import READ_S, Guest, jobs_of
from agentclient.journal.writer import Journal
from agentclient.model.disk_snapshot import SnapshotDisk, SnapshotKind
from agentclient.model.job import Consistency, JobKind, JobRefusal
from agentclient.model.json_contract import SCHEMA, dumps
from agentclient.model.text import printable
from agentclient.model.vm import Vm

_MODE: Final = 0o600
_LONGEST: Final = 1 << 20
_MOST_FILES: Final = 2_000
_MOST_ROWS: Final = 1_000
# What a record that anybody may have written can raise.
_UNREADABLE: Final = (
    ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError,
)  # fmt: skip


class Record(NamedTuple):
    """What is known of a snapshot that a frostwatch has taken.

    Attributes:
        name: its name.
        kind: where it is.
        disks: the disks that it was taken of.
        began: when that began.
        taken: when it was taken; None if its frostwatch did not come to write that.
        consistency: what it is worth; None as above.
        reason: why, as a clause.
        window: how its freeze ended, as in docs/json.md; None without one.
        path: the file that says so; None for the journal.
    """

    name: str
    kind: SnapshotKind
    disks: tuple[SnapshotDisk, ...]
    began: datetime | None
    taken: datetime | None
    consistency: Consistency | None
    reason: str
    window: Mapping[str, Any] | None = None
    path: Path | None = None

    def facts(self, vm: Vm) -> dict[str, object]:
        """Return it as JSON, without its window."""
        return {
            "schema": SCHEMA,
            "job": JobKind.SNAPSHOT.value,
            "vm": str(vm.id),
            "name": self.name,
            "kind": self.kind.value,
            "disks": [
                {"disk": one.disk, "file": one.file, "overlay": one.overlay} for one in self.disks
            ],
            "began": self.began.isoformat() if self.began else None,
            "taken": self.taken.isoformat() if self.taken else None,
            "consistency": self.consistency.value if self.consistency else None,
            "reason": self.reason,
        }


class RecordFile:
    """The file beside an external snapshot's overlays.

    Args:
        path: the file.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self, control: JobControl, record: Record, vm: Vm) -> None:
        """Make the file; one that exists is another snapshot's.

        Raises:
            JobRefused: it exists, or can't be made.
            JobFailed: its storage hangs.
            JobCancelled: the job was cancelled meanwhile.
        """
        making = partial(make_file, self.path, _text(record, vm))
        undoing = partial(delete, self.path)
        made_apart(control, f"making {printable(self.path, 300)}", making, undoing)

    def write(self, record: Record, vm: Vm) -> str | None:
        """Replace what it says; return why that failed, as a clause; None if it did not."""
        content = _text(record, vm).encode()
        try:
            patiently(JobControl(), "writing it", partial(write_whole, self.path, content, _MODE))
        except (OSError, JobFailed) as error:
            why = error.strerror if isinstance(error, OSError) else error
            return f"{printable(self.path, 300)} could not be written: {why}"
        return None

    def remove(self) -> list[str]:
        """Delete the file; return what is left behind, as clauses."""
        shown = f"the file {printable(self.path, 300)}"
        return [left for left in delete_files([(shown, self.path, None)]) if left is not None]


def make_file(path: Path, text: str) -> Inode:
    """Make a file beside overlays, and return its device and inode.

    Args:
        path: the file, which is not there.
        text: what it is to hold.

    Raises:
        JobRefused: it exists, or can't be made.
    """
    shown = printable(path, 300)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _MODE)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        why = f"{shown} can't be made: {error.strerror}"
        raise JobRefused(JobRefusal.TARGET, why, "name a folder that can be written") from None
    try:
        found = os.fstat(handle)
        with os.fdopen(handle, "w") as file:
            file.write(text)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        why = f"{shown} can't be written: {error.strerror}"
        raise JobRefused(JobRefusal.TARGET, why, "make room, or name another folder") from None
    return found.st_dev, found.st_ino


def _taken(path: Path) -> JobRefused:
    """Return the refusal of a name whose file exists."""
    shown = printable(path, 300)
    overlays = [one.overlay for record in records_from(path) for one in record.disks]
    if overlays and not any(one is not None and Path(one).exists() for one in overlays):
        return JobRefused(
            JobRefusal.NAME,
            f"{shown} is of a snapshot that was never completed, or whose overlays are gone",
            "delete that file, or choose another name",
        )
    why = f"{shown} exists: a snapshot of that name was taken"
    return JobRefused(JobRefusal.NAME, why, "choose another name")


def records_in(folders: Iterable[Path]) -> Iterator[Record]:
    """Read the files beside the overlays; what can't be read is left out."""
    for folder in dict.fromkeys(folders):
        try:
            paths = sorted(folder.glob(f"*{RECORD_SUFFIX}"))
        except OSError:
            continue
        for path in paths[:_MOST_FILES]:
            yield from records_from(path)


def records_from(path: Path) -> tuple[Record, ...]:
    """Read one of these files; empty if it can't be read."""
    with suppress(OSError, *_UNREADABLE):
        found = json.loads(_read(path))
        return (_record(found, found.get("window"), path),)
    return ()


def _read(path: Path) -> bytes:
    """Return what a plain file holds; whoever can write beside an image may put a pipe there.

    Raises:
        OSError: it can't be read, or is something else.
    """
    folder = open_folder(path.parent)
    try:
        with os.fdopen(open_file(folder, path.name), "rb") as file:
            return file.read(_LONGEST)
    finally:
        os.close(folder)


def records_of(journal: Journal | None, vm: Vm) -> tuple[Record, ...]:
    """Read a VM's snapshots from the journal, the newest first; empty if that can't be read."""
    if journal is None:
        return ()
    rows = journal.ask(jobs_of(Guest.of(vm), _MOST_ROWS), READ_S) or ()
    found = []
    for row in rows:
        if row.job is not None and row.job.get("job") == JobKind.SNAPSHOT.value:
            with suppress(*_UNREADABLE):
                found.append(_record(row.job, row.outcome, None))
    return tuple(found)


def _text(record: Record, vm: Vm) -> str:
    window = None if record.window is None else dict(record.window)
    return dumps({**record.facts(vm), "window": window}) + "\n"


def _record(
    facts: Mapping[str, Any], window: Mapping[str, Any] | None, path: Path | None
) -> Record:
    word = facts["consistency"]
    consistency = None if word is None else Consistency(word)
    held = isinstance(window, Mapping) and window.get("certified") is True
    if path is not None and consistency is Consistency.CONSISTENT and not held:
        raise ValueError("it says consistent, and its window is not certified")
    return Record(
        name=str(facts["name"]),
        kind=SnapshotKind(facts["kind"]),
        disks=tuple(
            SnapshotDisk(str(one["disk"]), str(one["file"]), _optional(one.get("overlay")))
            for one in facts["disks"]
        ),
        began=_moment(facts["began"]),
        taken=_moment(facts["taken"]),
        consistency=consistency,
        reason=str(facts["reason"]),
        window=window if isinstance(window, Mapping) else None,
        path=path,
    )


def _optional(value: object) -> str | None:
    return None if value is None else str(value)


def _moment(value: object) -> datetime | None:
    found = None if value is None else datetime.fromisoformat(str(value))
    if found is not None:
        if found.tzinfo is None:
            raise ValueError("a time without a zone")
        found.astimezone()  # one that no clock here can show is none
    return found
