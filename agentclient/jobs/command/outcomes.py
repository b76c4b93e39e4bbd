"""What comes of a command for each VM, with all moments on one clock."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from agentclient.jobs.command.judgement import Judgement, RunFacts, WindowFacts, judge
from agentclient.jobs.command.member import CommandMember
from agentclient.jobs.command.process import CommandProcess
from agentclient.jobs.command.request import CommandRequest
from agentclient.model.command import CommandRun, CommandTimes, Moment
from agentclient.model.job import (
    Consistency,
    JobKind,
    JobOutcome,
    JobRefusal,
    JobResult,
    JobTimes,
)


class JobClock:
    """The clock of one job: the monotonic one, and the wall clock's time that follows from it.

    Args:
        wall: the wall clock's time now.
        asked_at: when the job was asked for (monotonic seconds); None for now.

    Attributes:
        began_at: when the job was asked for (monotonic seconds).
        wall: the wall clock's time of that moment.
    """

    def __init__(self, wall: datetime, asked_at: float | None = None) -> None:
        now = time.monotonic()
        self.began_at = now if asked_at is None else asked_at
        self.wall = wall - timedelta(seconds=now - self.began_at)

    def time_of(self, at: float) -> datetime:
        """Return the wall clock's time of a moment (monotonic seconds)."""
        return self.wall + timedelta(seconds=at - self.began_at)

    def moment(self, at: float | None) -> Moment | None:
        """Return a moment (monotonic seconds); None for None."""
        return None if at is None else Moment(self.time_of(at), at - self.began_at)


class Outcomes:
    """Makes the outcomes of one command.

    Args:
        clock: the job's clock.
        request: what was asked for.
        process: the command's process.

    Attributes:
        until: the first window's end, as the command was told (monotonic seconds).
    """

    def __init__(self, clock: JobClock, request: CommandRequest, process: CommandProcess) -> None:
        self._clock = clock
        self._request = request
        self._process = process
        self.until: float | None = None

    def facts(self, *, cancelled: bool) -> RunFacts:
        """Return what is known of the run.

        Args:
            cancelled: the operator has stopped it.
        """
        process = self._process
        return RunFacts(
            process.began_at,
            process.ended_at,
            process.exit_code,
            process.signal,
            process.error,
            process.stopped,
            cancelled,
            process.pid,
            self._request.thaw_when,
        )

    def judged(self, member: CommandMember, *, cancelled: bool) -> JobOutcome:
        """Return the outcome for one VM, of a command that was to be run."""
        window, watch = member.window, member.watch
        facts = WindowFacts(
            window.verified_at,
            window.closed_at,
            window.outcome,
            watch.started_at if watch is not None else None,
            watch.why_not if watch is not None else "",
        )
        found = judge(self.facts(cancelled=cancelled), facts)
        left = []
        if found.result is JobResult.LEFT or self._process.leaves_others():
            left.append(f"process group {self._process.pid} goes on")
        step = window.outcome.next if window.outcome is not None else None
        return self._outcome(member, found, step)._replace(left=tuple(left))

    def ended(
        self,
        member: CommandMember,
        result: JobResult,
        reason: str,
        step: str | None,
        refusal: JobRefusal | None = None,
    ) -> JobOutcome:
        """Return the outcome for one VM, of a job that ended before its end."""
        found = Judgement(result, Consistency.NONE, False, reason)
        return self._outcome(member, found, step)._replace(refusal=refusal)

    def _outcome(self, member: CommandMember, found: Judgement, step: str | None) -> JobOutcome:
        moments = self._moments(member)
        now = time.monotonic()
        process = self._process
        return JobOutcome(
            vm=member.vm.id,
            kind=JobKind.COMMAND,
            result=found.result,
            consistency=found.consistency,
            reason=f"{JobKind.COMMAND}: {found.result}: {found.reason}",
            policy=self._request.policy,
            times=JobTimes(
                asked=self._clock.wall,
                frozen=_wall(moments.frozen),
                began=_wall(moments.began),
                taken=_wall(moments.jobs or moments.ended),
                thawed=_wall(moments.thawed),
                ended=self._clock.time_of(now),
            ),
            window=member.window.outcome,
            next=step,
            seconds=now - self._clock.began_at,
            command=CommandRun(
                argv=process.argv,
                thaw_when=self._request.thaw_when,
                pid=process.pid,
                exit_code=process.exit_code,
                signal=process.signal,
                error=process.error,
                overran=member.overran,
                stopped=process.stopped,
                inside=found.inside,
                times=moments,
            ),
        )

    def _moments(self, member: CommandMember) -> CommandTimes:
        window, watch, moment = member.window, member.watch, self._clock.moment
        frozen = window.verified_at is not None
        return CommandTimes(
            frozen=moment(window.verified_at),
            began=moment(self._process.began_at),
            until=moment(self.until),
            jobs=moment(watch.started_at if watch is not None else None),
            ended=moment(self._process.ended_at),
            thawing=moment(window.closed_at if frozen else None),
            thawed=moment(window.thawed_at if frozen else None),
        )


def _wall(moment: Moment | None) -> datetime | None:
    return None if moment is None else moment.at
