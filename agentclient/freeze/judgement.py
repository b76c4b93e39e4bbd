"""A freeze's verdict, from the first conclusion to the final outcome. Pure.

What was seen is in `agentclient.freeze.observations`, how it is judged in `verdict` and
`certificate`; this file keeps which verdict stands, and revises it when more becomes known.
"""

from __future__ import annotations

from typing import Final

from agentclient.freeze import freeze_texts as texts
from agentclient.freeze.certificate import conclude, revised_by_thaw
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.evidence import Facts
from agentclient.freeze.freeze_plan import FreezePlan
from agentclient.freeze.freeze_schedule import FreezeSchedule
from agentclient.freeze.observations import Observations
from agentclient.freeze.port_watch import CHANGE_TEXT, Change, PortWatch
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.freeze.verdict import (
    apart,
    based_on,
    judge_cancelled,
    judge_error,
    judge_late,
    judge_lost,
    judge_nothing,
    judge_reply,
    judge_timeout,
)
from agentclient.freeze.window import Window
from agentclient.model.durations import in_words
from agentclient.model.outcome import Outcome
from agentclient.model.states import ENDS, Cause, OutcomeKind, Stuck

# What comes to be known so much later than a freeze is lost is another thing than why it is.
CAUSE_WITHIN_S: Final = 5.0


