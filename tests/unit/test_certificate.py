"""Is the window that was verified the one that was thawed?"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from agentclient.freeze.certificate import conclude, revised_by_thaw
from agentclient.freeze.port_watch import PortWatch
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.freeze.verdict import judge_lost, judge_reply
from agentclient.freeze.window import Window
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, EvidenceResult, FreezeState, OutcomeKind, RunState
from tests.unit.test_evidence import WHOLE

VERDICT = judge_reply(WHOLE)
REPORT = ThawReport(FreezeState.FROZEN, 2, None, True, "thawed 2", None)
UP = MonitorView(RunState.RUNNING, port_open=True, written_bytes=100)


def concluded(
    report: ThawReport = REPORT,
    verdict: Outcome = VERDICT,
    *,
    during: MonitorView | None = UP,
    window: bool = True,
    windows: bool = False,
) -> Outcome:
    """The conclusion on a window during which one look showed `during`."""
    watch = PortWatch(UP, 0.0)
    ticket = count(1).__next__
    opened = None
    if window:
        opened = Window(0.0, 5.0, watch, ticket, written_before=100, windows=windows)
    if during is not None:
        changes = watch.on_look(1.0, during)
        if opened is not None:
            opened.on_changes(1.0, changes)
    return conclude(verdict, report, opened, watch, 1.23456)


def results(outcome: Outcome) -> dict[str, EvidenceResult]:
    return {one.name: one.result for one in outcome.evidence}


def test_a_window_that_was_verified_and_thawed_as_it_was_is_certified() -> None:
    outcome = concluded()
    assert outcome.certified
    assert outcome.kind is OutcomeKind.VERIFIED
    assert (outcome.frozen, outcome.thawed, outcome.settled, outcome.seconds) == (2, 2, True, 1.235)
    assert outcome.next is None
    found = results(outcome)
    assert found["status-at-thaw"] is found["thaw"] is found["port"] is EvidenceResult.FOR
    assert found["writes"] is EvidenceResult.UNKNOWN  # none prove nothing


def test_in_the_end_it_is_said_that_it_was_frozen_and_is_thawed() -> None:
    reason = concluded().reason
    assert reason.startswith("frozen, then thawed: 2 file systems, coverage 2 of 3")
    never = concluded(replace(REPORT, count=None, reason="the VM has gone", sent=True))
    assert never.reason.startswith("it was frozen: 2 file systems")


LATE = "couldn't hold writes: fsfreeze is limited up to 10 seconds"


@pytest.mark.parametrize("windows", [True, False])
def test_a_thaw_that_was_answered_with_an_error_is_told(windows: bool) -> None:
    """On Windows writes were let go; elsewhere the thaw's hook has failed, behind a good thaw."""
    failed = replace(REPORT, count=None, error=LATE, reason=f"thawed; an error: {LATE}", sent=True)
    outcome = concluded(failed, windows=windows)
    assert outcome.kind is (OutcomeKind.BROKEN if windows else OutcomeKind.VERIFIED)
    assert (outcome.thawed, outcome.settled, outcome.certified) == (None, True, False)
    against, unknown = EvidenceResult.AGAINST, EvidenceResult.UNKNOWN
    assert results(outcome)["thaw"] is (against if windows else unknown)
    assert LATE in outcome.reason


def test_a_port_that_was_not_seen_until_the_end_is_no_proof() -> None:
    outcome = concluded(during=MonitorView(problem="monitor: the socket does not exist"))
    assert (outcome.kind, outcome.certified) == (OutcomeKind.VERIFIED, False)
    assert results(outcome)["port"] is EvidenceResult.UNKNOWN


@pytest.mark.parametrize(
    ("changes", "kind", "word"),
    [
        ({"before": FreezeState.THAWED}, OutcomeKind.BROKEN, "thawed just before"),
        ({"count": 1}, OutcomeKind.BROKEN, "1 of 2"),
        ({"count": 0}, OutcomeKind.BROKEN, "0 of 2"),
        ({"count": 3}, OutcomeKind.VERIFIED, "frozen, then thawed: 2 file systems"),
        ({"count": None, "error": "hook"}, OutcomeKind.VERIFIED, "it was frozen: 2 file systems"),
        ({"before": None}, OutcomeKind.VERIFIED, "frozen, then thawed: 2 file systems"),
    ],
)
def test_what_keeps_it_from_being_certified(
    changes: dict[str, Any], kind: OutcomeKind, word: str
) -> None:
    outcome = concluded(replace(REPORT, **changes))
    assert not outcome.certified
    assert outcome.kind is kind
    assert word in outcome.reason


@pytest.mark.parametrize(
    "kind", [one for one in OutcomeKind if one not in (OutcomeKind.VERIFIED, OutcomeKind.REFUSED)]
)
def test_only_a_verified_freeze_is_certified(kind: OutcomeKind) -> None:
    outcome = concluded(verdict=VERDICT._replace(kind=kind))
    assert (outcome.kind, outcome.certified) == (kind, False)


