"""The block layer in QMP's words: a VM's disks, its jobs, and the actions of a transaction. Pure.

QMP values in, facts out (QEMU's qapi/block-core.json and qapi/job.json). What is not as documented
is left out, and never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from agentclient.model.job import JobKind, QemuJob
from agentclient.model.text import printable
from agentclient.protocol.job_names import JOB_PREFIX, JobId

_PCI_AND_SUCH: Final = frozenset({"virtio-backend", "machine"})


class BlockJobStatus(StrEnum):
    """Where QEMU says that a job is (qapi ``JobStatus``)."""

    UNDEFINED = "undefined"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    READY = "ready"
    STANDBY = "standby"
    WAITING = "waiting"
    PENDING = "pending"
    ABORTING = "aborting"
    CONCLUDED = "concluded"
    NULL = "null"


class Bitmap(NamedTuple):
    """A dirty bitmap of a disk.

    Attributes:
        name: its name.
        persistent: it is stored in the image.
        usable: QEMU records writes in it, and it is neither busy nor inconsistent.
        granularity: bytes for each bit.
        dirty: bytes that it marks as written.
    """

    name: str
    persistent: bool
    usable: bool
    granularity: int
    dirty: int


class DiskSnapshot(NamedTuple):
    """A snapshot inside of an image.

    Attributes:
        name: its name.
        id: its number in the image.
        seconds: when it was made, in seconds since 1970.
        vm_state_size: bytes of the VM's state in it; 0 if it holds the disk alone.
    """

    name: str
    id: str
    seconds: int
    vm_state_size: int


class Image(NamedTuple):
    """One image of a disk's chain.

    Attributes:
        file: its file as QEMU opened it.
        format: its format.
        allocated: what it takes on its storage, in bytes; None if that isn't known.
        snapshots: the snapshots inside of it.
        encrypted: what is in it is encrypted.
    """

    file: str
    format: str
    allocated: int | None
    snapshots: tuple[DiskSnapshot, ...] = ()
    encrypted: bool = False


class Disk(NamedTuple):
    """A block device of a VM.

    Attributes:
        name: what a person calls it, whatever its image is: the drive's id, or that of the guest's
            device, or the device's place; its node's name, which changes with a snapshot, where
            there is nothing else.
        device: the drive's id (``drive-scsi0``); empty if it has none.
        node: the node's name; empty if the drive is empty.
        qdev: the guest's device, as a path of QEMU's objects; empty if there is none.
        format: the driver of the image (``qcow2``, ``raw``, …); empty if the drive is empty.
        file: the image's file as QEMU opened it; may be relative to QEMU's working directory.
        size: what the guest sees, in bytes.
        allocated: what the image takes on its storage, in bytes; None if that isn't known.
        read_only: the guest can't write to it.
        removable: its medium can be changed, as that of a CD drive.
        empty: there is no medium in it.
        depth: how many images are behind it.
        bitmaps: its dirty bitmaps.
        chain: its image, and those behind it, from the one that is written on.
        direct: it is opened without the host's cache.
        no_flush: the guest's flushes are ignored.
        detect_zeroes: what is done with zeroes that the guest writes (``off``, ``on``, ``unmap``).
    """

    name: str
    device: str
    node: str
    qdev: str
    format: str
    file: str
    size: int
    allocated: int | None
    read_only: bool
    removable: bool
    empty: bool
    depth: int
    bitmaps: tuple[Bitmap, ...] = ()
    chain: tuple[Image, ...] = ()
    direct: bool = False
    no_flush: bool = False
    detect_zeroes: str = "off"

    @property
    def snapshots(self) -> tuple[DiskSnapshot, ...]:
        """The snapshots inside of its image; not those of the images behind it."""
        return self.chain[0].snapshots if self.chain else ()

    @property
    def ref(self) -> str:
        """What a command calls it: the drive's id, or its node's name."""
        return self.device or self.node

    @property
    def is_writable(self) -> bool:
        """Whether the guest can write to what is in it."""
        return not (self.empty or self.read_only)

    @property
    def is_written(self) -> bool:
        """Whether the guest can write to it, and it has no medium that is changed."""
        return self.is_writable and not self.removable

    @property
    def place(self) -> tuple[str, str, str]:
        """What tells it from the VM's other disks, whatever image it has."""
        known = self.device or self.qdev
        return self.device, self.qdev, "" if known else self.node

    @property
    def names(self) -> frozenset[str]:
        """All names that a person may use for it; that of its node is another disk's later on."""
        return frozenset(
            one for one in (self.name, self.device, self.node, _device_id(self.qdev)) if one
        )