class Judgement:
    """The verdict on one freeze; times in seconds of the monotonic clock.

    Args:
        plan: what is to be frozen.
        watch: the port.
        schedule: knows when the freeze was sent.

    Attributes:
        seen: what the agent has said.
        cancelled: the operator asked to stop waiting.
        asked_by: who has asked to thaw it, through the holder; None for nobody.
        verdict: what is concluded by now; None before that.
        outcome: the final outcome; None before that.
    """

    def __init__(self, plan: FreezePlan, watch: PortWatch, schedule: FreezeSchedule) -> None:
        self._plan = plan
        self._watch = watch
        self.seen = Observations()
        self._schedule = schedule
        self.cancelled = False
        self.asked_by: str | None = None
        self.verdict: Outcome | None = None
        self.outcome: Outcome | None = None
        self._lost: tuple[float, str] | None = None  # since when it is lost, and how that is known

    @property
    def awaits_answer(self) -> bool:
        """Whether the freeze's own answer may still come, and nothing is concluded without it."""
        return self.seen.pending and self.verdict is None

    def on_answered(self, now: float) -> ReportEvent:
        """Conclude from the freeze's answer, and the evidence that is there."""
        facts = self._facts(now)
        return self._concluded(
            now, judge_nothing(facts) if facts.frozen == 0 else judge_reply(facts)
        )

    def on_lost(self, now: float, how: str) -> ReportEvent:
        """Conclude that the freeze will not be answered; or, after an error, what that has done.

        Args:
            now: the time.
            how: how that is known, one clause.
        """
        facts, watch = self._facts(now), self._watch
        if self.seen.error is not None:
            return self._concluded(now, judge_error(facts, self.seen.error))
        if watch.device_reset and not watch.reset:
            how = f"{how}; {CHANGE_TEXT[Change.DEVICE_RESET]}"
        self._lost = now, how
        return self._concluded(now, judge_lost(facts, how))

    def on_cause(self, now: float) -> list[ReportEvent]:
        """Revise why the freeze is lost, where that has come to be known after the verdict.

        An agent's end is told at once, and the reset of its guest, or the end of its VM, later.
        """
        if self._lost is None or self.verdict is None or self.outcome is not None:
            return []
        lost_at, how = self._lost
        why = self._watch.why_more(self.verdict.cause)
        if why is None or now > lost_at + CAUSE_WITHIN_S:
            return []
        return [self._revised(now, judge_lost(self._facts(now), f"{how}; {why}"))]

    def on_timeout(self, now: float) -> ReportEvent:
        """Conclude that the schedule is over."""
        return self._concluded(now, judge_timeout(self._facts(now), self._plan.schedule.total_s))

    def on_late_answer(self, now: float) -> ReportEvent:
        """Judge an answer that came after the verdict, or after the cancellation."""
        before = self.verdict.kind if self.verdict else None
        self._lost = None
        late = judge_late(self._facts(now), before, self.seen.error)
        return self._concluded(now, late) if before is None else self._revised(now, late)

    def on_broken(self, now: float, why: str) -> list[ReportEvent]:
        """Revise the verdict on a verified freeze, since its window broke.

        Args:
            now: the time.
            why: one sentence.
        """
        if self.verdict is None or self.verdict.kind is not OutcomeKind.VERIFIED:
            return []
        return [self._revised(now, based_on(self._facts(now), OutcomeKind.BROKEN, why))]

    def holdable(self) -> bool:
        """Return whether a window is worth holding after this verdict."""
        kind = self.verdict.kind if self.verdict else None
        strict = self._plan.strict and kind is OutcomeKind.UNVERIFIED
        frozen = kind in (OutcomeKind.VERIFIED, OutcomeKind.UNVERIFIED) and not strict
        return frozen and not self.cancelled and self.seen.frozen is not None

    def on_thawed(
        self,
        now: float,
        report: ThawReport,
        window: Window | None,
        *,
        taken: bool,
        group_error: str | None,
    ) -> list[ReportEvent]:
        """Take the thaw's report, and conclude the final outcome.

        Args:
            now: the time.
            report: what the thaw came to.
            window: the window; None if there was none.
            taken: it was the holder's thaw: the window was not watched to its end, so that it can't
                be certified.
            group_error: why its group was not frozen together; None if it was, or is none.
        """
        report_events, watch = [], self._watch
        if self.verdict is None:
            never = self.seen.passed_over or watch.ever_closed
            report_events.append(
                self._concluded(now, judge_cancelled(self._facts(now), never=never))
            )
        assert self.verdict is not None
        vague, known = (Cause.CHANNEL_BROKEN, Cause.VM_GONE), (Cause.VM_GONE, Cause.MIGRATED)
        if self.verdict.cause in vague and watch.cause in known:
            self.verdict = self.verdict._replace(cause=watch.cause)  # why is known by now
        better = revised_by_thaw(self.verdict, report)
        if better is not self.verdict:
            report_events.append(self._revised(now, better))
        outcome = conclude(self.verdict, report, window, watch, now - self._schedule.sent_at)
        if outcome.settled and outcome.cause is None and watch.cause in ENDS:
            outcome = outcome._replace(cause=watch.cause)  # why no guest writes again
        if not outcome.settled:  # an agent that wakes up may run it yet
            outcome = outcome._replace(queued=self.seen.pending and report.stuck is Stuck.SILENT)
        if group_error is not None:
            outcome = apart(outcome, group_error)
        if self.asked_by is not None:
            reason = f"{outcome.reason}; ended early: {self.asked_by} has asked for it"
            outcome = outcome._replace(reason=reason)
        self.outcome = outcome._replace(certified=False) if taken else outcome
        return [*report_events, texts.ended(self.outcome)]

    @property
    def can_be_kept(self) -> bool:
        """Whether the window is worth to be left to the holder."""
        kind = self.verdict.kind if self.verdict is not None else None
        return kind is OutcomeKind.VERIFIED and not self.cancelled

    def on_kept(self, now: float, holder: int, ends_in_s: float) -> ReportEvent:
        """Conclude the outcome of a window that is left to the holder: nobody watches its end.

        Args:
            now: the time.
            holder: the holder's pid.
            ends_in_s: in how many seconds the holder thaws.
        """
        assert self.verdict is not None
        left = f"left to its holder (pid {holder}), which thaws it in {in_words(ends_in_s)}"
        reason = f"{self.verdict.reason}; {left}"
        kept = self.verdict._replace(reason=reason, holder=holder, kept=True, settled=False)
        self.outcome = self._dated(now, kept)
        return texts.ended(self.outcome)

    def _concluded(self, now: float, verdict: Outcome) -> ReportEvent:
        self.verdict = self._dated(now, verdict)
        return texts.verdict(self.verdict)

    def _revised(self, now: float, verdict: Outcome) -> ReportEvent:
        self.verdict = self._dated(now, verdict)
        return texts.revised(self.verdict)

    def _dated(self, now: float, verdict: Outcome) -> Outcome:
        return verdict._replace(seconds=round(now - self._schedule.sent_at, 3))

    def _facts(self, now: float) -> Facts:
        cancelled = self.cancelled
        return self.seen.facts(
            now, self._plan, self._watch, self._schedule.sent_at, cancelled=cancelled
        )
