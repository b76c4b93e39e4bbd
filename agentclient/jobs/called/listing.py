"""The snapshots that a VM's manager knows of, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from agentclient.access.disk_calls import KeptSnapshot
from agentclient.jobs.snapshots.finding import (
    made_at,
    overlay_records,
    reason_of,
    without_it,
)
from agentclient.jobs.snapshots.names import revert_steps
from agentclient.jobs.snapshots.record import Record
from agentclient.model.disk_snapshot import SnapshotDisk, SnapshotFound, SnapshotKind
from agentclient.model.shell_words import quoted
from agentclient.model.vm import Vm
from agentclient.protocol.qmp_block import Disk


def list_kept(
    vm: Vm, disks: Sequence[Disk], kept: Iterable[KeptSnapshot], recorded: Sequence[Record]
) -> tuple[SnapshotFound, ...]:
    """Return the snapshots that a manager knows of, the oldest first.

    Args:
        vm: the VM.
        disks: its disks.
        kept: what the manager knows.
        recorded: what the journal knows; what is kept beside the overlays is read here.
    """
    records = (*overlay_records(disks, None), *recorded)
    found = [_found(vm, disks, one, records) for one in kept]
    never = datetime.min.replace(tzinfo=UTC)
    return tuple(sorted(found, key=lambda one: (one.made or never, one.name)))


def _found(
    vm: Vm, disks: Sequence[Disk], one: KeptSnapshot, records: Sequence[Record]
) -> SnapshotFound:
    kind = SnapshotKind.EXTERNAL if one.overlays else SnapshotKind.INTERNAL
    record = next((each for each in records if _is_of(each, one)), None)
    by_node = {disk.node: disk for disk in disks}
    nodes = tuple(one.overlays) or one.inside
    parts = tuple(_part(node, by_node.get(node), one) for node in nodes)
    held = [by_node[node] for node in nodes if node in by_node]
    domain, name = quoted(vm.title or vm.name), quoted(one.name)
    revert: tuple[str, ...] = (f"virsh snapshot-revert {domain} {name}",)
    if kind is SnapshotKind.EXTERNAL:
        # libvirt can revert to one since 9.9 alone.
        forget = f"virsh snapshot-delete {domain} {name} --metadata has libvirt forget it then"
        revert = (*revert_steps(kind, one.name, parts), forget)
    return SnapshotFound(
        vm=vm.id,
        name=one.name,
        kind=kind,
        made=(record.taken if record else None) or made_at(one.seconds),
        disks=parts,
        missing=without_it(disks, held),
        memory=one.memory,
        consistency=record.consistency if record else None,
        reason=reason_of(record),
        window=record.window if record else None,
        revert=revert,
    )


def _part(node: str, disk: Disk | None, one: KeptSnapshot) -> SnapshotDisk:
    overlay = one.overlays.get(node)
    chain = disk.chain if disk is not None else ()
    below = [image.file for image in chain]
    image = one.images.get(node, "")
    if overlay in below[:-1]:
        image = below[below.index(overlay) + 1]
    size = next((each.allocated for each in chain if each.file == overlay), None)
    return SnapshotDisk(disk.name if disk is not None else node, image, overlay, size)


def _is_of(record: Record, one: KeptSnapshot) -> bool:
    """Return whether a record is that of a snapshot: all of its overlays are the record's."""
    if record.kind is not SnapshotKind.EXTERNAL or record.name != one.name:
        return False
    overlays = {part.overlay for part in record.disks}
    return bool(one.overlays) and overlays == set(one.overlays.values())
