"""Ends what a frostwatch that has ended has left with a VM's manager, and deletes its files.

Only a file is deleted that a backup's own folder says to be incomplete, or that is an overlay which
holds nothing, and that no disk of the VM uses (P9).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from agentclient.jobs.archive import Begun
from agentclient.jobs.called_port import CALL_S, CalledPort
from agentclient.jobs.cancel import cancel_jobs
from agentclient.jobs.control import JobControl
from agentclient.jobs.delete_files import delete_incomplete, kept_overlay
from agentclient.jobs.disk_port import IO_ERROR
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.left import Cleared, LeftCopy, check_left
from agentclient.jobs.left_files import (
    begun_in,
    forget_backup,
    forget_records,
    is_empty,
    is_overlay,
    records_beside,
)
from agentclient.jobs.patience import patiently
from agentclient.jobs.snapshots.record import Record
from agentclient.model.job import JobKind
from agentclient.model.text import printable
from agentclient.protocol.job_names import JobId


class _Looked(NamedTuple):
    """What a copy has on its storages.

    Attributes:
        files: its files that are there.
        begun: the folders in which a backup was begun that is not complete.
        records: what is kept of snapshots beside its files.
        overlays: the files that are overlays which may hold what a guest has written.
    """

    files: tuple[Path, ...]
    begun: dict[Path, Begun]
    records: list[Record]
    overlays: frozenset[Path]


def clear_called(port: CalledPort, copy: LeftCopy) -> Cleared:
    """End a copy's jobs, and delete its files if they are incomplete.

    Args:
        port: reaches the VM's disks.
        copy: the copy, whose frostwatch has ended.

    Raises:
        ValueError: its frostwatch is not proven to have ended.
        JobFailed: the manager does not answer, or the copy's storage hangs.
    """
    check_left(copy)
    stopped = port.status() == IO_ERROR
    left: list[str] = []
    for name in filter(None, {JobId.parse(job.id) for job in copy.jobs}):
        left += cancel_jobs(port, name)
    if left:
        return Cleared((), (), (*left, *copy.files))
    used = {image.file for disk in port.disks() for image in disk.chain}
    looked = patiently(JobControl(), "looking at its files", partial(_look, copy, used))
    removed, kept, left = _delete(copy, looked)
    folders = {Path(one).parent for one in kept}
    for folder, begun in looked.begun.items():
        if folder not in folders:
            more, rest = forget_backup(port, folder, begun)
            removed, left = removed + more, left + rest
    more, rest = forget_records(looked.records)
    removed, left = removed + more, left + rest
    for node in [*copy.nodes][:1]:
        port.within(CALL_S, partial(port.calls.forget_copy, node))
    resumed = stopped and _resume(port, left)
    return Cleared(tuple(removed), tuple(kept), tuple(left), resumed)


def _delete(copy: LeftCopy, looked: _Looked) -> tuple[list[str], list[str], list[str]]:
    """Delete a copy's incomplete files.

    Returns:
        The files that were deleted, the complete ones, and what is left, each as a clause.
    """
    kept, left = list[str](), list[str]()
    complete = copy.complete and copy.kind == JobKind.BACKUP
    incomplete: list[tuple[Path, None]] = []
    for path in looked.files:
        if path in looked.overlays:
            left.append(kept_overlay(path))
        elif complete:
            kept.append(str(path))
        elif path.parent in looked.begun or copy.kind != JobKind.BACKUP:
            incomplete.append((path, None))
        else:
            left.append(f"the file {printable(path, 300)}, which is not known to be incomplete")
    removed, undeleted = delete_incomplete(incomplete)
    return removed, kept, [*left, *undeleted]


def _look(copy: LeftCopy, used: set[str]) -> _Looked:
    """Look at a copy's files; their storage may hang."""
    files = tuple(
        path
        for file in copy.files
        if file.startswith("/") and file not in used
        for path in (Path(file),)
        if path.is_file() and not path.is_symlink()
    )
    begun, records = begun_in(files), records_beside(files)
    overlays = frozenset(
        path
        for path in files
        if path.parent not in begun and is_overlay(path, records) and not is_empty(path)
    )
    return _Looked(files, begun, records, overlays)


def _resume(port: CalledPort, left: list[str]) -> bool:
    """Let a VM go on that stands still at an error, now that the copy has ended."""
    try:
        port.go_on()
    except JobFailed as error:
        left.append(f"the VM stands still at an error of a storage (io-error): resume it ({error})")
        return False
    return True
