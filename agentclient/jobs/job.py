"""The base class of all copies: prepare, freeze, start, thaw, follow, finish; blocking."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from agentclient.jobs.block import BlockLayer, JobName
from agentclient.jobs.cancel import cancel_jobs
from agentclient.jobs.claim import Claim
from agentclient.jobs.context import JobContext, Noted
from agentclient.jobs.disk_port import DiskPort
from agentclient.jobs.disks import check_none_new, choose_disks, left_out
from agentclient.jobs.errors import JobCancelled, JobFailed, JobRefused, a_bug
from agentclient.jobs.follow import JobLost
from agentclient.jobs.job_handle import JobHandle
from agentclient.jobs.managed import check_manager
from agentclient.jobs.pause import resume_after_error
from agentclient.jobs.request import CopyRequest
from agentclient.jobs.targets import Targets
from agentclient.jobs.thread_reserve import ThreadReserve
from agentclient.jobs.window import CopyWindow
from agentclient.model.errors import FrostwatchError
from agentclient.model.job import (
    Consistency,
    DiskCopy,
    FreezePolicy,
    JobOutcome,
    JobProgress,
    JobRefusal,
    JobResult,
    JobStage,
    JobTimes,
    LeftOut,
)
from agentclient.model.next_command import clear_command
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk


class CopyJob(JobHandle, ABC):
    """One copy of one VM; thread-safe.

    Its methods are for `agentclient.jobs.manager`, and for its worker thread.

    Args:
        context: its collaborators.
        request: what to copy, and under which freeze.

    Attributes:
        name: the names of its parts in QEMU.
        chosen: the disks that it is about; empty before `prepare`.
        left_out: the VM's other disks, as far as they have a medium.
        goes_on: why QEMU may go on with it, though it has ended for its caller, as a clause; None
            if it does not.
        needs_window: nothing but the guest's standing still makes its disks be of one moment.
        window: its window, open or over.
        started: when the copy began; None before.
        taken: when it was taken; None before.
    """

    def __init__(self, context: JobContext, request: CopyRequest) -> None:
        super().__init__(context)
        self.request = request
        self.name = JobName.new(self.kind)
        self._found: tuple[Disk, ...] = ()
        self.chosen: tuple[Disk, ...] = ()
        self.left_out: tuple[LeftOut, ...] = ()
        self.goes_on: str | None = None
        self.needs_window = False
        again = request.again(context.vm, context.control.limit)
        self.window = CopyWindow(
            context, request.policy, request.freeze, again, strict=request.strict
        )
        self.began_at = time.monotonic()
        self._asked = context.note_time()
        self.started: Noted | None = None
        self.taken: Noted | None = None
        self._threads: ThreadReserve | None = None
        self._claim: Claim | None = None
        self._ends_within_s: float | None = None

    # -- for the manager, and the worker thread ------------------------------------------

    def waits_for_its_turn(self, most: int) -> None:
        """Show that it waits for its turn; `most` run at once."""
        self._show(JobStage.QUEUED, f"its turn: {most} at once")

    def refused(self, refusal: JobRefusal, reason: str, step: str | None = None) -> JobOutcome:
        """Return the outcome of a job that was not begun."""
        outcome = self._outcome(JobResult.REFUSED, reason, next_step=step)
        return outcome._replace(refusal=refusal)

    def run(self) -> JobOutcome:
        """Do all of it, and return the outcome; raises none of this project's errors."""
        self.began_at = time.monotonic()
        outcome = self._run()
        if self.goes_on is None:
            outcome = outcome._replace(left=(*outcome.left, *self._released()))
        elif self._claim is not None:
            self._claim.mark_unended()
        self.record_outcome(outcome)
        return outcome

    def record_outcome(self, outcome: JobOutcome) -> None:
        """Record with its window in the journal what came of it, if it had one."""
        if self.window.entry is not None:
            self.window.entry.copied(self.facts(outcome))

    def end_late(self, within_s: float) -> tuple[str, ...] | None:
        """Try again to end what QEMU goes on with, and undo what was begun.

        Args:
            within_s: how long QEMU is waited for, in seconds.

        Returns:
            What is left then, each as a clause; None if QEMU may go on with it still.
        """
        self._ends_within_s = within_s
        # `end_jobs` says whether it goes on; what fails before that leaves it as it was.
        left = self._undone()
        if self.context.access.is_gone():
            self.goes_on = None
        return None if self.goes_on is not None else (*left, *self._released())

    def _run(self) -> JobOutcome:
        try:
            self._check()
            self._claim = Claim(self.context.port(), self.vm, self.name)
            self._claim.take()
            left = self.work()
        except JobRefused as error:
            left = self._undone()
            outcome = self.refused(error.refusal, error.reason, error.next_step)
            return outcome._replace(left=tuple(left))
        except JobCancelled:
            return self._ended(JobResult.CANCELLED, "stopped by the operator", None)
        except JobLost as error:
            self.goes_on = None if self.context.control.left.is_set() else error.reason
            reason = f"{error.reason}; QEMU may go on with the copy, and nobody follows it"
            return self._outcome(JobResult.LEFT, reason, next_step=clear_command(self.vm))
        except JobFailed as error:
            return self._ended(JobResult.FAILED, error.reason, error.next_step)
        except FrostwatchError as error:
            return self._ended(JobResult.FAILED, str(error), None)
        except Exception as error:  # noqa: BLE001 - P8: one broken copy, told as one
            return self._ended(JobResult.FAILED, a_bug(error), None)
        return self.completed()._replace(left=tuple(left))

    def work(self) -> list[str]:
        """Do all steps in turn.

        Returns:
            What is left behind that should not be, each as a clause.
        """
        self._stage(JobStage.PREPARING, "checking the disks, and making what takes the copy")
        self.prepare()
        self.check_alone()
        with self.window.open():
            self._take()
        self._thawed()
        self.follow()
        self._stage(JobStage.FINISHING, "closing the copy")
        return self.finish()

    def completed(self) -> JobOutcome:
        """Return the outcome after all steps were done."""
        consistency = self.window.consistency
        why, step = self.window.why, self.next_step()
        outcome = self._outcome(JobResult.COMPLETE, why, consistency=consistency, next_step=step)
        certified = consistency is Consistency.CONSISTENT
        worth = f"certified {consistency}" if certified else f"{consistency} only"
        return outcome._replace(reason=f"{self.kind}: complete, and {worth}: {why}")

    # -- what each kind of copy does -------------------------------------------------------

    @abstractmethod
    def prepare(self) -> None:
        """Check all that can fail, and make the targets: before the freeze, and not hurried.

        Raises:
            JobRefused: it can't be done.
            JobFailed: something failed; `undo` follows, as after each failure from here on.
        """

    @abstractmethod
    def start(self) -> None:
        """Take the copy: the guest is frozen now, and thawed when this returns or fails.

        Raises:
            JobFailed: it failed.
        """

    @abstractmethod
    def follow(self) -> None:
        """Wait until the data are copied; the guest has been thawed.

        Raises:
            JobFailed: it failed.
            JobCancelled: the operator has stopped it.
            JobLost: QEMU can't be asked any more.
        """

    @abstractmethod
    def finish(self) -> list[str]:
        """Close what was opened, write what is known of the copy.

        Returns:
            What is left behind that should not be, each as a clause.
        """

    @abstractmethod
    def undo(self) -> list[str]:
        """Cancel what was begun, and delete what is no complete copy; works after any failure.

        Returns:
            What is left behind, each as a clause.
        """

    @abstractmethod
    def results(self) -> tuple[DiskCopy, ...]:
        """Return what came of each disk, as far as is known now."""

    def next_step(self) -> str | None:
        """Return what a person has to do now that the copy is complete; None if nothing."""
        return None

    def choose(self, port: DiskPort, names: Sequence[str]) -> tuple[Disk, ...]:
        """Choose the disks, and tell which the copy lacks; see `choose_disks`."""
        found = self._found = port.disks()
        self.chosen = choose_disks(port, found, names)
        self.left_out = left_out(found, self.chosen, names)
        self.context.reporter.left_out(self.left_out)
        return self.chosen

    def check_alone(self) -> None:
        """Make sure that nobody has begun to work on the disks since they were looked at.

        Raises:
            JobRefused: somebody has.
            JobFailed: a disk has another image, one has come that would be missing, or the monitor
                does not answer.
        """
        if self._claim is None:
            return
        found = self._claim.check(self.chosen, self.window.left_s)
        if self.takes_all and self.chosen:
            check_none_new(found, self.chosen)

    @property
    def takes_all(self) -> bool:
        """Whether it is to have all disks that the guest can write to."""
        return not self.request.disks

    # -- shared ----------------------------------------------------------------------------

    def end_jobs(self, port: DiskPort) -> list[str]:
        """End its jobs in QEMU, of which nothing may be touched as long as one goes on.

        Returns:
            The jobs that may go on, each as a clause; empty if none does.
        """
        gone, within_s = self.context.access.is_gone, self._ends_within_s
        left = cancel_jobs(port, self.name, gone=gone, within_s=within_s)
        self.goes_on = left[0] if left else None
        return left

    def new_targets(self, block: BlockLayer, letter: str = "t", *, apart: bool = False) -> Targets:
        """Return files of the copy that are to be made; see `Targets`."""
        gone, process = self.context.access.is_gone, self.context.access.process
        control = self.context.control
        return Targets(block, self.name, process, letter, gone=gone, control=control, apart=apart)

    def keep_threads(self, block: BlockLayer, each: int) -> None:
        """Have QEMU keep threads for the guest until the copy has ended; see `ThreadReserve`."""
        process, note = self.context.access.process, self.context.reporter.note
        self._threads = ThreadReserve(block, process, note)
        self._threads.take(self.chosen, each)

    def _take(self) -> None:
        self.context.control.check()
        self._stage(JobStage.STARTING, "taking the copy")
        self.check_alone()
        self.started = self.context.note_time()
        self.start()
        self.taken = self.context.note_time()
        self.context.control.check()  # a cancellation has ended the window as well
        self.window.check(is_needed=self.needs_window)
        if self.window.frozen_at is not None:
            what = "letting the VM go on" if self.window.paused else "thawing the guest"
            self._stage(JobStage.THAWING, f"the copy is taken: {what}")

    def _thawed(self) -> None:
        """Go on with the copy only if it is worth what was asked for.

        Raises:
            JobFailed: the policy demands a certified window, and this is none.
        """
        demanded = self.request.policy in (FreezePolicy.REQUIRE, FreezePolicy.SUSPEND)
        if self.window.paused or not demanded:
            return
        if self.window.consistency is not Consistency.CONSISTENT:
            outcome = self.window.outcome
            step = outcome.next if outcome is not None and outcome.next else None
            raise JobFailed(f"no consistent copy was taken: {self.window.why}", step)

    def _check(self) -> None:
        self.context.control.check()
        if self.context.read_only is not None:
            raise JobRefused(JobRefusal.READ_ONLY, self.context.read_only)
        check_manager(self.vm, self.kind)
        if self.vm.locked_by is not None:
            why = f"its manager has locked the VM ({printable(self.vm.locked_by, 40)})"
            raise JobRefused(JobRefusal.LOCKED, why, "wait until that has ended")

    def _stage(self, stage: JobStage, text: str) -> None:
        self.context.reporter.stage(stage, text)
        self._show(stage, text)

    def _show(self, stage: JobStage, text: str) -> None:
        progress = JobProgress(
            kind=self.kind,
            stage=stage,
            text=text,
            began_at=self.began_at,
            limit=self.context.control.limit,
            frozen_at=self.window.frozen_at,
            thawed_at=self.window.thawed_at,
            cancelled=self.context.control.cancelled.is_set(),
        )
        self.context.reporter.progress(progress, listeners=False)

    def times(self) -> JobTimes:
        """Return when what happened, by the wall clock as it is set now; that is its end."""
        ended, time_of = self.context.wall(), self.context.time_of
        return JobTimes(
            asked=time_of(self._asked) or ended,
            frozen=time_of(self.window.frozen_time),
            began=time_of(self.started),
            taken=time_of(self.taken),
            thawed=time_of(self.window.thawed_time),
            ended=ended,
        )

    def _released(self) -> list[str]:
        """Give back its threads and its claim; return what is left, each as a clause."""
        if self._threads is not None:
            self._threads.give_back()
        return self._claim.release(self.context.access.is_gone) if self._claim is not None else []

    def _undone(self) -> list[str]:
        try:
            left = self.undo()
            if self.started is not None:
                resume_after_error(self.context)
            return left
        except Exception as error:  # noqa: BLE001 - what is left is told, whatever fails
            return [f"what was begun could not be undone: {printable(str(error), 300)}"]

    def _ended(self, result: JobResult, reason: str, step: str | None) -> JobOutcome:
        left = self._undone()
        return self._outcome(result, reason, next_step=step)._replace(left=tuple(left))

    def _outcome(
        self,
        result: JobResult,
        reason: str,
        *,
        consistency: Consistency = Consistency.NONE,
        next_step: str | None = None,
    ) -> JobOutcome:
        return JobOutcome(
            vm=self.vm.id,
            kind=self.kind,
            result=result,
            consistency=consistency,
            reason=f"{self.kind}: {result}: {reason}",
            policy=self.request.policy,
            times=self.times(),
            window=self.window.outcome,
            paused=self.window.paused,
            disks=self.results(),
            next=next_step,
            seconds=time.monotonic() - self.began_at,
            left_out=self.left_out,
        )