class BlockJob(NamedTuple):
    """A job of QEMU's.

    Attributes:
        id: its id.
        type: what it does (``backup``, ``mirror``, ``create``, ``commit``, …).
        status: where it is.
        done: how far it is, in bytes for a job that copies.
        total: how far it has to come.
        speed: its limit in bytes a second; 0 without one.
        ready: its target is equal to its source.
        stalled: an error of its storage has stopped it.
        error: why it failed; None if it has not.
    """

    id: str
    type: str
    status: BlockJobStatus
    done: int
    total: int
    speed: int = 0
    ready: bool = False
    stalled: bool = False
    error: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether a frostwatch has started it, this one or another."""
        return self.id.startswith(JOB_PREFIX)

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in (BlockJobStatus.CONCLUDED, BlockJobStatus.NULL)


def disks(query_block: object) -> tuple[Disk, ...]:
    """Read the reply to ``query-block``: all block devices, in QEMU's order."""
    items = query_block if isinstance(query_block, list) else []
    found = [_disk(item) for item in items if isinstance(item, dict)]
    times = Counter(one.name for one in found)
    # A device with several drives; where there is no node's name either, a choice is refused.
    return tuple(
        one if times[one.name] == 1 else one._replace(name=one.device or one.node or one.name)
        for one in found
    )


def jobs(query_jobs: object, query_block_jobs: object) -> tuple[BlockJob, ...]:
    """Read the replies to ``query-jobs`` and ``query-block-jobs``.

    The first knows all kinds of jobs and their errors, the second the speed and what is ready.
    """
    more = {
        str(item.get("device")): item
        for item in (query_block_jobs if isinstance(query_block_jobs, list) else [])
        if isinstance(item, dict)
    }
    found = [
        _job(item, more.pop(str(item.get("id")), {}))
        for item in (query_jobs if isinstance(query_jobs, list) else [])
        if isinstance(item, dict)
    ]
    # A QEMU before 3.0 has no `query-jobs`.
    found += [_job({"id": name, "type": item.get("type")}, item) for name, item in more.items()]
    return tuple(found)


def running(query_jobs: object) -> tuple[QemuJob, ...] | None:
    """Read the reply to ``query-jobs``: all jobs, whoever has started them.

    Returns:
        The jobs; None if the reply can't be read. Whether one was left is not told here.
    """
    if not isinstance(query_jobs, list):
        return None
    return tuple(_running(job) for job in jobs(query_jobs, ()))


def _running(job: BlockJob) -> QemuJob:
    name = JobId.parse(job.id)
    known = {one.value for one in JobKind}
    ours = name is not None and name.kind in known
    return QemuJob(
        id=printable(job.id, 120),
        type=printable(job.type, 40),
        done=job.done,
        total=job.total,
        ended=job.has_ended,
        error=None if job.error is None else printable(job.error, 300),
        kind=JobKind(name.kind) if name is not None and ours else None,
        process=name.process if name is not None and ours else None,
        token=name.token if name is not None and ours else "",
    )


def nodes(query_named_block_nodes: object) -> dict[str, str]:
    """Read the reply to ``query-named-block-nodes``: each node's name, and its file's name."""
    items = query_named_block_nodes if isinstance(query_named_block_nodes, list) else []
    return {
        str(item["node-name"]): str(item.get("file", ""))
        for item in items
        if isinstance(item, dict) and "node-name" in item
    }


def node_of(query_named_block_nodes: object, image: Image) -> str | None:
    """Return the name of the node of an image; None if there is none, or several."""
    items = query_named_block_nodes if isinstance(query_named_block_nodes, list) else []
    found = [
        _text(item.get("node-name"))
        for item in _mappings(items)
        if _text(item.get("drv")) == image.format and _text(item.get("file")) == image.file
    ]
    return found[0] if len(found) == 1 else None


