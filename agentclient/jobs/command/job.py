"""Runs a command while VMs are frozen: freeze, run, thaw the moment that it ends; blocking.

Each freeze has a bound and a holder of its own, so that no command keeps a guest frozen. The thread
that waits for the command thaws the guests; the one of this file tells what happens meanwhile.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from agentclient.jobs.command.freezing import Freezing
from agentclient.jobs.command.guest_window import GuestWindow
from agentclient.jobs.command.job_watch import JobWatch
from agentclient.jobs.command.judgement import end_in_words
from agentclient.jobs.command.member import CommandMember
from agentclient.jobs.command.outcomes import JobClock, Outcomes
from agentclient.jobs.command.process import CommandProcess
from agentclient.jobs.command.program import find_program
from agentclient.jobs.command.request import CommandRequest
from agentclient.jobs.context import JobContext
from agentclient.jobs.errors import JobCancelled, JobFailed, JobRefused, a_bug
from agentclient.model.command import (
    MONOTONIC_VARIABLE,
    SECONDS_VARIABLE,
    UNTIL_VARIABLE,
    VMS_VARIABLE,
    CommandStep,
    OnOverrun,
    ThawWhen,
)
from agentclient.model.durations import in_words
from agentclient.model.errors import FrostwatchError
from agentclient.model.events import CommandTold, EventKind
from agentclient.model.job import JobOutcome, JobRefusal, JobResult, JobStage
from agentclient.model.json_contract import rfc3339
from agentclient.model.outcome import GroupOutcome
from agentclient.model.states import Level
from agentclient.model.text import printable

# From a TERM to the KILL, and from that until it is left: it hangs in the kernel.
TERM_S: Final = 5.0
KILL_S: Final = 5.0
GIVEN_UP_S: Final = 0.5
GROUP_S: Final = 2.0  # its members have ended: it has nothing left to wait for
_LATE_S: Final = 1.0
_SHOWN: Final = 200
_TICK_S: Final = 0.1


class CommandJob:
    """One command on several VMs; thread-safe.

    Args:
        contexts: the collaborators of the job on each VM; at least one.
        request: the command, and under which freeze.
        on_group: is called when a group is frozen, and when it is thawed again.

    Attributes:
        members: what is listed for each VM.

    Raises:
        BadInput: there is no such command, or its window would be longer than it may be.
    """

    def __init__(
        self,
        contexts: Sequence[JobContext],
        request: CommandRequest,
        on_group: Callable[[GroupOutcome], None] = lambda _: None,
    ) -> None:
        self._request = request
        self._control = contexts[0].control
        self._clock = JobClock(contexts[0].wall(), request.asked_at)
        self._news = threading.Condition()
        self.members = tuple(CommandMember(one, self.cancel, self._notify) for one in contexts)
        program = find_program(request.argv, os.environ)
        self._process = CommandProcess(program, request.stdout, self._ended)
        windows = [member.window for member in self.members]
        self._freezing = Freezing(windows, request, self._control, self._news, on_group)
        self._outcomes = Outcomes(self._clock, request, self._process)
        self._given_up = False
        self._kill_at: float | None = None
        self._leave_at: float | None = None

    # -- for the caller ----------------------------------------------------------------------

    def cancel(self) -> None:
        """Thaw all guests, and end the command: TERM, and KILL 5 s later."""
        self._control.cancel()
        self._notify()

    def give_up(self) -> None:
        """End within a second: kill the command, and leave the guests to their holders."""
        self._control.cancel()
        self._given_up = True
        self._process.stop(signal.SIGKILL)
        for member in self.members:
            member.window.give_up()
        self._notify()

    @property
    def began_at(self) -> float:
        """When it was asked for (monotonic seconds)."""
        return self._clock.began_at

    @property
    def done(self) -> bool:
        """Whether there is an outcome for each VM."""
        return all(member.done for member in self.members)

    def wait(self, timeout_s: float | None = None) -> tuple[JobOutcome, ...] | None:
        """Wait for the outcomes, one for each VM; None if it still runs after so many seconds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        found: list[JobOutcome] = []
        for member in self.members:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            outcome = member.wait(left)
            if outcome is None:
                return None
            found.append(outcome)
        return tuple(found)

    # -- for the manager, and the worker thread ------------------------------------------------

    def refused(
        self, refusal: JobRefusal, reason: str, step: str | None = None
    ) -> list[JobOutcome]:
        """Return the outcomes of a command that was not started."""
        ended = self._outcomes.ended
        return [ended(one, JobResult.REFUSED, reason, step, refusal) for one in self.members]

    def run(self) -> list[JobOutcome]:
        """Do all of it, and return the outcomes; raises none of this project's errors."""
        try:
            self._prepare()
            self._freeze()
            self._start()
            self._follow()
        except JobRefused as error:
            self._thaw()
            return self.refused(error.refusal, error.reason, error.next_step)
        except JobCancelled:
            self._thaw()
        except JobFailed as error:
            return self._failed(error.reason, error.next_step)
        except FrostwatchError as error:
            return self._failed(str(error), None)
        except Exception as error:  # noqa: BLE001 - P8: one broken job, told as one
            return self._failed(a_bug(error), None)
        finally:
            self._process.abandon()
            for member in self.members:
                if member.watch is not None:
                    member.watch.stop()
        cancelled = self._control.cancelled.is_set()
        return [self._outcomes.judged(member, cancelled=cancelled) for member in self.members]

    def crashed(self, error: Exception) -> list[JobOutcome]:
        """Thaw all guests after a bug that not even `run` has caught; return the outcomes."""
        self._freezing.end()
        ended = self._outcomes.ended
        return [ended(one, JobResult.FAILED, a_bug(error), None) for one in self.members]

    # -- the stages ----------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._control.check()
        for member in self.members:
            context = member.context
            if context.read_only is not None:
                raise JobRefused(JobRefusal.READ_ONLY, f"{member.vm.id}: {context.read_only}")
            if context.vm.locked_by is not None:
                what = printable(context.vm.locked_by, 40)
                why = f"{member.vm.id}: its manager has locked the VM ({what})"
                raise JobRefused(JobRefusal.LOCKED, why, "wait until that has ended")
        self._stage(JobStage.PREPARING, "checking the VMs")
        if self._request.thaw_when is ThawWhen.JOB_STARTED:
            for member in self.members:
                self._watch_jobs(member)
        self._process.prepare()

    def _watch_jobs(self, member: CommandMember) -> None:
        def started() -> None:
            member.window.end()
            count = watch.count
            disks = "the block job of its disk runs" if count == 1 else f"block jobs of all {count}"
            disks += "" if count == 1 else " disks run"
            self._tell(member, CommandStep.JOBS_STARTED, Level.INFO, f"{disks}: thawing the guest")
            member.stage(JobStage.COPYING, "the command goes on without a freeze", self.began_at)
            self._notify()

        watch = JobWatch(member.context, self._request.disks, started)
        member.watch = watch
        watch.prepare()

    def _freeze(self) -> None:
        self._stage(JobStage.FREEZING, "freezing the guest for the command")
        self._control.on_cancel(self._stop_waiting)
        self._freezing.begin()
        self._freezing.wait_verified()
        self._outcomes.until = self._freezing.until()

    def _stop_waiting(self) -> None:
        if self._process.pid is None:
            self._freezing.cancel()
        else:
            self._freezing.end()

    def _start(self) -> None:
        self._control.check()
        environment = os.environ | self._environment()
        if not self._process.start(environment, self._control.cancelled):
            self._thaw()
            return
        for member in self.members:
            if member.watch is not None:
                member.watch.begin()
        words = printable(" ".join(self._process.argv), _SHOWN)
        text = f"the command runs, pid {self._process.pid}{self._for_how_long()}: {words}"
        self._stage(JobStage.STARTING, "every guest is verified: the command runs")
        for member in self.members:
            self._tell(member, CommandStep.BEGAN, Level.INFO, text)

    def _environment(self) -> dict[str, str]:
        """Return what the command is told: which VMs are frozen, and until when."""
        frozen = [one.vm.id for one in self.members if one.window.verified_at is not None]
        told = {VMS_VARIABLE: "\n".join(str(vm_id) for vm_id in frozen)}
        until = self._outcomes.until
        if until is not None:
            told[UNTIL_VARIABLE] = str(rfc3339(self._clock.time_of(until)))
            told[MONOTONIC_VARIABLE] = f"{until:.3f}"
            told[SECONDS_VARIABLE] = f"{max(0.0, until - time.monotonic()):.3f}"
        return told

    def _for_how_long(self) -> str:
        until = self._outcomes.until
        if until is None:
            return ", without a freeze"
        return f", frozen for {in_words(max(0.0, until - time.monotonic()))} at the most"

    def _follow(self) -> None:
        """Tell what happens until the command has ended, or is left; then wait for the thaws."""
        while not self._process.ended and not self._is_left():
            if self._control.cancelled.is_set() and self._kill_at is None:
                self._freezing.end()
                self._stop("stopped by the operator")
            for member in self.members:
                self._check_window(member)
            with self._news:
                if not self._process.ended:
                    self._news.wait(self._pause())
        self._tell_end()
        self._thaw()

    def _pause(self) -> float:
        """Return for how many seconds nothing is due."""
        ends = [member.window.ends_at for member in self.members if not member.overran]
        due = [at for at in (*ends, self._kill_at, self._leave_at) if at is not None]
        left = min(due, default=float("inf")) - time.monotonic()
        return min(max(left, 0.005), _TICK_S)

    def _check_window(self, member: CommandMember) -> None:
        """Tell at once that a command runs on though a window is over."""
        window, watch = member.window, member.watch
        if member.overran or window.verified_at is None or window.closed_at is None:
            return
        if self._process.ended_at is not None or self._control.cancelled.is_set():
            return
        if watch is not None and watch.started_at is not None:
            member.overran = watch.started_at > window.closed_at
            return
        member.overran = True
        what = "left running"
        if self._request.on_overrun is OnOverrun.KILL:
            what = f"ended: TERM now, and KILL after {in_words(TERM_S)}"
        step, why = CommandStep.OVERRAN, "THE COMMAND OUTLASTS THE WINDOW: the guest is thawed"
        if _is_broken(window):
            step, why = CommandStep.BROKEN, f"THE WINDOW IS BROKEN{_reason(window)}"
        if watch is not None:
            why += f"; {watch.why_not}"
        self._tell(member, step, Level.ERROR, f"{why}; nothing is certified, the command is {what}")
        if self._request.on_overrun is OnOverrun.KILL:
            self._stop("its window is over")

    def _stop(self, why: str) -> None:
        """Send TERM to the command, unless that was done."""
        if self._kill_at is not None:
            return
        self._kill_at = time.monotonic() + TERM_S
        if self._process.stop(signal.SIGTERM):
            text = f"TERM was sent to the command and its group: {why}"
            for member in self.members:
                self._tell(member, CommandStep.STOPPED, Level.WARNING, text)

    def _is_left(self) -> bool:
        """Send KILL when it is time for that; return whether the command is left to itself."""
        now = time.monotonic()
        if self._kill_at is not None and self._leave_at is None and now >= self._kill_at:
            self._leave_at = now + KILL_S
            if self._process.stop(signal.SIGKILL):
                for member in self.members:
                    text = "KILL was sent to the command and its group"
                    self._tell(member, CommandStep.STOPPED, Level.WARNING, text)
        if self._process.left:
            return True
        if self._given_up:
            return not self._process.wait(GIVEN_UP_S)
        return self._leave_at is not None and now >= self._leave_at

    def _ended(self) -> None:
        """Thaw the guests: the command has just ended. Runs in the thread that waits for it."""
        self._freezing.end()
        self._notify()

    def _tell_end(self) -> None:
        if self._process.ended_at is None:
            return
        self._stage(JobStage.THAWING, "the command has ended: thawing the guest")
        level = Level.INFO if self._process.exit_code == 0 else Level.WARNING
        facts = self._outcomes.facts(cancelled=self._control.cancelled.is_set())
        text = f"the command has ended: {end_in_words(facts)}"
        for member in self.members:
            self._tell(member, CommandStep.ENDED, level, text)
        if self._process.leaves_others():
            group = f"process group {self._process.pid}"
            text = f"the command has left processes behind, which go on: {group}"
            for member in self.members:
                member.context.reporter.note(Level.WARNING, text)

    def _thaw(self) -> None:
        """Thaw all guests, and wait until they are."""
        self._freezing.end()
        deadline = time.monotonic() + self._freezing.thaw_timeout_s + _LATE_S
        for member in self.members:
            while not member.window.wait(_TICK_S):
                if time.monotonic() > deadline or self._given_up:
                    break
        self._freezing.wait_group(0.0 if self._given_up else GROUP_S)
        for member in self.members:  # a group that failed takes back what was good by itself
            member.window.wait(0.0)

    # -- what is told, and what came of it -----------------------------------------------------

    def _notify(self) -> None:
        with self._news:
            self._news.notify_all()

    def _stage(self, stage: JobStage, text: str) -> None:
        for member in self.members:
            member.stage(stage, text, self.began_at)

    def _tell(self, member: CommandMember, step: CommandStep, level: Level, text: str) -> None:
        process = self._process
        told = CommandTold(step, process.pid, process.exit_code, process.signal)
        member.context.reporter.tell(EventKind.COMMAND, level, text, told)

    def _failed(self, reason: str, step: str | None) -> list[JobOutcome]:
        """End everything after an error of ours, and return the outcomes."""
        if self._process.stop(signal.SIGTERM) and not self._process.wait(TERM_S):
            self._process.stop(signal.SIGKILL)
        self._thaw()
        return [self._outcomes.ended(one, JobResult.FAILED, reason, step) for one in self.members]


def _is_broken(window: GuestWindow) -> bool:
    """Return whether a window ended before its time, by what happened to its guest."""
    ends_at, closed_at = window.ends_at, window.closed_at
    return ends_at is None or closed_at is None or closed_at < ends_at


def _reason(window: GuestWindow) -> str:
    window.wait(0)
    return f": {window.outcome.reason}" if window.outcome is not None else ""
