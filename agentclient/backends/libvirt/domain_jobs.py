"""The jobs on a domain's disks, as libvirt tells them. Pure.

Libvirt names none: a copy of ours is known by the file that it has planned. A job that has ended is
not listed any more, so that what came of it is told by other things: of a backup, by what libvirt
keeps of its last one; of an overlay that is folded back, by the images that the disk has now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

from agentclient.access.disk_calls import BACKUP, FOLD, DiskWork
from agentclient.backends.libvirt.domain_disks import file_of, target_of
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import BlockJob, BlockJobStatus, Disk

# virDomainJobOperation: those that we have words for.
_BACKUP: Final = 9
_OPERATIONS: Final = {
    2: "save", 4: "migration", 5: "migration", 6: "snapshot", 8: "dump", 10: "snapshot-delete",
}  # fmt: skip
_COMPLETED: Final = 3  # virDomainJobType
# virDomainBlockJobType
_TYPES: Final = {1: "stream", 2: "mirror", 3: "commit", 4: "commit", 5: "backup"}
_UNKNOWN_END: Final = "libvirt does not tell how it ended"


class Told(NamedTuple):
    """What libvirt tells of the jobs on a domain.

    Attributes:
        root: the domain's live XML.
        job: its own job's statistics.
        backup: the XML of the backup that runs; None if none does.
        blocks: what it says of each disk's job, by the disk's target; those without one are empty.
        last: the statistics of the last job that has ended; empty if there is none.
    """

    root: ET.Element
    job: Mapping[str, object]
    backup: ET.Element | None
    blocks: Mapping[str, Mapping[str, object]]
    last: Mapping[str, object]


def is_backup(job: Mapping[str, object]) -> bool:
    """Return whether a domain's own job is a backup."""
    return job.get("operation") == _BACKUP


def backed_up(backup: ET.Element | None) -> dict[str, str]:
    """Return the files that a backup writes to, by the disks' targets; empty where it has none."""
    found = [] if backup is None else backup.iterfind("disks/disk")
    return {one.get("name", ""): _target(one) for one in found if one.get("backup") != "no"}


def jobs_of(told: Told, disks: Iterable[Disk], works: Iterable[DiskWork]) -> tuple[BlockJob, ...]:
    """Return all jobs on a domain's disks.

    Args:
        told: what libvirt tells.
        disks: the domain's disks.
        works: what frostwatches have planned.
    """
    by_target = {one.node: one for one in disks}
    written = backed_up(told.backup)
    ready = _mirrors(told.root)
    found: list[BlockJob] = []
    ours: set[str] = set()
    for work in works:
        disk = by_target.get(work.disk)
        job = None
        if work.type == BACKUP:
            job = _backup(told, work, disk, written)
        elif work.type == FOLD:
            job = _fold(told, work, disk, ready)
        if job is not None:
            found.append(job)
            if not job.has_ended:
                ours.add(work.disk)
    for target in written.keys() | {name for name, block in told.blocks.items() if block}:
        if target not in ours:
            block = told.blocks.get(target, {})
            kind = _TYPES.get(_number(block.get("type")), "backup" if target in written else "job")
            found.append(_running(f"libvirt.{kind}.{target}", kind, block, None))
    operation = _number(told.job.get("operation"))
    if told.job.get("type") and operation in _OPERATIONS:
        kind = _OPERATIONS[operation]
        found.append(_running(f"libvirt.{kind}", kind, {}, None))
    return tuple(found)


def _backup(
    told: Told, work: DiskWork, disk: Disk | None, written: Mapping[str, str]
) -> BlockJob | None:
    if work.file and written.get(work.disk) == work.file:
        return _running(work.job, BACKUP, told.blocks.get(work.disk, {}), disk)
    if not work.began:
        return None
    error = None
    if not is_backup(told.last):
        error = _UNKNOWN_END
    elif told.last.get("type") != _COMPLETED:
        said = told.last.get("errmsg")
        error = printable(str(said), 300) if said else "libvirt has ended it"
    return _ended(work.job, BACKUP, disk, error)


def _fold(
    told: Told, work: DiskWork, disk: Disk | None, ready: Mapping[str, bool]
) -> BlockJob | None:
    block = told.blocks.get(work.disk, {})
    used = disk is not None and any(one.file == work.file for one in disk.chain)
    if used and _TYPES.get(_number(block.get("type"))) == FOLD:
        job = _running(work.job, FOLD, block, disk)
        is_ready = ready.get(work.disk, False)
        return job._replace(ready=is_ready, status=BlockJobStatus.READY) if is_ready else job
    if not work.began or disk is None:
        return None
    return _ended(work.job, FOLD, disk, "it was ended before its end" if used else None)


def _running(job: str, kind: str, block: Mapping[str, object], disk: Disk | None) -> BlockJob:
    # Of one disk that is done already libvirt tells nothing while the others go on.
    size = disk.size if disk is not None else 0
    done, total = (_number(block.get(name)) for name in ("cur", "end"))
    if not block:
        done = total = size
    speed = _number(block.get("bandwidth"))
    return BlockJob(job, kind, BlockJobStatus.RUNNING, done, total, speed)


def _ended(job: str, kind: str, disk: Disk | None, error: str | None) -> BlockJob:
    size = disk.size if disk is not None and error is None else 0
    return BlockJob(job, kind, BlockJobStatus.CONCLUDED, size, size, error=error)


def _mirrors(root: ET.Element) -> dict[str, bool]:
    """Return the disks that are about to change over to another image, and whether they can."""
    found = ((target_of(one), one.find("mirror")) for one in root.iterfind("devices/disk"))
    return {target: one.get("ready") == "yes" for target, one in found if one is not None}


def _target(disk: ET.Element) -> str:
    found = disk.find("target")
    return "" if found is None else found.get("file") or found.get("dev") or file_of(disk)


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