def action(kind: str, **data: object) -> dict[str, object]:
    """Return one action of a transaction; underscores in names stand for hyphens."""
    return {"type": kind, "data": arguments(**data)}


def arguments(**given: object) -> dict[str, object]:
    """Return a command's arguments; underscores stand for hyphens, and None is left out."""
    return {name.replace("_", "-"): one for name, one in given.items() if one is not None}


def _disk(item: Mapping[str, Any]) -> Disk:
    inserted = _mapping(item.get("inserted"))
    image = _mapping(inserted.get("image"))
    device, qdev = _text(item.get("device")), _text(item.get("qdev"))
    node = _text(inserted.get("node-name"))
    bitmaps = inserted.get("dirty-bitmaps", item.get("dirty-bitmaps"))
    cache = _mapping(inserted.get("cache"))
    return Disk(
        name=device or _device_id(qdev) or node,
        device=device,
        node=node,
        qdev=qdev,
        format=_text(inserted.get("drv")),
        file=_text(inserted.get("file")),
        size=_number(image.get("virtual-size")),
        allocated=_number(image["actual-size"]) if "actual-size" in image else None,
        read_only=inserted.get("ro") is True,
        removable=item.get("removable") is True,
        empty=not inserted,
        depth=_number(inserted.get("backing_file_depth")),
        bitmaps=tuple(_bitmap(one) for one in _mappings(bitmaps)),
        chain=tuple(_chain(image)),
        direct=cache.get("direct") is True,
        no_flush=cache.get("no-flush") is True,
        detect_zeroes=_text(inserted.get("detect_zeroes")) or "off",
    )


def _chain(image: Mapping[str, Any]) -> Iterator[Image]:
    while image:
        allocated = _number(image["actual-size"]) if "actual-size" in image else None
        yield Image(
            file=_text(image.get("filename")),
            format=_text(image.get("format")),
            allocated=allocated,
            snapshots=tuple(_snapshot(one) for one in _mappings(image.get("snapshots"))),
            encrypted=image.get("encrypted") is True,
        )
        image = _mapping(image.get("backing-image"))


def _bitmap(item: Mapping[str, Any]) -> Bitmap:
    usable = item.get("recording") is True and item.get("busy") is not True
    return Bitmap(
        name=_text(item.get("name")),
        persistent=item.get("persistent") is True,
        usable=usable and item.get("inconsistent") is not True,
        granularity=_number(item.get("granularity")),
        dirty=_number(item.get("count")),
    )


def _snapshot(item: Mapping[str, Any]) -> DiskSnapshot:
    return DiskSnapshot(
        name=_text(item.get("name")),
        id=_text(item.get("id")),
        seconds=_number(item.get("date-sec")),
        vm_state_size=_number(item.get("vm-state-size")),
    )


def _job(item: Mapping[str, Any], more: Mapping[str, Any]) -> BlockJob:
    status = str(item.get("status", more.get("status", "")))
    known = {one.value for one in BlockJobStatus}
    error = item.get("error", more.get("error"))
    return BlockJob(
        id=_text(item.get("id")),
        type=_text(item.get("type")),
        status=BlockJobStatus(status) if status in known else BlockJobStatus.UNDEFINED,
        done=_number(item.get("current-progress", more.get("offset"))),
        total=_number(item.get("total-progress", more.get("len"))),
        speed=_number(more.get("speed")),
        ready=more.get("ready") is True,
        stalled=str(more.get("io-status", "ok")) != "ok",
        error=None if error is None else str(error),
    )


def _device_id(qdev: str) -> str:
    """Return the id of a guest's device, or its place, of the path of its object; empty if none.

    Those that were given none have their place (``device[3]``) as an id. Those of the machine
    itself, which nobody has named, are called by what QEMU calls them, if that says something.
    """
    parts = [part for part in qdev.split("/") if part]
    if parts[:1] == ["machine"] and parts[1:2] in (["peripheral"], ["peripheral-anon"]):
        return "".join(parts[2:3])
    rest = [part for part in parts if part not in _PCI_AND_SUCH]
    return rest[-1] if rest and not rest[-1].startswith("device[") else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in (value if isinstance(value, list) else []) if isinstance(one, dict)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
