"""A backup: all disks as of one moment, copied to files while the guest goes on."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from agentclient.jobs.archive import Begun, open_copy, safe_name, write_manifest
from agentclient.jobs.backup_place import BackupPlace
from agentclient.jobs.block import BlockLayer, JobName
from agentclient.jobs.cancel import cancel_jobs
from agentclient.jobs.chain import (
    Link,
    bitmap_name,
    can_record,
    find_link,
    ours,
    remove_bitmaps,
)
from agentclient.jobs.checksum import Checksum
from agentclient.jobs.context import JobContext
from agentclient.jobs.disks import check_no_job, choose_disks
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.follow import Follower, all_ended
from agentclient.jobs.job import CopyJob
from agentclient.jobs.manifest import FULL, INCREMENTAL, DiskRecord, Manifest, Parent
from agentclient.jobs.patience import patiently
from agentclient.jobs.request import CopyRequest
from agentclient.jobs.targets import Target, Targets
from agentclient.model.job import (
    DiskCopy,
    DiskProgress,
    JobKind,
    JobProgress,
    JobStage,
)
from agentclient.model.json_contract import job_times_object, outcome_object
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk, action

# What a qcow2 has beside its data, for each disk.
_OVERHEAD: Final = 1 << 20
# Of the ten times a second that a checksum tells how far it is.
_TELL_EACH: Final = 10

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest(CopyRequest):
    """What an operator asks of a backup.

    Attributes:
        folder: where backups are; each has a folder of its own in there, VM by VM. Absolute.
        incremental: copy only what was written since the last backup in there.
        compress: have QEMU compress what it writes.
        record: have the disks record what is written from now on, for an incremental one.
    """

    folder: Path
    incremental: bool = False
    compress: bool = False
    record: bool = True


class _Copy(NamedTuple):
    """One disk, and the file that takes it."""

    disk: Disk
    target: Target
    bitmap: str | None


class BackupJob(CopyJob):
    """One backup of one VM.

    Args:
        context: its collaborators.
        request: the disks, the folder, the freeze.

    Attributes:
        folder: the folder of its files; None before it is made.
    """

    kind = JobKind.BACKUP

    def __init__(self, context: JobContext, request: BackupRequest) -> None:
        super().__init__(context, request)
        self._asked_for = request
        self._name = JobName.new(self.kind)
        self._id = secrets.token_hex(4)
        self._chain = self._id
        self._link: Link | None = None
        self._chains: frozenset[str] = frozenset()
        self.folder: Path | None = None
        self._home: BackupPlace | None = None
        self._block: BlockLayer | None = None
        self._targets: Targets | None = None
        self._copies: list[_Copy] = []
        self._checksums: dict[str, str] = {}
        self._follower: Follower | None = None
        self._begun = False
        self._complete = False
        self._uuid: str | None = None

    def prepare(self) -> None:
        """Choose the disks, find what to build on, and make the folder and its files."""
        self._block = block = self.context.block()
        chosen = choose_disks(block, self.request.disks)
        check_no_job(block)
        self._uuid = self.vm.uuid or block.uuid()
        place = self._home = BackupPlace(self.context, self._asked_for.folder, self._uuid)
        backups = place.look()
        self._chains = place.chains
        if self._asked_for.incremental:
            self._link = find_link(backups, chosen, self._uuid)
            self._chain = self._link.manifest.chain
        needed = sum(self._estimate(disk) for disk in chosen)
        self.folder = place.make(needed, Begun(self._id, self._chain))
        self._targets = Targets(block, self._name, self.context.access.process)
        taken: frozenset[str] = frozenset()
        for disk in chosen:
            name = safe_name(disk.name, taken)
            taken |= {name}
            bitmap = self._recorder(block, disk)
            self._copies.append(_Copy(disk, self._make(disk, f"{name}.qcow2"), bitmap))

    def start(self) -> None:
        """Start the copies of all disks in one transaction: they are of one moment."""
        assert self._block is not None, "it was prepared"
        self._begun = True
        actions = [
            action("block-dirty-bitmap-add", node=one.disk.ref, name=one.bitmap, persistent=True)
            for one in self._copies
            if one.bitmap is not None
        ]
        # A transaction with a bitmap can't have its jobs completed together: then `follow` ends
        # the others if one fails.
        grouped = not actions
        actions += [self._copy_action(number, one) for number, one in enumerate(self._copies)]
        self._block.transaction(actions, self.window.left_s, grouped=grouped)

    def follow(self) -> None:
        """Wait until all disks are copied."""
        assert self._block is not None, "it was prepared"
        jobs = {self._name.job(number): one.disk.name for number, one in enumerate(self._copies)}
        self._follower = Follower(
            self.context,
            self._block,
            self.kind,
            jobs,
            self.began_at,
            self.window.frozen_at,
            self.window.thawed_at,
            self.context.control.limit,
        )
        self._follower.follow(
            JobStage.COPYING, "copying what the disks held in the window", all_ended
        )

    def finish(self) -> list[str]:
        """Close the files, take their checksums, and write the manifest."""
        assert self._block is not None, "it was prepared"
        assert self._targets is not None, "it was prepared"
        assert self.folder is not None, "it was prepared"
        for number in range(len(self._copies)):
            self._block.dismiss(self._name.job(number))
        unclosed = self._targets.close()
        if unclosed:  # what it holds of them in memory may be missing in the files
            raise JobFailed(f"QEMU did not close the copy: {unclosed[0]}")
        records = tuple(self._record(one) for one in self._copies)
        manifest = self._manifest(records)
        self._patiently("writing the manifest", partial(_write, self.folder, manifest))
        self._complete = True
        return self._clean()

    def undo(self) -> list[str]:
        """Cancel the jobs, and delete the files."""
        if self._complete:
            return []
        left = []
        if self._block is not None and self._begun:
            left += cancel_jobs(self._block, self._name, gone=self.context.access.is_gone)
            left += self._forget(frozenset({bitmap_name(self._chain, self._id)}))
        if self._targets is not None:
            left += self._targets.remove()
        if self._home is not None:
            left += self._home.remove()
        return left

    def results(self) -> tuple[DiskCopy, ...]:
        """Return what came of each disk."""
        copied = self._follower.copied if self._follower is not None else {}
        return tuple(
            DiskCopy(
                one.disk.name,
                str(one.target.path),
                one.target.format,
                one.disk.size,
                copied.get(one.disk.name, 0),
                checksum=self._checksums.get(one.disk.name),
            )
            for one in self._copies
        )

    # -- before the freeze ---------------------------------------------------------------

    def _estimate(self, disk: Disk) -> int:
        """Return how many bytes the copy of a disk takes at the most, as far as is known now."""
        if self._link is not None:
            return self._link.dirty(disk) + _OVERHEAD
        images = [one.allocated for one in disk.chain] or [disk.allocated]
        known = [one for one in images if one is not None]
        return min(disk.size, sum(known) if len(known) == len(images) else disk.size) + _OVERHEAD

    def _recorder(self, block: BlockLayer, disk: Disk) -> str | None:
        """Return the name of the bitmap that a disk is to record in; None if it can't."""
        if not self._asked_for.record:
            return None
        name = bitmap_name(self._chain, self._id)
        why_not = can_record(block, disk, name)
        if why_not is None:
            return name
        text = f"no incremental backup can be built on this one: the disk {disk.name} can't record"
        self.context.reporter.note(Level.WARNING, f"{text} what is written to it ({why_not})")
        return None

    def _make(self, disk: Disk, name: str) -> Target:
        assert self._targets is not None, "it was made"
        assert self.folder is not None, "it was made"
        path = self.folder / name
        if self._link is None:
            return self._targets.make(path, "qcow2", disk.size)
        backing = self._link.backing(disk)
        return self._targets.make(
            path, "qcow2", disk.size, backing_file=backing, backing_fmt="qcow2"
        )

    def _copy_action(self, number: int, one: _Copy) -> dict[str, object]:
        # The bitmap of the last backup is left as it is until this one is complete.
        what: dict[str, object] = {"sync": "full"}
        if self._link is not None:
            bitmap = self._link.bitmap(one.disk)
            what = {"sync": "bitmap", "bitmap": bitmap, "bitmap_mode": "never"}
        return action(
            "blockdev-backup",
            job_id=self._name.job(number),
            device=one.disk.ref,
            target=one.target.node,
            speed=self.context.control.limit,
            auto_dismiss=False,
            compress=True if self._asked_for.compress else None,
            **what,
        )

    # -- after the copy ------------------------------------------------------------------

    def _record(self, one: _Copy) -> DiskRecord:
        """Make one file durable, and take its checksum."""
        shown = printable(one.target.path, 300)
        opening = partial(open_copy, one.target.path, one.target.inode)
        try:
            handle, size = self._patiently("writing the copy out", opening)
        except OSError as error:
            raise JobFailed(f"{shown} can't be read again: {error.strerror}") from error
        name = one.disk.name
        ticks = count()

        def tick(done: int) -> None:
            self.context.control.check()
            progress = DiskProgress(name, done, size)
            self._tell_checksum(progress, listeners=next(ticks) % _TELL_EACH == 0)

        digest = self._checksums[name] = Checksum(handle).run(tick)
        copied = self._follower.copied.get(name, 0) if self._follower is not None else 0
        return DiskRecord(
            name=name,
            node=one.disk.node,
            source_format=one.disk.format,
            size=one.disk.size,
            file=one.target.path.name,
            format=one.target.format,
            bytes=size,
            sha256=digest,
            bitmap=one.bitmap,
            copied=copied,
        )

    def _tell_checksum(self, disk: DiskProgress, *, listeners: bool) -> None:
        text = f"taking the checksum of the copy of {printable(disk.disk, 60)}"
        progress = JobProgress(
            kind=self.kind,
            stage=JobStage.FINISHING,
            text=text,
            began_at=self.began_at,
            disks=(disk,),
            frozen_at=self.window.frozen_at,
            thawed_at=self.window.thawed_at,
        )
        self.context.reporter.progress(progress, listeners=listeners)

    def _manifest(self, disks: tuple[DiskRecord, ...]) -> Manifest:
        window = self.window
        link = self._link
        parent = None
        if link is not None:
            parent = Parent(link.manifest.id, link.backup.folder.name, link.backup.sha256)
        return Manifest(
            id=self._id,
            chain=self._chain,
            mode=FULL if parent is None else INCREMENTAL,
            parent=parent,
            vm={"id": str(self.vm.id), "name": self.vm.name, "uuid": self._uuid},
            host=socket.gethostname(),
            versions=self._versions(),
            consistency=window.consistency,
            why=window.why,
            policy=self.request.policy.value,
            paused=window.paused,
            compressed=self._asked_for.compress,
            times=job_times_object(self.times()),
            window=outcome_object(window.outcome) if window.outcome is not None else None,
            disks=disks,
        )

    def _versions(self) -> dict[str, str | None]:
        assert self._block is not None, "it was prepared"
        return {
            "frostwatch": _own_version(),
            "qemu": self._block.version(),
            "agent": self.context.agent_version,
        }

    def _clean(self) -> list[str]:
        """Remove the bitmaps of the backups that this one replaces, as far as they are ours."""
        assert self._block is not None, "it was prepared"
        if not self._asked_for.record:  # then it replaces none
            return []
        try:
            disks = self._block.disks()
        except JobFailed as error:
            return [f"the bitmaps of earlier backups ({error})"]
        keep = bitmap_name(self._chain, self._id)
        return remove_bitmaps(self._block, disks, ours(disks, self._chains | {self._chain}, keep))

    def _forget(self, names: frozenset[str]) -> list[str]:
        assert self._block is not None, "it was prepared"
        if self.context.access.is_gone():
            return []
        try:
            return remove_bitmaps(self._block, self._block.disks(), names)
        except JobFailed as error:
            return [f"the bitmaps {', '.join(names)} ({error})"]

    def _patiently(self, what: str, function: Callable[[], T]) -> T:
        return patiently(self.context.control, what, function)


def _write(folder: Path, manifest: Manifest) -> None:
    try:
        write_manifest(folder, manifest)
    except OSError as error:
        raise JobFailed(f"the manifest can't be written: {error.strerror}") from error


def _own_version() -> str | None:
    try:
        return metadata.version("frostwatch")
    except ModuleNotFoundError:  # run from its sources, without an installation
        return None
