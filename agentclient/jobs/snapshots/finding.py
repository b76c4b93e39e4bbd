"""Finds the snapshots that a VM's disks have, whoever has taken them, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from agentclient.jobs.disks import image_path
from agentclient.jobs.snapshots.names import revert_steps
from agentclient.jobs.snapshots.record import Record, records_in
from agentclient.model.disk_snapshot import SnapshotDisk, SnapshotFound, SnapshotKind
from agentclient.model.vm import Process, VmId
from agentclient.protocol.qmp_block import Disk, DiskSnapshot

# An image holds a snapshot's time in whole seconds.
_SECOND_S: Final = 1.0
NOT_OURS: Final = "taken by another program, or nothing is recorded of it"
ABOVE: Final = (
    "not possible while external snapshots are above it, whose overlays are built on its image: "
    "delete those first"
)
NOT_WRITTEN: Final = "its frostwatch ended before it could say what it is worth"


class _Part(NamedTuple):
    disk: Disk
    file: str
    snapshot: DiskSnapshot


def find_snapshots(
    vm: VmId, disks: Sequence[Disk], recorded: Sequence[Record], process: Process | None
) -> tuple[SnapshotFound, ...]:
    """Return all snapshots of a VM, the oldest first.

    Args:
        vm: the VM.
        disks: its disks.
        recorded: what the journal knows.
        process: the VM's QEMU, to whose working directory a path may be relative.
    """
    found = [*_internal(vm, disks, recorded, process), *_external(vm, disks, process)]
    never = datetime.min.replace(tzinfo=UTC)
    return tuple(sorted(found, key=lambda one: (one.made or never, one.name)))


def overlay_records(disks: Sequence[Disk], process: Process | None) -> tuple[Record, ...]:
    """Return the records beside the images of these disks, and beside those behind them."""
    folders = [
        path.parent
        for disk in disks
        for file in (disk.file, *(image.file for image in disk.chain))
        if (path := image_path(disk._replace(file=file), process)) is not None
    ]
    return tuple(records_in(folders))


def _internal(
    vm: VmId, disks: Sequence[Disk], recorded: Sequence[Record], process: Process | None
) -> Iterator[SnapshotFound]:
    # Of one name there can be one in each image of a chain.
    parts: dict[tuple[str, int], list[_Part]] = {}
    for disk in disks:
        for level, image in enumerate(disk.chain):
            path = image_path(disk._replace(file=image.file), process)
            for snapshot in image.snapshots:
                part = _Part(disk, str(path or image.file), snapshot)
                parts.setdefault((snapshot.name, level), []).append(part)
    for (name, level), holders in parts.items():
        record = next((one for one in recorded if _is_of(one, name, holders)), None)
        held = tuple(SnapshotDisk(one.disk.name, one.file) for one in holders)
        seconds = min(one.snapshot.seconds for one in holders)
        yield SnapshotFound(
            vm=vm,
            name=name,
            kind=SnapshotKind.INTERNAL,
            made=record.taken if record else made_at(seconds),
            disks=held,
            missing=without_it(disks, [one.disk for one in holders]),
            memory=any(one.snapshot.vm_state_size for one in holders),
            consistency=record.consistency if record else None,
            reason=reason_of(record),
            window=record.window if record else None,
            # An image with overlays above it must not change: they are built on what it holds.
            revert=(ABOVE,) if level else revert_steps(SnapshotKind.INTERNAL, name, held),
        )


def _external(vm: VmId, disks: Sequence[Disk], process: Process | None) -> Iterator[SnapshotFound]:
    chains = {disk.name: _chain(disk, process) for disk in disks}
    for record in overlay_records(disks, process):
        if record.kind is not SnapshotKind.EXTERNAL:
            continue
        held = []
        for part in record.disks:
            for disk in disks:
                size = chains[disk.name].get(part.overlay or "", -1)
                if size != -1:
                    held.append((disk, part._replace(disk=disk.name, size=size)))
        if not held:
            continue
        mine = tuple(part for _, part in held)
        yield SnapshotFound(
            vm=vm,
            name=record.name,
            kind=SnapshotKind.EXTERNAL,
            made=record.taken or record.began,
            disks=mine,
            missing=without_it(disks, [disk for disk, _ in held]),
            memory=False,
            consistency=record.consistency,
            reason=reason_of(record),
            window=record.window,
            revert=revert_steps(SnapshotKind.EXTERNAL, record.name, mine),
        )


def _chain(disk: Disk, process: Process | None) -> dict[str, int | None]:
    """Return the paths of a disk's overlays, and what each takes on its storage."""
    found = {}
    for image in disk.chain[:-1]:
        path = image_path(disk._replace(file=image.file), process)
        found[str(path or image.file)] = image.allocated
    return found


def _is_of(record: Record, name: str, holders: Sequence[_Part]) -> bool:
    """Return whether all that the disks hold was taken by the one who wrote the record."""
    if record.kind is not SnapshotKind.INTERNAL or record.name != name:
        return False
    if record.began is None or record.taken is None:
        return False
    taken_of = {one.disk for one in record.disks}
    first, last = record.began.timestamp() - _SECOND_S, record.taken.timestamp() + _SECOND_S
    return all(
        one.disk.names & taken_of and first <= one.snapshot.seconds <= last for one in holders
    )


def without_it(disks: Sequence[Disk], holders: Sequence[Disk]) -> tuple[str, ...]:
    """Return the names of the disks that the guest writes to and that are none of the holders."""
    return tuple(one.name for one in disks if one not in holders and one.is_written)


def reason_of(record: Record | None) -> str:
    """Return why a snapshot is worth what it is, as far as its record tells."""
    if record is None:
        return NOT_OURS
    return record.reason if record.consistency is not None else NOT_WRITTEN


def made_at(seconds: int) -> datetime | None:
    """Return a time for a number of seconds since 1970; None for 0, or if there is no such time."""
    try:
        return datetime.fromtimestamp(seconds).astimezone() if seconds else None
    except (OverflowError, OSError, ValueError):
        return None
