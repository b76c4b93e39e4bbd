"""What a run of a command, and what it copied of one VM, is worth. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from agentclient.model.command import ThawWhen
from agentclient.model.durations import in_words
from agentclient.model.job import Consistency, JobResult
from agentclient.model.outcome import Outcome
from agentclient.model.text import printable

NO_MOMENT: Final = "what it copied outside of the window is not of one moment"


class RunFacts(NamedTuple):
    """What is known of a run; all times are seconds of one monotonic clock.

    Attributes:
        began_at: it was about to be started; None if it was not.
        ended_at: it had ended; None if it has not.
        exit_code: its exit code; None without one.
        signal: the signal that ended it; None if none did.
        error: why it was not started, or why its end is not known.
        stopped: the signal that we sent to end it; None if none.
        cancelled: the operator has stopped it.
        pid: its process.
        thaw_when: when the guests were to be thawed.
    """

    began_at: float | None
    ended_at: float | None
    exit_code: int | None
    signal: str | None
    error: str | None
    stopped: str | None
    cancelled: bool
    pid: int | None
    thaw_when: ThawWhen


class WindowFacts(NamedTuple):
    """What is known of one VM's window; all times are seconds of the same clock.

    Attributes:
        verified_at: it was open and verified; None if it never was.
        closed_at: it was over, at the earliest that is possible; None while it is open.
        outcome: how its freeze ended; None if that isn't known.
        jobs_at: jobs were seen that copy all of its disks; None if they were not.
        why_no_jobs: which were missing, as a clause; empty if none was.
    """

    verified_at: float | None
    closed_at: float | None
    outcome: Outcome | None
    jobs_at: float | None = None
    why_no_jobs: str = ""


class Judgement(NamedTuple):
    """What the run is worth for one VM.

    Attributes:
        result: how it ended.
        consistency: what its copy of this VM's disks is worth.
        inside: what mattered lay within this VM's certified window.
        reason: why, as a clause.
    """

    result: JobResult
    consistency: Consistency
    inside: bool
    reason: str


def judge(run: RunFacts, window: WindowFacts) -> Judgement:
    """Return what a run is worth for one VM."""
    why_not = why_outside(run, window)
    result, how = _result(run)
    if result is not JobResult.COMPLETE:
        return Judgement(result, Consistency.NONE, why_not is None, how)
    if why_not is not None:
        reason = f"{how}, but its copy is NOT CONSISTENT (crash-consistent at best): {why_not}"
        return Judgement(result, Consistency.CRASH_CONSISTENT, False, reason)
    what = "all of it" if run.thaw_when is ThawWhen.COMMAND_ENDED else "the start of its block jobs"
    reason = f"{how}, and certified consistent: {what} lay within a certified freeze window"
    return Judgement(result, Consistency.CONSISTENT, True, reason)


def why_outside(run: RunFacts, window: WindowFacts) -> str | None:
    """Return why what mattered did not lie within a certified window; None if it did."""
    if window.verified_at is None:
        outcome = window.outcome
        return "the guest was not frozen" if outcome is None else f"not frozen: {_said(outcome)}"
    if run.thaw_when is ThawWhen.JOB_STARTED and window.jobs_at is None:
        return f"{window.why_no_jobs}, while the guest was frozen"
    matters_until = window.jobs_at if run.thaw_when is ThawWhen.JOB_STARTED else run.ended_at
    if run.began_at is None or matters_until is None or run.began_at < window.verified_at:
        return "it did not end within the window"
    if window.closed_at is not None and matters_until > window.closed_at:
        late = _span(matters_until - window.closed_at)
        return f"it went on for {late} after the freeze window; {NO_MOMENT}"
    if window.outcome is None:
        return "the thaw is not acknowledged, so that nothing is certified"
    if not window.outcome.certified:
        return f"the freeze window is not certified: {_said(window.outcome)}"
    return None


def end_in_words(run: RunFacts) -> str:
    """Return how it ended and after how long, as a clause."""
    if run.error is not None:
        return printable(run.error, 300)
    after = ""
    if run.began_at is not None and run.ended_at is not None:
        after = f" after {_span(run.ended_at - run.began_at)}"
    if run.signal is not None:
        return f"ended by {run.signal}{after}"
    return f"exit code {run.exit_code}{after}"


def _result(run: RunFacts) -> tuple[JobResult, str]:
    if run.pid is None:
        if run.cancelled:
            return JobResult.CANCELLED, "stopped by the operator before the command was started"
        return JobResult.FAILED, f"the command could not be started: {end_in_words(run)}"
    if run.ended_at is None:
        return JobResult.LEFT, f"the command (pid {run.pid}) does not end, and nobody waits for it"
    if run.cancelled:
        return JobResult.CANCELLED, f"stopped by the operator: {end_in_words(run)}"
    if run.stopped is not None:
        reason = f"ended by us, as was asked, when its freeze window was over: {end_in_words(run)}"
        return JobResult.FAILED, reason
    if run.exit_code == 0 and run.error is None:
        return JobResult.COMPLETE, f"the command ended well ({end_in_words(run)})"
    return JobResult.FAILED, f"the command failed: {end_in_words(run)}"


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else in_words(seconds)


def _said(outcome: Outcome) -> str:
    word = f"{outcome.kind}: {outcome.refusal}" if outcome.refusal else str(outcome.kind)
    return f"{word}: {outcome.reason}"
