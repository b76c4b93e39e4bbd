"""What a copy that was left has beside QEMU's jobs and nodes: its folder, its record, its bitmaps.

Nothing of it is deleted that may hold what a guest has written, or what a complete copy needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agentclient.jobs.archive import Begun, read_backup, remove_folder
from agentclient.jobs.chain import bitmaps_of
from agentclient.jobs.disk_port import DiskPort
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.snapshots.record import Record, RecordFile, records_in
from agentclient.model.text import printable
from agentclient.protocol.qcow2 import L1, MOST_BYTES, parse_head, parse_l1

_ENTRY: Final = 8


def begun_in(paths: Iterable[Path]) -> dict[Path, Begun]:
    """Return the folders of these files in which a backup was begun, and is not complete."""
    found = {}
    for folder in dict.fromkeys(path.parent for path in paths):
        backup = read_backup(folder)
        if backup is not None and backup.manifest is None and backup.begun is not None:
            found[folder] = backup.begun
    return found


def forget_backup(port: DiskPort, folder: Path, begun: Begun) -> tuple[list[str], list[str]]:
    """Remove the folder of a backup that was left, if nothing else is in it, and its bitmaps.

    Args:
        port: reaches the VM's disks.
        folder: the folder, whose incomplete files were deleted.
        begun: what was written when it began.

    Returns:
        What was removed, and what is left, each as a clause or a path.
    """
    removed: list[str] = []
    left: list[str] = []
    try:
        disks = port.disks()
        for name in sorted(bitmaps_of(disks, begun.chain, begun.id)):
            there = port.remove_bitmaps(disks, frozenset({name}))
            left += there
            removed += [] if there else [f"the bitmap {name}"]
    except JobFailed as error:
        left = [f"the bitmaps frostwatch-{begun.chain}-{begun.id}-… of the disks ({error})"]
    kept = remove_folder(folder, parent=False)
    if not kept:
        removed.append(str(folder))
    return removed, left + kept


def is_overlay(path: Path, records: Iterable[Record]) -> bool:
    """Return whether a file takes, or may take, what a guest writes after a snapshot."""
    if any(str(path) == part.overlay for record in records for part in record.disks):
        return True
    try:
        with path.open("rb") as file:
            head = parse_head(file.read(MOST_BYTES))
    except OSError:
        return False
    return head is not None and head.backing is not None


def is_empty(path: Path) -> bool:
    """Return whether an overlay certainly holds nothing; no QEMU has it open any more."""
    try:
        with path.open("rb") as file:
            table = parse_l1(file.read(L1.size))
            if table is None:
                return False
            file.seek(table.offset)
            content = file.read(table.entries * _ENTRY)
    except OSError:
        return False
    return len(content) == table.entries * _ENTRY and not any(content)


def records_beside(paths: Iterable[Path]) -> list[Record]:
    """Return the records of the snapshots whose overlays these files are."""
    files = {str(path) for path in paths}
    folders = dict.fromkeys(Path(one).parent for one in files)
    return [
        record
        for record in records_in(folders)
        if any(part.overlay in files for part in record.disks)
    ]


def forget_records(records: Iterable[Record]) -> tuple[list[str], list[str]]:
    """Remove the records of snapshots that have no overlay any more.

    Returns:
        What was removed, and what is left, each as a path or a clause.
    """
    removed, left = [], []
    for record in records:
        if record.path is None:
            continue
        shown = printable(record.path, 300)
        if any(part.overlay is not None and os.path.lexists(part.overlay) for part in record.disks):
            left.append(f"the file {shown}, which says what its overlays are")
            continue
        kept = RecordFile(record.path).remove()
        left += kept
        if not kept:
            removed.append(str(record.path))
    return removed, left
