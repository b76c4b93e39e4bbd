"""A simulated guest's block layer, pure: disks, nodes and jobs, as its monitor tells of them.

No byte is copied: the files that take a copy are made by frostwatch, and stay empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentclient.backends.drill.block_disks import CD_DRIVE, DrillDisk, query_block
from agentclient.backends.drill.block_jobs import DrillJob
from agentclient.backends.drill.copy_troubles import (
    CANCELLED,
    DATA_BYTES,
    OTHERS_RATE,
    ROOT_BYTES,
    CopyTrouble,
)
from agentclient.model.vm import Process
from agentclient.protocol.job_names import JobId

COMMANDS: Final = frozenset(
    {
        "query-block",
        "query-named-block-nodes",
        "query-jobs",
        "query-block-jobs",
        "blockdev-add",
        "blockdev-create",
        "blockdev-del",
        "blockdev-mirror",
        "blockdev-snapshot-delete-internal-sync",
        "block-dirty-bitmap-add",
        "block-dirty-bitmap-remove",
        "block-job-cancel",
        "block-job-set-speed",
        "job-cancel",
        "job-complete",
        "job-dismiss",
        "object-add",
        "qom-set",
        "transaction",
    }
)
# A QEMU that has these actions of a transaction has commands of the same names.
ACTIONS: Final = frozenset(
    {"blockdev-backup", "blockdev-snapshot", "blockdev-snapshot-internal-sync"}
)
OBJECTS: Final = "/objects"
_LIMITS: Final = {"thread-pool-min": 0, "thread-pool-max": 64}
_QCOW2: Final = "qcow2"
# No system has a process of this number, so that it is proven to have ended.
_KILLED: Final = JobId("backup", Process(2**22 + 1, 1), "drilled0")


class BlockError(Exception):
    """The monitor's reply is an error.

    Args:
        desc: QEMU's words.
    """


class DrillBlock:
    """The block layer of one guest; all times are seconds of the guests' clock.

    Args:
        name: the guest's name.
        devices: the guest's names for its disks, such as ``vda``, the system's first.
        trouble: what happens to its copies.
    """

    __slots__ = ("_below", "_trouble", "disks", "jobs", "nodes", "objects")

    def __init__(self, name: str, devices: tuple[str, ...], trouble: CopyTrouble) -> None:
        self._trouble = trouble
        self.disks = [
            DrillDisk(
                f"drive-virtio{number}",
                f"#block{number}01",
                f"#block{number}01",
                f"/drill/{name}-{device}.{'raw' if self._is_raw(number) else _QCOW2}",
                "raw" if self._is_raw(number) else _QCOW2,
                DATA_BYTES if number else ROOT_BYTES,
            )
            for number, device in enumerate(devices)
        ]
        self.nodes: dict[str, tuple[str, str]] = {}  # their formats and files
        self._below: dict[str, str] = {}  # the node that each of them reads
        self.jobs: dict[str, DrillJob] = {}
        # The main loop, once it is an object, and its limits, by its path.
        self.objects: dict[str, dict[str, int]] = {}
        if trouble is CopyTrouble.OTHERS:
            self._add_job("drive-virtio0", "backup", self.disks[0], 0.0, rate=OTHERS_RATE)
            self.jobs["drive-virtio0"].again = True
        if trouble is CopyTrouble.LEFT:
            self._leave(name)

    def run(self, now: float, command: str, arguments: Mapping[str, Any]) -> object:
        """Run one of `COMMANDS`, and return its value.

        Raises:
            BlockError: QEMU would refuse it.
        """
        self._advance(now)
        match command:
            case "query-block":
                return [query_block(disk) for disk in self.disks] + [CD_DRIVE]
            case "query-named-block-nodes":
                return self._named_nodes()
            case "query-jobs":
                return [job.to_query_jobs(now) for job in self.jobs.values()]
            case "query-block-jobs":
                found = [job for job in self.jobs.values() if job.type != "create"]
                return [job.to_query_block_jobs(now) for job in found]
            case "transaction":
                self._transaction(now, arguments)
            case "blockdev-mirror":
                self._copy(now, "mirror", arguments, check=True)
                self._copy(now, "mirror", arguments)
            case "job-dismiss":
                self._job(str(arguments.get("id")))
                del self.jobs[str(arguments.get("id"))]
            case "job-complete":
                self._complete(now, self._job(str(arguments.get("id"))))
            case "job-cancel":
                self._job(str(arguments.get("id"))).cancel(now, force=True)
            case "block-job-cancel":
                force = arguments.get("force") is True
                self._job(str(arguments.get("device"))).cancel(now, force=force)
            case "block-job-set-speed":
                job = self._job(str(arguments.get("device")))
                job.set_limit(now, int(arguments.get("speed", 0)))
            case _:
                self._change(now, command, arguments)
        return {}

    def _change(self, now: float, command: str, arguments: Mapping[str, Any]) -> None:
        """Change nodes, bitmaps, snapshots or objects."""
        match command:
            case "blockdev-add":
                self._add_node(arguments)
            case "blockdev-create":
                self._add_job(str(arguments.get("job-id")), "create", None, now)
            case "blockdev-del":
                self._delete_node(str(arguments.get("node-name")))
            case "object-add":
                self.objects[f"{OBJECTS}/{arguments.get('id')}"] = dict(_LIMITS)
            case "qom-set" if str(arguments.get("path")) in self.objects:
                limits = self.objects[str(arguments.get("path"))]
                limits[str(arguments.get("property"))] = int(arguments.get("value") or 0)
            case "qom-set":
                self._use_node(arguments)
            case "block-dirty-bitmap-add":
                self._bitmap_add(arguments, check=True)
                self._bitmap_add(arguments)
            case "block-dirty-bitmap-remove":
                disk = self._disk(arguments.get("node"))
                if disk.bitmaps.pop(str(arguments.get("name")), None) is None:
                    raise BlockError(f"Dirty bitmap '{arguments.get('name')}' not found")
            case "blockdev-snapshot-delete-internal-sync":
                self._delete_snapshot(arguments)

    # -- transactions -----------------------------------------------------------------------

    def _transaction(self, now: float, arguments: Mapping[str, Any]) -> None:
        """Let all actions take effect, or none.

        As in test_fact_one_disk_that_can_not_leaves_no_snapshot_on_the_other.
        """
        actions = [
            (str(one.get("type")), one.get("data") or {}) for one in arguments.get("actions", ())
        ]
        for check in (True, False):
            for kind, data in actions:
                self._act(now, kind, data, check=check)
        properties = arguments.get("properties") or {}
        if properties.get("completion-mode") == "grouped":
            group = tuple(str(data.get("job-id")) for _, data in actions)
            for name in group:
                self._job(name).group = group

    def _act(self, now: float, kind: str, data: Mapping[str, Any], *, check: bool) -> None:
        match kind:
            case "blockdev-backup":
                self._copy(now, "backup", data, check=check)
            case "block-dirty-bitmap-add":
                self._bitmap_add(data, check=check)
            case "blockdev-snapshot-internal-sync":
                self._snapshot_inside(data, check=check)
            case "blockdev-snapshot":
                self._snapshot_outside(data, check=check)
            case _:
                raise BlockError(f"Invalid parameter '{kind}'")

    def _copy(self, now: float, kind: str, data: Mapping[str, Any], *, check: bool = False) -> None:
        disk = self._disk(data.get("device"))
        if check:
            self._refuse_busy(disk)
            if data.get("target") not in self.nodes:
                raise BlockError(f"Cannot find device='' nor node-name='{data.get('target')}'")
            return
        job = self._add_job(str(data.get("job-id")), kind, disk, now)
        job.limit = int(data.get("speed") or 0)
        if self._trouble is CopyTrouble.STALLS:
            job.stops_at = disk.size // 3
        if self._trouble is CopyTrouble.FULL and disk is self.disks[-1]:
            job.fails_at = disk.size // 2

    def _bitmap_add(self, data: Mapping[str, Any], *, check: bool = False) -> None:
        disk = self._disk(data.get("node"))
        persistent = data.get("persistent") is True
        if not check:
            disk.bitmaps[str(data.get("name"))] = persistent
        elif str(data.get("name")) in disk.bitmaps:
            raise BlockError(f"Bitmap already exists: {data.get('name')}")
        elif persistent and disk.format != _QCOW2:
            raise BlockError(
                f"Driver '{disk.format}' does not support persistent bitmaps for node '{disk.node}'"
            )

    def _snapshot_inside(self, data: Mapping[str, Any], *, check: bool) -> None:
        disk, name = self._disk(data.get("device")), str(data.get("name"))
        if not check:
            disk.snapshots.append(name)
            return
        self._refuse_busy(disk)
        if disk.format != _QCOW2:
            raise BlockError(
                f"Block format '{disk.format}' used by device '{disk.device}' does not support "
                "internal snapshots"
            )
        if name in disk.snapshots:
            raise BlockError(f"Snapshot with name '{name}' already exists on '{disk.device}'")

    def _snapshot_outside(self, data: Mapping[str, Any], *, check: bool) -> None:
        disk, overlay = self._disk(data.get("node")), str(data.get("overlay"))
        if check:
            self._refuse_busy(disk)
            if overlay not in self.nodes:
                raise BlockError(f"Cannot find device='' nor node-name='{overlay}'")
            return
        disk.behind.insert(0, (disk.file, disk.format))
        disk.format, disk.file = self.nodes[overlay]
        disk.node = disk.base = overlay

    def _delete_snapshot(self, arguments: Mapping[str, Any]) -> None:
        disk, name = self._disk(arguments.get("device")), str(arguments.get("name"))
        if name not in disk.snapshots:
            raise BlockError(f"Snapshot with id 'null' and name '{name}' does not exist")
        disk.snapshots.remove(name)

    def _refuse_busy(self, disk: DrillDisk) -> None:
        for job in self.jobs.values():
            if job.disk == disk.device and not job.ended:
                raise BlockError(
                    f"Node '{disk.node}' is busy: block device is in use by block job: {job.type}"
                )

    # -- nodes and jobs ---------------------------------------------------------------------

    def _add_node(self, arguments: Mapping[str, Any]) -> None:
        name, below = str(arguments.get("node-name")), arguments.get("file")
        file = str(arguments.get("filename", ""))
        if isinstance(below, str):
            file = self.nodes[below][1] if below in self.nodes else self._disk(below).file
            self._below[name] = below
        self.nodes[name] = (str(arguments.get("driver")), file)

    def _use_node(self, arguments: Mapping[str, Any]) -> None:
        """Have a guest's device use a node: a filter above its disk, or the disk's own."""
        for disk in self.disks:
            if disk.qdev == arguments.get("path"):
                disk.node = str(arguments.get("value"))
                return
        raise BlockError(f"Device '{arguments.get('path')}' not found")

    def _delete_node(self, name: str) -> None:
        if name not in self.nodes:
            raise BlockError(f"Failed to find node with node-name='{name}'")
        if any(disk.node == name for disk in self.disks):
            raise BlockError(f"Node {name} is in use")
        if name in self._below.values():
            raise BlockError(f"Block device {name} is in use")
        del self.nodes[name]
        self._below.pop(name, None)

    def _named_nodes(self) -> list[dict[str, Any]]:
        own = {disk.node: (disk.format, disk.file) for disk in self.disks}
        return [
            {"node-name": node, "drv": drv, "file": file, "ro": False}
            for node, (drv, file) in {**own, **self.nodes}.items()
        ]

    def _add_job(
        self, name: str, kind: str, disk: DrillDisk | None, now: float, **more: Any
    ) -> DrillJob:
        if name in self.jobs:
            raise BlockError(f"Job ID '{name}' already in use")
        device, size = (disk.device, disk.size) if disk is not None else ("", 0)
        job = self.jobs[name] = DrillJob(name, kind, device, size, now, **more)
        return job

    def _job(self, name: str) -> DrillJob:
        if name not in self.jobs:
            raise BlockError("Job not found")
        return self.jobs[name]

    def _complete(self, now: float, job: DrillJob) -> None:
        if not job.is_ready(now):
            raise BlockError(
                f"Job '{job.id}' in state '{job.status(now)}' cannot accept command verb 'complete'"
            )
        job.end(now)

    def _disk(self, ref: object) -> DrillDisk:
        for disk in self.disks:
            if ref in (disk.device, disk.node, disk.base):
                return disk
        if ref in self._below:  # a filter above it, or what that gives access to
            return self._disk(self._below[str(ref)])
        raise BlockError(f"Cannot find device='{ref}' nor node-name='{ref}'")

    def _is_raw(self, number: int) -> bool:
        return self._trouble is CopyTrouble.RAW and number > 0

    def _leave(self, name: str) -> None:
        """Have a job and nodes as a frostwatch that was killed leaves them."""
        disk = self.disks[-1]
        target = _KILLED.node("t0")
        # No path of this host, on which nobody is to look for the file.
        self.nodes[f"{target}-f"] = ("file", f"drill/left-{name}.qcow2")
        self.nodes[target] = (_QCOW2, f"drill/left-{name}.qcow2")
        self._below[target] = f"{target}-f"
        stands_at = disk.size * 2 // 5
        self._add_job(_KILLED.job(0), "backup", disk, 0.0, base=stands_at, stops_at=stands_at)

    def _advance(self, now: float) -> None:
        """End the jobs that have come to their ends; one that fails takes its group with it."""
        for job in list(self.jobs.values()):
            if job.advance(now):
                for name in job.group:
                    if name in self.jobs:
                        self.jobs[name].end(now, CANCELLED)
