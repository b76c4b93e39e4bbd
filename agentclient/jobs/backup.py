"""A backup: all disks as of one moment, copied to files while the guest goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentclient.jobs.block import BlockLayer, JobName
from agentclient.jobs.cancel import cancel_jobs
from agentclient.jobs.context import JobContext
from agentclient.jobs.disks import check_no_job, choose_disks
from agentclient.jobs.follow import Follower, all_ended
from agentclient.jobs.job import CopyJob
from agentclient.jobs.request import CopyRequest
from agentclient.jobs.targets import Target, Targets, check_space
from agentclient.model.job import DiskCopy, JobKind, JobStage
from agentclient.protocol.qmp_block import Disk, action


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest(CopyRequest):
    """What an operator asks of a backup.

    Attributes:
        folder: where its files go; absolute.
    """

    folder: Path


class BackupJob(CopyJob):
    """One backup of one VM.

    Args:
        context: its collaborators.
        request: the disks, the folder, the freeze.
    """

    kind = JobKind.BACKUP

    def __init__(self, context: JobContext, request: BackupRequest) -> None:
        super().__init__(context, request)
        self._folder = request.folder
        self._name = JobName.new(self.kind)
        self._block: BlockLayer | None = None
        self._targets: Targets | None = None
        self._copies: list[tuple[Disk, Target]] = []
        self._follower: Follower | None = None
        self._begun = False

    def prepare(self) -> None:
        """Choose the disks, and make their targets."""
        self._block = block = self.context.block()
        chosen = choose_disks(block, self.request.disks)
        check_no_job(block)
        check_space(self._folder, sum(one.allocated or one.size for one in chosen))
        self._targets = Targets(block, self._name, self.context.access.process)
        for disk in chosen:
            path = self._folder / f"{_file_name(disk.name)}.qcow2"
            self._copies.append((disk, self._targets.make(path, "qcow2", disk.size)))

    def start(self) -> None:
        """Start the copies of all disks in one transaction: they are of one moment."""
        assert self._block is not None, "it was prepared"
        self._begun = True
        limit = self.context.control.limit
        actions = [
            action(
                "blockdev-backup",
                job_id=self._name.job(number),
                device=disk.ref,
                target=target.node,
                sync="full",
                speed=limit,
                auto_dismiss=False,
            )
            for number, (disk, target) in enumerate(self._copies)
        ]
        self._block.transaction(actions, self.window.left_s, grouped=True)

    def follow(self) -> None:
        """Wait until all disks are copied."""
        assert self._block is not None, "it was prepared"
        jobs = {self._name.job(n): disk.name for n, (disk, _) in enumerate(self._copies)}
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
        """Close the files."""
        assert self._block is not None, "it was prepared"
        assert self._targets is not None, "it was prepared"
        for number in range(len(self._copies)):
            self._block.dismiss(self._name.job(number))
        return self._targets.close()

    def undo(self) -> list[str]:
        """Cancel the jobs, and delete the files."""
        left = []
        if self._block is not None and self._begun:
            left += cancel_jobs(self._block, self._name, gone=self.context.access.is_gone)
        if self._targets is not None:
            left += self._targets.remove()
        return left

    def results(self) -> tuple[DiskCopy, ...]:
        """Return what came of each disk."""
        copied = self._follower.copied if self._follower is not None else {}
        return tuple(
            DiskCopy(
                disk.name, str(target.path), target.format, disk.size, copied.get(disk.name, 0)
            )
            for disk, target in self._copies
        )


def _file_name(name: str) -> str:
    return "".join(one if one.isalnum() or one in "._-" else "_" for one in name) or "disk"
