"""The window of a copy: the guest is frozen in it, or paused, or neither, as the policy says.

The freeze has a thread and a holder of its own, and a bound. So the guest is thawed at the window's
end whatever the job does: it hangs, fails, is cancelled, or its process is killed (P4).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from agentclient.jobs.context import JobContext, Noted
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.pause import paused, runs
from agentclient.jobs.window_end import WindowEnd
from agentclient.journal.entry import Entry
from agentclient.model.errors import BadInput
from agentclient.model.events import Event
from agentclient.model.job import Consistency, FreezePolicy, JobRefusal, JobStage
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.states import Level, OutcomeKind, Refusal
from agentclient.model.text import printable
from agentclient.operations.freeze import FreezeOperation

# The copy is taken in milliseconds; a Windows guest holds its writes for 10 s at the most.
DEFAULT_HOLD_S: Final = 10.0
_LATE_S: Final = 1.0
_CANCELLED_EVERY_S: Final = 0.1


class CopyWindow:
    """The window of one copy on one VM.

    Args:
        context: the job's collaborators.
        policy: what is done about the freeze.
        request: the freeze's bounds; None for the VM's own, held for 10 s at the most.
        again: the command that asks for the same copy once more; None if there is none.
        strict: where these are the VM's own: it is verified only if it covers every file system.

    Attributes:
        freeze: the freeze; None if there is none.
        entry: the freeze's window in the journal; None without one.
        paused: the VM is, or was, paused instead.
        is_needed: nothing but it makes the copy be of one moment.
        outcome: how the freeze ended; None before its end, and without a freeze.
        why_not: why the guest was not frozen, though that was to be tried; None if it was.
        why_over: why it was over before the copy was taken, which goes on; None if it was not.
        frozen_at: when it was verified, or the VM was paused (monotonic seconds); None before.
        thawed_at: when it was thawed, or went on (monotonic seconds); None before.
        frozen_time: the wall clock's time of `frozen_at`.
        thawed_time: the wall clock's time of `thawed_at`.
    """

    def __init__(
        self,
        context: JobContext,
        policy: FreezePolicy,
        request: FreezeRequest | None = None,
        again: str | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self._context = context
        self._policy = policy
        own = request or FreezeRequest(schedule=_schedule(context), strict=strict)
        self._request = replace(own, again=again)
        if not self._request.schedule.hold_s:
            raise BadInput(f"{context.vm.id}: a copy needs a window: its hold can't be 0")
        self._end = WindowEnd()
        self.freeze: FreezeOperation | None = None
        self.entry: Entry | None = None
        self.paused = False
        self.is_needed = False
        self.outcome: Outcome | None = None
        self.why_not: str | None = None
        self.why_over: str | None = None
        self.frozen_at: float | None = None
        self.thawed_at: float | None = None
        self.frozen_time: Noted | None = None
        self.thawed_time: Noted | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether the guest is frozen and verified now."""
        return self.freeze is not None and self.frozen_at is not None and not self._is_over

    @property
    def _is_over(self) -> bool:
        """Whether the guest may write again: its thaw was sent, or its hold has ended."""
        return self._end.closed_at(self.freeze) is not None

    @property
    def left_s(self) -> float:
        """Seconds until the window ends on its own; without one, as long as it would be."""
        hold = self._request.schedule.hold_s
        if self.paused and self.frozen_at is not None:
            return max(0.0, self.frozen_at + hold - time.monotonic())
        if self.freeze is None or self.freeze.hold_ends_at is None or self._is_over:
            return hold
        return max(0.0, self.freeze.hold_ends_at - time.monotonic())

    @property
    def stands_still(self) -> bool:
        """Whether the guest writes nothing now: it is frozen, or the VM is paused.

        Raises:
            JobFailed: the monitor does not answer.
        """
        return self.is_frozen or (self.paused and not runs(self._context.block()))

    def check(self, *, is_needed: bool) -> None:
        """Make sure that the window is open still; if not, go on without it where that is allowed.

        Args:
            is_needed: it is what makes the copy be of one moment.

        Raises:
            JobFailed: it was thawed, or resumed by somebody, meanwhile, and the policy demands it,
                or the copy is of no one moment without it.
        """
        self.is_needed = is_needed
        if self.paused and not self.stands_still:
            why = "somebody has resumed the VM before the copy could be taken"
        elif self.freeze is not None and self.frozen_at is not None and self._is_over:
            why = "the guest was thawed before the copy could be taken"
        else:
            return
        if is_needed:
            raise JobFailed(f"{why}, so that its disks are not of one moment", "begin again")
        if self.is_demanded:
            raise JobFailed(why)
        self.why_over = why
        text = f"going on without a window: the copy will be crash-consistent ({why})"
        self._context.reporter.note(Level.WARNING, text)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Freeze or pause the guest as the policy says; thaw it after the block, whatever happens.

        Raises:
            JobRefused: it is not frozen, and the policy demands it.
            JobCancelled: the job was cancelled before.
        """
        self._context.control.check()
        if self._policy is FreezePolicy.NEVER:
            yield
            return
        self._context.reporter.stage(JobStage.FREEZING, "freezing the guest for the copy")
        freeze = self.freeze = self._context.operations.freeze(
            self._context.vm, self._request, self._told
        )
        self.entry = freeze.context.entry
        self._context.control.on_cancel(freeze.cancel)
        self._await(freeze)
        if self._is_verified(freeze):
            self._now_frozen()
            try:
                yield
            finally:
                self._thaw(freeze)
            return
        self.outcome = _ended(freeze)
        self._context.control.check()
        if self._policy is FreezePolicy.SUSPEND and _has_no_agent(self.outcome):
            self.freeze = None
            with paused(self._context, self._request.schedule.hold_s):
                self.paused = True
                self._now_frozen()
                yield
            self._now_thawed()
            return
        self._without()
        yield

    def _await(self, freeze: FreezeOperation) -> None:
        """Wait until the window is open, or the freeze has ended.

        Raises:
            JobCancelled: the job was cancelled. The freeze can't be called back: it is waited for
                by itself, and thawed.
        """
        cancelled = self._context.control.cancelled
        while not freeze.wait_opened(_CANCELLED_EVERY_S):
            if cancelled.is_set() and not freeze.wait_opened(_LATE_S):
                self._context.control.check()

    @property
    def consistency(self) -> Consistency:
        """What a copy that was taken in this window is worth."""
        certified = self.outcome is not None and self.outcome.certified
        inside = self.frozen_at is not None and not self.paused and self.why_over is None
        return Consistency.CONSISTENT if certified and inside else Consistency.CRASH_CONSISTENT

    @property
    def why(self) -> str:
        """Why the copy is worth what it is, as a clause."""
        if self._policy is FreezePolicy.NEVER:
            return "nothing was frozen, as was asked"
        if self.why_over is not None:
            return self.why_over
        if self.paused:
            return "the VM has no agent, and was paused: what the guest had in memory is missing"
        if self.why_not is not None:
            return f"the guest was not frozen: {self.why_not}"
        if self.outcome is None:
            return "its thaw is not acknowledged yet, so that nothing is certified"
        if self.outcome.certified:
            return f"it was taken within a certified freeze window{_except(self.outcome)}"
        moment = ", so that its disks may not be of one moment" if self.is_needed else ""
        return f"the freeze window is not certified: {self.outcome.reason}{moment}"

    @property
    def is_demanded(self) -> bool:
        """Whether there is to be no copy without it: a guest that has an agent is to be frozen."""
        return self._policy in (FreezePolicy.REQUIRE, FreezePolicy.SUSPEND) and not self.paused

    @property
    def has_held(self) -> bool:
        """Whether the guest wrote nothing in it, as far as is known now that it is over."""
        if self.why_over is not None:
            return False
        return self.paused or (self.outcome is not None and self.outcome.certified)

    def _told(self, event: Event) -> None:
        """Take an event of the freeze, and pass it on."""
        self._end.on_event(event)
        if self._context.on_event is not None:
            self._context.on_event(event)

    def _without(self) -> None:
        """Go on without a freeze, or not.

        Raises:
            JobRefused: the policy demands one.
        """
        outcome = self.outcome
        word = "it did not end" if outcome is None else _word(outcome)
        reason = "" if outcome is None else f": {outcome.reason}"
        self.why_not = f"{word}{reason}"
        if self._policy is not FreezePolicy.PREFER:
            step = outcome.next if outcome is not None and outcome.next else None
            raise JobRefused(
                JobRefusal.NOT_FROZEN,
                f"the guest was not frozen ({self.why_not})",
                step or "mend that, or accept a crash-consistent copy with --policy prefer",
            )
        self.freeze = None
        text = f"going on without a freeze: the copy will be crash-consistent ({self.why_not})"
        self._context.reporter.note(Level.WARNING, text)

    def _is_verified(self, freeze: FreezeOperation) -> bool:
        verdict = freeze.verdict
        if freeze.done or verdict is None:
            return False
        if verdict.kind is OutcomeKind.VERIFIED:
            return True
        freeze.end_hold()  # what is not verified is of no use, and is not held
        freeze.wait(self._thaw_timeout_s)
        return False

    def _now_frozen(self) -> None:
        self.frozen_at, self.frozen_time = time.monotonic(), self._context.note_time()

    def _now_thawed(self) -> None:
        self.thawed_at, self.thawed_time = time.monotonic(), self._context.note_time()

    def _thaw(self, freeze: FreezeOperation) -> None:
        freeze.end_hold()
        self.outcome = freeze.wait(self._thaw_timeout_s)
        self._now_thawed()

    @property
    def _thaw_timeout_s(self) -> float:
        return self._request.schedule.thaw_timeout_s + _LATE_S


def _schedule(context: JobContext) -> Schedule:
    """Return the VM's own schedule, with a short hold."""
    schedule = Schedule.of(context.vm.policy, hold_s=0.0)
    return replace(schedule, hold_s=min(DEFAULT_HOLD_S, schedule.maximum_hold_s))


def _except(outcome: Outcome) -> str:
    """Return which file systems were not frozen, since their kind can't be, as a clause."""
    if not outcome.not_covered:
        return ""
    named = ", ".join(
        f"{printable(one.mountpoint, 60)} ({printable(one.kind, 20)} on "
        f"{printable(one.device, 40)})"
        for one in outcome.not_covered
    )
    return f", except what can't freeze and is crash-consistent: {named}"


def _ended(freeze: FreezeOperation) -> Outcome | None:
    return freeze.wait(0) if freeze.done else None


def _has_no_agent(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.refusal is Refusal.NO_AGENT


def _word(outcome: Outcome) -> str:
    return f"{outcome.kind}: {outcome.refusal}" if outcome.refusal else str(outcome.kind)
