"""The final outcome of a freeze: was what was verified still so when it was thawed? Pure.

*Certified* needs a window that was verified, the status just before the thaw, a thaw's count that
equals the freeze's, a port that never closed, and nothing that speaks against (P3).
"""

from __future__ import annotations

from typing import Final

from agentclient.freeze.coverage import count
from agentclient.freeze.evidence import with_evidence
from agentclient.freeze.port_watch import PortWatch
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.freeze.verdict import FROZEN, HALF
from agentclient.freeze.window import Window
from agentclient.model.outcome import Evidence, Outcome
from agentclient.model.states import (
    Cause,
    EvidenceName,
    EvidenceResult,
    FreezeState,
    OutcomeKind,
)

THEN_THAWED: Final = "frozen, then thawed: "
WAS_FROZEN: Final = "it was frozen: "


def conclude(
    verdict: Outcome,
    report: ThawReport,
    window: Window | None,
    watch: PortWatch,
    seconds: float,
) -> Outcome:
    """Return the final outcome of a freeze that was sent.

    Args:
        verdict: what was concluded before the thaw.
        report: what the thaw found.
        window: the window, None if there was none.
        watch: the port.
        seconds: how long it took from the freeze's sending.
    """
    windows = window is not None and window.windows
    pieces = [_thaw(verdict.frozen, report, windows=windows)]
    if window is not None:
        verdict = _window_judged(verdict, report, windows=windows)
        pieces = _window_evidence(window, watch, report) + pieces
    outcome = with_evidence(verdict, *pieces)
    certified = window is not None and _certified(outcome, report, window, watch)
    return outcome._replace(
        thawed=report.thawed,
        certified=certified,
        seconds=round(seconds, 3),
        next=report.next,
        stuck=report.stuck,
        holder=report.holder,
        settled=report.settled,
        reason=_reason(outcome, report),
    )


def _reason(outcome: Outcome, report: ThawReport) -> str:
    """Return the final reason: the verdict's, in the past tense, and the thaw's where it adds."""
    said = _past(outcome, report) if report.settled else outcome.reason
    failed = report.error is not None and outcome.kind is not OutcomeKind.BROKEN
    told = failed or outcome.cause is Cause.MIGRATED  # and where it runs now
    if report.settled and outcome.kind is not OutcomeKind.PARTIAL and not told:
        return said
    return f"{said}; {report.reason}"


def _past(outcome: Outcome, report: ThawReport) -> str:
    """Return a verdict's reason in the past tense, now that nothing is frozen any more."""
    if outcome.kind is not OutcomeKind.VERIFIED:
        return outcome.reason
    if outcome.cause is None and report.count is not None:
        return outcome.reason.replace(FROZEN, THEN_THAWED, 1)
    return outcome.reason.replace(FROZEN, WAS_FROZEN, 1)


def revised_by_thaw(verdict: Outcome, report: ThawReport) -> Outcome:
    """Return the verdict on a lost freeze as *partial*, where something was found frozen after all.

    Args:
        verdict: what was concluded before the thaw.
        report: what the thaw found.
    """
    if verdict.kind is not OutcomeKind.LOST:
        return verdict
    if report.before is not FreezeState.FROZEN and not report.count:
        return verdict
    found = "the next agent says frozen"
    if report.before is not FreezeState.FROZEN:
        found = f"the thaw found {count(report.count)} frozen"
    reason = f"{verdict.reason}; {found}: {HALF}"
    return verdict._replace(kind=OutcomeKind.PARTIAL, reason=reason)


def _certified(outcome: Outcome, report: ThawReport, window: Window, watch: PortWatch) -> bool:
    return (
        outcome.kind is OutcomeKind.VERIFIED
        and report.settled
        and report.before is FreezeState.FROZEN
        and report.count == outcome.frozen
        and not watch.ever_closed
        and window.unseen is None
        and all(piece.result is not EvidenceResult.AGAINST for piece in outcome.evidence)
    )


def _status_at_thaw(report: ThawReport) -> Evidence:
    name = EvidenceName.STATUS_AT_THAW
    if report.before is None:
        return Evidence(name, EvidenceResult.UNKNOWN, "not answered")
    frozen = report.before is FreezeState.FROZEN
    result = EvidenceResult.FOR if frozen else EvidenceResult.AGAINST
    return Evidence(name, result, str(report.before))


def _thaw(frozen: int | None, report: ThawReport, *, windows: bool) -> Evidence:
    name = EvidenceName.THAW
    if report.count is None and report.error is not None and windows:
        return Evidence(name, EvidenceResult.AGAINST, report.error)
    if report.count is None:
        return Evidence(name, EvidenceResult.UNKNOWN, report.error or report.reason)
    if frozen is None:
        return Evidence(name, EvidenceResult.UNKNOWN, report.count)
    value = f"{report.count} of {frozen}"
    if report.repeated and report.count < frozen:
        # An agent that ended after our first thaw may have thawed the rest.
        value += ", after a thaw that died with its agent"
        return Evidence(name, EvidenceResult.UNKNOWN, value)
    result = EvidenceResult.FOR if report.count == frozen else EvidenceResult.AGAINST
    return Evidence(name, result, value)


def _window_judged(verdict: Outcome, report: ThawReport, *, windows: bool) -> Outcome:
    """Return the verdict as the thaw shows it to be."""
    if verdict.kind is not OutcomeKind.VERIFIED:
        return verdict
    how = None
    if report.before is FreezeState.THAWED:
        how = "the agent said thawed just before our thaw"
    elif windows and report.error is not None:
        # Elsewhere it is the thaw's hook that has failed, behind a thaw that has succeeded.
        how = f"the guest's thaw failed, so that its writes may have gone on: {report.error}"
    elif _short(verdict.frozen, report):
        how = f"the thaw counted {report.count} of {verdict.frozen}: somebody thawed in between"
    if how is None:
        return verdict
    return verdict._replace(kind=OutcomeKind.BROKEN, reason=f"the window was broken: {how}")


def _short(frozen: int | None, report: ThawReport) -> bool:
    """Whether somebody else must have thawed, since our own thaws can't explain the count."""
    return report.count is not None and report.count < (frozen or 0) and not report.repeated


def _window_evidence(window: Window, watch: PortWatch, report: ThawReport) -> list[Evidence]:
    pieces = [_status_at_thaw(report), _writes(window)]
    if watch.visible and watch.ever_closed:
        text = f"closed while the freeze was held: {watch.cause}"
        pieces.append(Evidence(EvidenceName.PORT, EvidenceResult.AGAINST, text))
    elif window.unseen is not None:
        text = f"not seen until the window's end ({window.unseen})"
        pieces.append(Evidence(EvidenceName.PORT, EvidenceResult.UNKNOWN, text))
    return pieces


def _writes(window: Window) -> Evidence:
    if window.written_bytes is None:
        return Evidence(EvidenceName.WRITES, EvidenceResult.UNKNOWN, "can't be seen")
    # No writes prove nothing on an idle guest (protocol §3.13); and where only some file systems
    # were to be frozen, the others write rightly.
    against = window.written_bytes > 0 and window.whole
    if window.unseen is not None and not against:
        return Evidence(EvidenceName.WRITES, EvidenceResult.UNKNOWN, "can't be seen to its end")
    result = EvidenceResult.AGAINST if against else EvidenceResult.UNKNOWN
    return Evidence(EvidenceName.WRITES, result, window.written_bytes)
