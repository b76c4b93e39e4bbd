"""The verdict: from the facts of one freeze to its outcome, promise P3 as pure functions.

*Verified* needs all of it: the freeze's own positive reply, that number equal to the devices that
should freeze, status ``frozen`` asked again after it, and a port that has not closed since the
freeze was sent. What speaks against is *partial*, what is merely missing *unverified*.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agentclient.freeze.coverage import Coverage, count
from agentclient.freeze.evidence import Facts, evidence
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.model.durations import in_words
from agentclient.model.outcome import Outcome
from agentclient.model.states import Cause, FreezeState, Level, OutcomeKind, Refusal

LEVELS: Final = {
    OutcomeKind.VERIFIED: Level.GOOD,
    OutcomeKind.UNVERIFIED: Level.WARNING,
    OutcomeKind.PARTIAL: Level.ERROR,
    OutcomeKind.LOST: Level.ERROR,
    OutcomeKind.TIMEOUT: Level.ERROR,
    OutcomeKind.REFUSED: Level.WARNING,
    OutcomeKind.FAILED: Level.ERROR,
    OutcomeKind.BROKEN: Level.ERROR,
}
FROZEN: Final = "frozen: "
HALF: Final = "some file systems may be frozen, others not"


def refused(refusal: Refusal, reason: str, next_step: str | None = None) -> Outcome:
    """Return the outcome of a freeze that was not sent.

    Args:
        refusal: why, in one word.
        reason: why, one sentence for a person.
        next_step: what a person should do; None for what the tables say.
    """
    return Outcome(OutcomeKind.REFUSED, reason, refusal, thawed=0, next=next_step, settled=True)


def already_frozen() -> Outcome:
    """Return the refusal of a guest that is frozen by somebody else: thawing would break it.

    Only for a freeze that was not sent: once it was, what is frozen may be ours.
    """
    reason = "the guest is frozen already, and not provably by us (foreign)"
    return refused(Refusal.ALREADY_FROZEN, reason)


def judge_reply(facts: Facts) -> Outcome:
    """Return the verdict on a freeze that was answered with a positive number, or with none."""
    kind, reason = _judge(facts)
    return based_on(facts, kind, reason)


def judge_nothing(facts: Facts) -> Outcome:
    """Return the verdict on a freeze that was answered with 0."""
    reason = "the agent froze nothing; its freeze hook has run, so a thaw follows"
    return based_on(facts, OutcomeKind.FAILED, reason)


def judge_error(facts: Facts, error: str) -> Outcome:
    """Return the verdict on a freeze that was answered with an error.

    On the same channel the agent had said thawed just before it, so that what it calls frozen now
    is our freeze's doing: it is thawed, as after any freeze that was sent (P4).

    Args:
        facts: what was seen.
        error: the agent's words.
    """
    reason = f"the agent answered with an error: {error}"
    if facts.status is FreezeState.FROZEN:
        return based_on(facts, OutcomeKind.PARTIAL, f"{reason}; then it said frozen: {HALF}")
    return based_on(facts, OutcomeKind.FAILED, reason)


def judge_lost(facts: Facts, how: str) -> Outcome:
    """Return the verdict on a freeze that will not be answered any more.

    Args:
        facts: what was seen.
        how: how that is known, one clause.
    """
    cause = facts.cause or Cause.UNKNOWN
    facts = replace(facts, cause=cause)
    if facts.replied_at is not None:
        return judge_reply(replace(facts, port_closed=True))
    if facts.status is FreezeState.FROZEN:
        reason = f"{how} ({cause}); an agent says frozen, but that proves nothing: {HALF}"
        return based_on(facts, OutcomeKind.PARTIAL, reason)
    return based_on(facts, OutcomeKind.LOST, f"no answer will come ({cause}): {how}")


def judge_timeout(facts: Facts, waited_s: float) -> Outcome:
    """Return the verdict on a freeze whose schedule is over.

    Args:
        facts: what was seen.
        waited_s: seconds that it was waited for.
    """
    reason = f"no answer within {in_words(waited_s)}: what it froze, if anything, is not known"
    return based_on(facts, OutcomeKind.TIMEOUT, reason)


def judge_cancelled(facts: Facts, *, never: bool) -> Outcome:
    """Return the verdict on a cancelled freeze that was not answered.

    Args:
        facts: what was seen.
        never: it is known that no answer will come.
    """
    if never:
        return judge_lost(facts, "cancelled; the freeze was not answered, and will not be")
    reason = "cancelled before an answer: what it froze, if anything, is not known"
    return based_on(facts, OutcomeKind.TIMEOUT, reason)


def judge_late(facts: Facts, before: OutcomeKind | None, error: str | None) -> Outcome:
    """Return the verdict on a freeze whose answer came after the verdict, or the cancellation.

    Args:
        facts: what was seen, the answer included.
        before: the verdict that is revised; None if there was none.
        error: the answer, where it was an error.
    """
    if error is not None:
        return based_on(facts, OutcomeKind.FAILED, f"answered late, with an error: {error}")
    if facts.frozen == 0:
        return judge_nothing(facts)
    if before is None:
        return judge_reply(facts)
    if before is OutcomeKind.TIMEOUT:
        reason = f"answered after the bound: {count(facts.frozen)} frozen"
        return based_on(facts, OutcomeKind.TIMEOUT, reason)
    return judge_reply(replace(facts, port_closed=True))


def based_on(facts: Facts, kind: OutcomeKind, reason: str) -> Outcome:
    """Return an outcome of `kind`, for `reason`, with all the evidence that `facts` hold.

    Args:
        facts: what was seen.
        kind: the outcome in one word.
        reason: one sentence for a person.
    """
    coverage = facts.coverage
    known = coverage is not None and coverage.problem is None
    return Outcome(
        kind,
        reason,
        cause=facts.cause,
        frozen=facts.frozen,
        coverage=coverage.text if coverage and known else None,
        not_covered=coverage.not_covered if coverage else (),
        evidence=evidence(facts),
    )


def apart(outcome: Outcome, why: str) -> Outcome:
    """Return the outcome of a freeze whose group was not frozen together.

    Args:
        outcome: what came of the freeze by itself.
        why: why the group was not, as a clause.
    """
    reason = f"{outcome.reason}; its group was not frozen together: {why}"
    return outcome._replace(certified=False, not_together=True, reason=reason)


def _judge(facts: Facts) -> tuple[OutcomeKind, str]:
    against = _against(facts)
    if against:
        return OutcomeKind.PARTIAL, against
    missing = _missing(facts)
    if missing:
        return OutcomeKind.UNVERIFIED, missing
    assert facts.coverage is not None
    tail = _not_covered(facts.coverage)
    return (
        OutcomeKind.VERIFIED,
        f"{FROZEN}{count(facts.frozen)}, coverage {facts.coverage.text}{tail}",
    )


def _not_covered(coverage: Coverage) -> str:
    return f"; not covered: {coverage.gaps}" if coverage.gaps else ""


def _against(facts: Facts) -> str | None:
    if facts.port_closed:
        why = f" ({facts.cause})" if facts.cause else ""
        return (
            f"the agent's port closed after the freeze was sent{why}: some file systems may not "
            "be frozen, whatever the agent says"
        )
    if facts.status is FreezeState.THAWED:
        return "the agent answered the freeze with success, and then said thawed"
    listed = facts.coverage is not None and facts.coverage.problem is None
    expected = facts.coverage.expected if facts.coverage and listed else 0
    if facts.frozen is not None and facts.frozen < expected:
        return f"frozen: {facts.frozen} of the {count(expected)} that can freeze"
    return None


def _missing(facts: Facts) -> str | None:
    if facts.frozen is None:
        return "the freeze's answer is no number"
    if facts.cancelled:
        return f"the wait was cancelled: {count(facts.frozen)} frozen, then thawed"
    if facts.coverage is None:
        return "the guest's file systems are not known, so the count can't be checked"
    if facts.coverage.problem is not None:
        problem = facts.coverage.problem
        return f"what should freeze is not known, so the count can't be checked: {problem}"
    if facts.frozen > facts.coverage.expected:
        return (
            f"frozen: {count(facts.frozen)} where {facts.coverage.expected} were expected: "
            "the guest's mounts have changed"
        )
    if facts.status is None:
        return "the agent did not answer the status asked after the freeze"
    if facts.port_closed is None:
        if facts.port_problem is None:
            return "the agent's port was not looked at since"
        return f"the agent's port can't be seen ({facts.port_problem})"
    if facts.strict and not facts.coverage.full:
        return f"strict: coverage is {facts.coverage.text}{_not_covered(facts.coverage)}"
    return None


def ended_by_a_bug(reason: str, report: ThawReport, seconds: float) -> Outcome:
    """Return the outcome of a freeze that a bug of ours has ended.

    Args:
        reason: what failed, as a clause.
        report: what came of the thaw that followed.
        seconds: how long all of it took.
    """
    return Outcome(
        OutcomeKind.FAILED,
        f"{reason}; {report.reason}",
        thawed=report.thawed,
        seconds=round(seconds, 3),
        next=report.next,
        stuck=report.stuck,
        holder=report.holder,
        settled=report.settled,
    )