@pytest.mark.parametrize("written", [1, 512])
def test_writes_are_a_named_contradiction(written: int) -> None:
    outcome = concluded(during=UP._replace(written_bytes=100 + written))
    assert not outcome.certified
    (piece,) = (one for one in outcome.evidence if one.name == "writes")
    assert (piece.result, piece.value) == (EvidenceResult.AGAINST, written)


def test_writes_beside_what_was_chosen_are_no_contradiction() -> None:
    watch = PortWatch(UP, 0.0)
    window = Window(0.0, 5.0, watch, count(1).__next__, whole=False)
    window.on_changes(1.0, watch.on_look(1.0, UP._replace(written_bytes=612)))
    outcome = conclude(VERDICT, REPORT, window, watch, 1.0)
    assert results(outcome)["writes"] is EvidenceResult.UNKNOWN
    assert outcome.certified


def test_writes_that_cannot_be_seen_are_said_to_be_unseen() -> None:
    watch = PortWatch(UP._replace(written_bytes=None), 0.0)
    window = Window(0.0, 5.0, watch, count(1).__next__)
    outcome = conclude(VERDICT, REPORT, window, watch, 1.0)
    (piece,) = (one for one in outcome.evidence if one.name == "writes")
    assert (piece.result, piece.value) == (EvidenceResult.UNKNOWN, "can't be seen")
    assert outcome.certified


def test_a_port_that_closed_while_it_was_held_is_against_it() -> None:
    outcome = concluded(during=UP._replace(port_open=False))
    assert not outcome.certified
    (piece,) = (one for one in outcome.evidence if one.name == "port")
    assert piece.result is EvidenceResult.AGAINST
    assert Cause.AGENT_GONE in str(piece.value)


def test_evidence_against_the_verdict_is_enough() -> None:
    strange = VERDICT._replace(
        evidence=tuple(
            one._replace(result=EvidenceResult.AGAINST) if one.name == "read" else one
            for one in VERDICT.evidence
        ),
    )
    assert not concluded(verdict=strange).certified


def test_without_a_window_nothing_is_certified() -> None:
    outcome = concluded(window=False)
    assert not outcome.certified
    assert "writes" not in results(outcome)
    assert "status-at-thaw" not in results(outcome)
    assert results(outcome)["thaw"] is EvidenceResult.FOR


@pytest.mark.parametrize(
    ("count_", "settled", "thawed"),
    [(2, True, 2), (2, False, 2), (None, True, 0), (None, False, None), (0, True, 0)],
)
def test_the_thaws_count_is_null_only_where_it_was_never_acknowledged(
    count_: int | None, settled: bool, thawed: int | None
) -> None:
    assert concluded(replace(REPORT, count=count_, settled=settled)).thawed == thawed


def test_a_thaw_that_failed_is_told_loudly_with_the_next_step() -> None:
    report = ThawReport(None, None, None, False, "THE GUEST MAY STILL BE FROZEN", "do this")
    outcome = concluded(report)
    assert (outcome.settled, outcome.next, outcome.certified) == (False, "do this", False)
    assert outcome.reason.endswith("; THE GUEST MAY STILL BE FROZEN")
    assert results(outcome)["thaw"] is EvidenceResult.UNKNOWN


def test_a_thaws_count_without_the_freezes_own_proves_nothing() -> None:
    outcome = concluded(verdict=VERDICT._replace(kind=OutcomeKind.LOST, frozen=None))
    assert results(outcome)["thaw"] is EvidenceResult.UNKNOWN


# -- what the thaw teaches about a lost freeze ----------------------------------------------------

LOST = judge_lost(replace(WHOLE, replied_at=None, frozen=None, status=None), "gone")


@pytest.mark.parametrize(
    ("before", "count_", "kind"),
    [
        (FreezeState.FROZEN, None, OutcomeKind.PARTIAL),
        (FreezeState.THAWED, 1, OutcomeKind.PARTIAL),
        (None, 2, OutcomeKind.PARTIAL),
        (FreezeState.THAWED, 0, OutcomeKind.LOST),
        (FreezeState.THAWED, None, OutcomeKind.LOST),
        (None, None, OutcomeKind.LOST),
    ],
)
def test_a_lost_freeze_of_which_something_was_found_frozen_is_partial(
    before: FreezeState | None, count_: int | None, kind: OutcomeKind
) -> None:
    assert revised_by_thaw(LOST, ThawReport(before, count_, None, True, "", None)).kind is kind


def test_a_half_freeze_that_was_thawed_is_not_said_to_be_frozen_still() -> None:
    half = VERDICT._replace(kind=OutcomeKind.PARTIAL, reason="some may be frozen")
    assert concluded(verdict=half).reason == "some may be frozen; thawed 2"
    gone = replace(REPORT, count=None, before=None, reason="the VM has gone")
    assert concluded(gone, half).reason == "some may be frozen; the VM has gone"
    failed = replace(REPORT, settled=False, reason="it did not answer")
    assert concluded(failed, half).reason == "some may be frozen; it did not answer"


def test_only_a_lost_freeze_can_learn() -> None:
    for kind in set(OutcomeKind) - {OutcomeKind.LOST}:
        verdict = LOST._replace(kind=kind)
        assert revised_by_thaw(verdict, REPORT) is verdict
