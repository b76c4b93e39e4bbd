"""All copies of this process: which run, which wait, on which VM."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from agentclient.access.access_pool import AccessPool
from agentclient.config.defaults import DEFAULTS
from agentclient.fleet.store import Fleet
from agentclient.jobs.backup import BackupJob
from agentclient.jobs.block import JobName
from agentclient.jobs.called.backup import CalledBackup
from agentclient.jobs.called.clearing import clear_called
from agentclient.jobs.called.deletion import CalledDeletion
from agentclient.jobs.called.listing import list_kept
from agentclient.jobs.called.snapshot import CalledSnapshot
from agentclient.jobs.called_port import CALL_S, CalledPort
from agentclient.jobs.chained_backup import ChainedBackup
from agentclient.jobs.claim import Claim
from agentclient.jobs.command.job import CommandJob
from agentclient.jobs.command.member import CommandMember
from agentclient.jobs.command.request import CommandRequest
from agentclient.jobs.context import JobContext
from agentclient.jobs.control import JobControl
from agentclient.jobs.errors import JobRefused, a_bug
from agentclient.jobs.job import CopyJob
from agentclient.jobs.late_end import LateEnds
from agentclient.jobs.left import Cleared, LeftCopy, check_left, clear, find_copies
from agentclient.jobs.mirror import MirrorJob, MirrorRequest
from agentclient.jobs.reporter import JobReporter
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.snapshots.create import SnapshotJob, SnapshotRequest
from agentclient.jobs.snapshots.deletion import DeletionRequest, SnapshotDeletion
from agentclient.jobs.snapshots.external import ExternalSnapshot
from agentclient.jobs.snapshots.finding import find_snapshots
from agentclient.jobs.snapshots.internal import InternalSnapshot
from agentclient.jobs.snapshots.record import records_of
from agentclient.jobs.survey import CopySurvey, FolderSurvey, survey_copies, survey_folder
from agentclient.journal.writer import Journal
from agentclient.model.disk_snapshot import SnapshotFound
from agentclient.model.errors import NO_THREAD, why_no_thread
from agentclient.model.events import OnEvent
from agentclient.model.job import Consistency, JobKind, JobOutcome, JobRefusal, JobResult
from agentclient.model.next_command import clear_command
from agentclient.model.outcome import GroupOutcome
from agentclient.model.states import Level
from agentclient.model.vm import Vm, VmId
from agentclient.operations.context import READ_ONLY
from agentclient.operations.manager import OperationManager
from agentclient.operations.threads import WorkQueue

DEFAULT_JOBS_AT_ONCE: Final = DEFAULTS.jobs_at_once
_CLEARING: Final = "clearing"
_UNTIL_ENDED: Final = "have its storage answer again; it is tried again, and its end is told"

JobT = TypeVar("JobT", bound=CopyJob)
AnyJob = CopyJob | CommandMember


class JobManager:
    """Begins and lists all copies of this process.

    Args:
        fleet: receives progress and outcomes.
        accesses: the accesses to the VMs.
        operations: freezes and thaws the guests.
        read_only: nothing may be done to any VM.
        at_once: how many copies run; further ones wait before anything is begun.
        journal: the record of all windows; None where none is kept.
    """

    def __init__(
        self,
        fleet: Fleet,
        accesses: AccessPool,
        operations: OperationManager,
        read_only: bool = False,
        *,
        at_once: int = DEFAULT_JOBS_AT_ONCE,
        journal: Journal | None = None,
    ) -> None:
        self._fleet = fleet
        self._accesses = accesses
        self._operations = operations
        self._read_only = read_only
        self._journal = journal
        self._lock = threading.Lock()
        self._active: dict[VmId, AnyJob] = {}
        self._late = LateEnds(fleet.wall)
        self._queue = WorkQueue(at_once, "job")

    def backup(
        self, vm: Vm, request: BackupRequest, on_event: OnEvent | None = None, *, limit: int = 0
    ) -> ChainedBackup:
        """Begin a backup, and return at once; see `begin`."""
        made = CalledBackup if self._is_called(vm) else BackupJob
        return self.begin(vm, lambda context: made(context, request), on_event, limit)

    def snapshot(
        self, vm: Vm, request: SnapshotRequest, on_event: OnEvent | None = None
    ) -> SnapshotJob:
        """Begin a snapshot, and return at once; see `begin`.

        Raises:
            BadInput: the request can't be used.
        """
        request.check()
        made: type[SnapshotJob] = ExternalSnapshot if request.external else InternalSnapshot
        if self._is_called(vm):
            made = CalledSnapshot
        return self.begin(vm, lambda context: made(context, request), on_event)

    def delete_snapshot(
        self,
        vm: Vm,
        request: DeletionRequest,
        on_event: OnEvent | None = None,
        *,
        limit: int = 0,
    ) -> SnapshotDeletion:
        """Begin to delete a snapshot, and return at once; see `begin`."""
        made = CalledDeletion if self._is_called(vm) else SnapshotDeletion
        return self.begin(vm, lambda context: made(context, request), on_event, limit)

    def snapshots(self, vm: Vm) -> tuple[SnapshotFound, ...]:
        """Return the snapshots that a VM's disks have, the oldest first; blocking, some seconds.

        Raises:
            JobRefused: the VM has no monitor, or it is not proven to be the VM's.
            JobFailed: the monitor does not answer.
        """
        context = self._context(vm, None, 0)
        port = context.port()
        disks = port.disks()
        recorded = records_of(self._journal, vm)
        if isinstance(port, CalledPort):
            return list_kept(vm, disks, port.within(CALL_S, port.calls.snapshots), recorded)
        return find_snapshots(vm.id, disks, recorded, context.access.process)

    def command(
        self,
        vms: Sequence[Vm],
        request: CommandRequest,
        on_event: OnEvent | None = None,
        on_group: Callable[[GroupOutcome], None] = lambda _: None,
    ) -> CommandJob:
        """Begin to freeze VMs, and to run a command then; return at once. It waits for no turn.

        Args:
            vms: the VMs, as they were when the operator chose them; at least one.
            request: the command, and under which freeze.
            on_event: is called from the job's threads with each event, its freezes' as well.
            on_group: is called when a group is frozen, and when it is thawed again.

        Raises:
            BadInput: there is no such command, or its window would be longer than it may be.
        """
        contexts = [self._context(vm, on_event, 0) for vm in vms]
        job = CommandJob(contexts, request, on_group)
        with self._lock:
            busy = [one for vm in vms if (one := self._active.get(vm.id)) is not None]
            if not busy:
                self._active.update({member.vm.id: member for member in job.members})
        if busy:
            reason = f"a {busy[0].kind} of {busy[0].vm.id} is in flight already"
            self._settle_command(job, job.refused(JobRefusal.BUSY, reason))
            return job

        def run() -> None:
            try:
                outcomes = job.run()
            except Exception as error:  # noqa: BLE001 - P8: whoever waits for it is told
                outcomes = job.crashed(error)
            self._settle_command(job, outcomes)

        try:
            threading.Thread(target=run, name="command-job").start()
        except NO_THREAD as error:
            reason = f"not begun: {why_no_thread(error)}"
            self._settle_command(job, job.refused(JobRefusal.NOT_BEGUN, reason))
        return job

    def mirror(
        self, vm: Vm, request: MirrorRequest, on_event: OnEvent | None = None, *, limit: int = 0
    ) -> MirrorJob:
        """Begin a mirror, and return at once; see `begin`."""
        return self.begin(vm, lambda context: MirrorJob(context, request), on_event, limit)

    def begin(
        self,
        vm: Vm,
        make: Callable[[JobContext], JobT],
        on_event: OnEvent | None = None,
        limit: int = 0,
    ) -> JobT:
        """Begin a copy, and return at once.

        Args:
            vm: the VM, as it was when the operator chose it.
            make: makes the job of its context.
            on_event: is called from the job's threads with each event, its freeze's as well.
            limit: the most bytes a second that it may copy; 0 without a limit.
        """
        job = make(self._context(vm, on_event, limit))
        with self._lock:
            running = self._active.setdefault(vm.id, job)
        if running is not job:
            reason = f"a {running.kind} of this VM is in flight already"
            job.settle(job.refused(JobRefusal.BUSY, reason))
            return job
        unended = self._late.on(vm.id)
        if unended is not None:
            reason = f"of this VM {unended}"
            self._end(job, lambda: job.refused(JobRefusal.JOB_RUNNING, reason, _UNTIL_ENDED))
            return job
        job.waits_for_its_turn(self._queue.most)
        try:
            turn = self._queue.submit(lambda: self._run(job))
        except NO_THREAD as error:
            why = f"not begun: {why_no_thread(error)}"
            self._end(job, lambda: job.refused(JobRefusal.NOT_BEGUN, why))
            return job

        def withdraw() -> None:
            if self._queue.withdraw(turn):
                reason = "stopped while it waited for its turn: nothing was begun"
                self._end(job, lambda: job.refused(JobRefusal.CANCELLED, reason))

        job.queued_by(lambda: self._queue.place(turn), withdraw)
        return job

    def survey(self, vm: Vm, kind: JobKind) -> CopySurvey:
        """Return a VM's disks, and why a copy of them would be refused now; blocking."""
        return survey_copies(self._context(vm, None, 0), kind)

    def survey_folder(self, folder: Path) -> FolderSurvey:
        """Return how much room a folder has; blocking, and for as long as its storage hangs."""
        return survey_folder(folder)

    def in_qemu(self, vm: Vm) -> tuple[LeftCopy, ...]:
        """Return the copies that frostwatches have begun in a VM's QEMU; blocking.

        Raises:
            JobRefused: its monitor can't be used.
            JobFailed: the monitor does not answer.
        """
        return find_copies(self._context(vm, None, 0).port())

    def clear(self, vm: Vm, copy: LeftCopy) -> Cleared:
        """End a copy whose frostwatch has ended, and delete its incomplete files; blocking.

        Raises:
            JobRefused: its monitor can't be used, nothing may be done to the VM, or a frostwatch
                that runs copies its disks.
            JobFailed: the monitor does not answer.
        """
        context = self._context(vm, None, 0)
        if context.read_only is not None:
            raise JobRefused(JobRefusal.READ_ONLY, context.read_only)
        check_left(copy)
        port = context.port()
        claim = Claim(port, vm, JobName.new(_CLEARING))
        claim.take(alone=False)
        try:
            if isinstance(port, CalledPort):
                cleared = clear_called(port, copy)
            else:
                cleared = clear(context.block(), copy, context.access.process)
        finally:
            claim.release(context.access.is_gone)
        context.reporter.note(Level.WARNING, f"ended what was left: {copy}")
        return cleared

    def active(self) -> tuple[AnyJob, ...]:
        """Return the copies that run or wait, oldest first."""
        with self._lock:
            return tuple(self._active.values())

    def on(self, vm_id: VmId) -> AnyJob | None:
        """Return the copy that runs or waits on a VM; None if there is none."""
        with self._lock:
            return self._active.get(vm_id)

    def unended(self) -> tuple[CopyJob, ...]:
        """Return the copies that have ended for their callers, and that QEMU goes on with."""
        return self._late.all()

    def cancel_all(self) -> None:
        """Stop all copies: each thaws its guest, and undoes what was begun."""
        for job in self.active():
            job.cancel()

    def leave_all(self) -> None:
        """Leave to QEMU what can go on without us, and stop all other copies."""
        for job in self.active():
            job.leave()

    def stop(self, timeout_s: float) -> bool:
        """Stop all copies, and wait for their ends.

        Args:
            timeout_s: how long to wait, in seconds.

        Returns:
            True if all have ended.
        """
        self._late.stop()
        self.cancel_all()
        deadline = time.monotonic() + timeout_s
        ended = [job.wait(max(0.0, deadline - time.monotonic())) for job in self.active()]
        self._queue.close()
        return None not in ended

    def can_look(self, vm: Vm) -> bool:
        """Return whether a VM's disks can be looked at."""
        return vm.monitor is not None or self._is_called(vm)

    def _is_called(self, vm: Vm) -> bool:
        """Return whether a VM's manager has to copy its disks, and can be asked to."""
        return self._accesses.of(vm).disk_calls is not None

    def _context(self, vm: Vm, on_event: OnEvent | None, limit: int) -> JobContext:
        policy = vm.policy
        own = policy.read_only if policy is not None else None
        why = READ_ONLY if self._read_only else own
        return JobContext(
            vm=vm,
            access=self._accesses.of(vm),
            operations=self._operations,
            reporter=JobReporter(self._fleet, vm, on_event),
            control=JobControl(limit),
            wall=self._fleet.wall,
            on_event=on_event,
            journal=self._journal,
            read_only=why,
            state=lambda: self._fleet.get(vm.id),
            clock_set=lambda: self._fleet.clock_set,
        )

    def _settle_command(self, job: CommandJob, outcomes: Sequence[JobOutcome]) -> None:
        for member, outcome in zip(job.members, outcomes, strict=True):
            with self._lock:
                if self._active.get(member.vm.id) is member:
                    del self._active[member.vm.id]
            member.settle(outcome)

    def _run(self, job: CopyJob) -> None:
        self._end(job, job.run)

    def _end(self, job: CopyJob, outcome_of: Callable[[], JobOutcome]) -> None:
        try:
            outcome = outcome_of()
        except Exception as error:  # noqa: BLE001 - P8, as above
            outcome = _crashed(job, error)
        if job.goes_on is not None:
            self._late.add(job, outcome)
        with self._lock:
            if self._active.get(job.vm.id) is job:
                del self._active[job.vm.id]
        job.settle(outcome)


def _crashed(job: CopyJob, error: Exception) -> JobOutcome:
    """Return the outcome of a copy that a bug of ours has ended, beside its own steps."""
    return JobOutcome(
        vm=job.vm.id,
        kind=job.kind,
        result=JobResult.FAILED,
        consistency=Consistency.NONE,
        reason=f"{job.kind}: {JobResult.FAILED}: {a_bug(error)}",
        policy=job.request.policy,
        times=job.times(),
        next=clear_command(job.vm),
    )
