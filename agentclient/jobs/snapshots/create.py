"""What internal and external snapshots have in common: the request, the checks, the record."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from agentclient.jobs.block import BlockLayer, QmpRefused
from agentclient.jobs.context import JobContext
from agentclient.jobs.disk_port import DiskPort
from agentclient.jobs.disks import check_commands, image_path
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.job import CopyJob
from agentclient.jobs.request import CopyRequest
from agentclient.jobs.snapshots.finding import find_snapshots
from agentclient.jobs.snapshots.names import checked_name, revert_steps
from agentclient.jobs.snapshots.record import Record
from agentclient.model.disk_snapshot import SnapshotDisk, SnapshotKind
from agentclient.model.errors import BadInput
from agentclient.model.job import JobKind, JobOutcome, JobRefusal, JobResult
from agentclient.model.json_contract import outcome_object
from agentclient.model.next_command import copy_command
from agentclient.model.states import Level
from agentclient.model.vm import Vm
from agentclient.protocol.qmp_block import Disk

BEGUN: Final = "it is being taken"
# QEMU may be stopped, or wait for a storage; its answer says whether the snapshot was taken.
FOUND_OUT_WITHIN_S: Final = 60.0
AGAIN_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest(CopyRequest):
    """What an operator asks of a snapshot.

    Attributes:
        name: its name, which no other snapshot of the VM has.
        external: the disks' images stay as they are, and overlays take what is written since.
        folder: where the overlays go; absolute; None for the folders of the images.
    """

    name: str
    external: bool = False
    folder: Path | None = None

    def again(self, vm: Vm, limit: int) -> str | None:  # noqa: ARG002 - it copies nothing
        """Return the command that asks for the same once more."""
        words = [self.name]
        words += ["--external"] if self.external else []
        words += ["--to", str(self.folder)] if self.folder is not None else []
        return copy_command([vm], ["snapshot", "create"], [*words, *self.options()])

    def check(self) -> None:
        """Check what can be checked without the VM.

        Raises:
            BadInput: it can't be used.
        """
        checked_name(self.name)
        if self.folder is not None and not self.external:
            raise BadInput("an internal snapshot is inside of the disk's image: it has no folder")


class SnapshotJob(CopyJob):
    """One snapshot of one VM.

    Args:
        context: its collaborators.
        request: the name, the disks, the freeze.

    Attributes:
        how: where the snapshot is.
        needed: the commands of QEMU's that it needs.
    """

    kind = JobKind.SNAPSHOT
    how: SnapshotKind
    needed: ClassVar[tuple[str, ...]]

    def __init__(self, context: JobContext, request: SnapshotRequest) -> None:
        request.check()
        super().__init__(context, request)
        self.wanted = request
        self.block: BlockLayer | None = None
        # QEMU may have taken it, or have begun to.
        self.sent = False

    def prepare(self) -> None:
        """Check the disks and the name."""
        self.block = block = self.context.block()
        check_commands(block, "transaction", *self.needed)
        self.choose(block, self.request.disks)
        process = self.context.access.process
        taken = find_snapshots(self.vm.id, self._found, (), process)
        if any(one.name == self.wanted.name for one in taken):
            raise JobRefused(
                JobRefusal.NAME,
                f"the VM has a snapshot {self.wanted.name} already",
                "choose another name, or delete that one: frostwatch snapshot delete "
                f"{self.vm.id} {self.wanted.name}",
            )

    def transaction(self, actions: list[dict[str, object]]) -> None:
        """Take the snapshot of all disks at one moment.

        Raises:
            QmpRefused: nothing has taken effect.
            JobFailed: QEMU does not answer; `sent` says that it may take effect.
        """
        assert self.block is not None, "it was prepared"
        self.sent = True
        try:
            self.block.transaction(actions, self.window.left_s)
        except QmpRefused:
            self.sent = False
            raise

    def follow(self) -> None:
        """Do nothing: a snapshot is complete when it is taken."""

    def finish(self) -> list[str]:
        """Keep what is known of the snapshot, and tell how to go back to it."""
        record = self.record(complete=True)
        left = self.keep(record)
        steps = "; ".join(revert_steps(self.how, self.wanted.name, record.disks))
        self.context.reporter.note(Level.INFO, f"to go back to it, with the VM off: {steps}")
        return left

    def facts(self, outcome: JobOutcome) -> dict[str, object]:
        """Return what the journal keeps: all that is known of a snapshot that was taken."""
        facts = super().facts(outcome)
        if outcome.result is not JobResult.COMPLETE:
            return facts
        return {**facts, **self.record(complete=True).facts(self.vm)}

    @abstractmethod
    def keep(self, record: Record) -> list[str]:
        """Write what is known of the snapshot beside it; return what failed, as clauses."""

    def record(self, *, complete: bool) -> Record:
        """Return what is known of the snapshot now."""
        outcome = self.window.outcome
        return Record(
            name=self.wanted.name,
            kind=self.how,
            disks=self.parts(),
            began=self.started.at if self.started is not None else self.context.wall(),
            taken=self.taken.at if complete and self.taken is not None else None,
            consistency=self.window.consistency if complete else None,
            reason=self.window.why if complete else BEGUN,
            window=outcome_object(outcome) if outcome is not None and complete else None,
        )

    def parts(self) -> tuple[SnapshotDisk, ...]:
        """Return the disks that it is taken of, and their images."""
        process = self.context.access.process
        return tuple(
            SnapshotDisk(one.name, str(image_path(one, process) or one.file)) for one in self.chosen
        )

    def ask_again(self) -> tuple[Disk, ...] | None:
        """Return the disks, as soon as QEMU answers; None if it does not, or has ended."""
        assert self.block is not None, "it was prepared"
        return disks_again(self.block, self.context)


def disks_again(port: DiskPort, context: JobContext) -> tuple[Disk, ...] | None:
    """Return the disks once that is answered; None if it is not for a minute, or the VM ended."""
    deadline = time.monotonic() + FOUND_OUT_WITHIN_S
    while time.monotonic() < deadline:
        try:
            return port.disks()
        except JobFailed:
            if context.access.is_gone():
                return None
        time.sleep(AGAIN_S)
    return None
