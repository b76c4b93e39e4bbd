"""The disks of a VM whose manager is in memory: jobs end when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agentclient.access.disk_calls import (
    BACKUP,
    DisksRefused,
    DisksSeen,
    DisksSilent,
    DiskWork,
    KeptSnapshot,
)
from agentclient.model.vm import Process
from agentclient.protocol.qmp_block import Bitmap, BlockJob, BlockJobStatus, Disk, Image

MIB = 1 << 20


@dataclass
class MemoryDisks:
    """See `DiskCalls`.

    Attributes:
        chains: the images of each disk, by its node, from the one that is written to.
        refuses: what each call refuses with, by its name.
        silent: the calls that don't answer.
        finishes: what a backup comes to as soon as it has begun: an error, or empty for none; None
            if it goes on.
        takes_speeds: is cleared while a limit is neither taken nor refused.
    """

    folder: Path
    chains: dict[str, list[str]] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    finishes: str | None = ""
    marks: set[str] = field(default_factory=set)
    works: dict[str, DiskWork] = field(default_factory=dict)
    running: dict[str, DiskWork] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    records: list[str] = field(default_factory=list)
    kept: dict[str, KeptSnapshot] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    speeds: list[int] = field(default_factory=list)
    since: str | None = None
    others: tuple[BlockJob, ...] = ()
    state: str = "running"
    hangs: threading.Event = field(default_factory=threading.Event)
    takes_speeds: threading.Event = field(default_factory=threading.Event)

    manager = "libvirt"
    process: Process | None = None

    def __post_init__(self) -> None:
        for node in ("vda", "vdb"):
            path = self.folder / f"{node}.qcow2"
            path.write_bytes(b"its image")
            self.chains[node] = [str(path)]
        self.takes_speeds.set()

    def _ask(self, name: str) -> None:
        self.asked.append(name)
        if name in self.silent:
            raise DisksSilent("it has gone")
        if name in self.refuses:
            raise DisksRefused(self.refuses[name])

    def disks(self) -> tuple[Disk, ...]:
        self._ask("disks")
        return tuple(
            Disk(
                name=node,
                device="",
                node=node,
                qdev="",
                format="qcow2",
                file=files[0],
                size=MIB,
                allocated=MIB,
                read_only=False,
                removable=False,
                empty=False,
                depth=len(files) - 1,
                bitmaps=tuple(Bitmap(one, True, True, 0, 100) for one in self.records),
                chain=tuple(Image(one, "qcow2", MIB) for one in files),
            )
            for node, files in self.chains.items()
        )

    def look(self) -> DisksSeen:
        self._ask("look")
        jobs = [*self.others]
        for work in self.works.values():
            if work.job in self.running:
                ready = work.type != BACKUP
                status = BlockJobStatus.READY if ready else BlockJobStatus.RUNNING
                jobs.append(BlockJob(work.job, work.type, status, 1, 2, ready=ready))
            elif work.job in self.ended:
                error = self.ended[work.job] or None
                status = BlockJobStatus.CONCLUDED
                jobs.append(BlockJob(work.job, work.type, status, 2, 2, error=error))
        files = {f"{self._stem}-t{n}-f": one.file for n, one in enumerate(self.works.values())}
        return DisksSeen(self.disks(), tuple(jobs), dict.fromkeys(self.marks, "") | files)

    @property
    def _stem(self) -> str:
        return next((one.rpartition("-")[0] for one in sorted(self.marks)), "fw-1-1-gone")

    def passed_through(self, node: str) -> str | None:
        return None

    def status(self) -> str:
        self._ask("status")
        return self.state

    def version(self) -> str | None:
        return "7.2.22 (libvirt 9.0.0)"

    def mark(self, node: str) -> None:
        self._ask("mark")
        self.marks.add(node)

    def unmark(self, node: str) -> None:
        self._ask("unmark")
        self.marks.discard(node)

    def plan(self, works: Sequence[DiskWork]) -> None:
        self._ask("plan")
        self.works = {one.job: one for one in works}

    def forget(self, job_id: str) -> None:
        self._ask("forget")
        self.works.pop(job_id, None)

    def forget_copy(self, node: str) -> None:
        self.works.clear()
        self.marks.clear()

    def set_speed(self, job_id: str, limit: int) -> None:
        self.speeds.append(limit)
        self.takes_speeds.wait(60.0)
        self._ask("set_speed")

    def end(self, job_id: str) -> None:
        self._ask("end")
        work = self.running[job_id]
        for job in list(self.running) if work.type == BACKUP else [job_id]:
            del self.running[job]
            if self.works[job].began:
                self.ended[job] = "libvirt has ended it"

    def resume(self) -> None:
        self._ask("resume")
        self.state = "running"

    def begin_backup(
        self, works: Sequence[DiskWork], *, since: str | None, record: str | None
    ) -> None:
        self._ask("begin_backup")
        if "hang" in self.refuses:
            self.hangs.wait(60.0)
        self.since = since
        self.records += [record] if record is not None else []
        for work in works:
            if self.finishes is None:
                self.running[work.job] = work
            else:
                self.ended[work.job] = self.finishes

    def abort_backup(self, works: Sequence[DiskWork]) -> None:
        self._ask("abort_backup")
        for one in works:
            self.running.pop(one.job, None)

    def remove_record(self, name: str) -> None:
        self._ask("remove_record")
        self.records = [one for one in self.records if one != name]

    def snapshots(self) -> tuple[KeptSnapshot, ...]:
        self._ask("snapshots")
        return tuple(self.kept.values())

    def take_snapshot(self, name: str, overlays: Mapping[str, str], text: str) -> None:
        self._ask("take_snapshot")
        images = {node: self.chains[node][0] for node in overlays}
        children = bool(self.kept)
        self.kept = {key: one._replace(children=children) for key, one in self.kept.items()}
        self.kept[name] = KeptSnapshot(
            name, 1_700_000_000, False, dict(overlays), images, (), False
        )
        self.texts[name] = text
        for node, file in overlays.items():
            self.chains[node].insert(0, file)

    def describe_snapshot(self, name: str, text: str) -> None:
        self._ask("describe_snapshot")
        self.texts[name] = text

    def forget_snapshot(self, name: str) -> None:
        self._ask("forget_snapshot")
        self.kept.pop(name, None)

    def fold(self, work: DiskWork, limit: int) -> None:
        self._ask("fold")
        self.running[work.job] = work

    def change_over(self, work: DiskWork) -> None:
        self._ask("change_over")
        self.chains[work.disk].remove(work.file)
        del self.running[work.job]
        self.ended[work.job] = ""
