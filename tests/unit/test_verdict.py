"""Promise P3 as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.freeze.coverage import Coverage
from agentclient.freeze.evidence import Facts
from agentclient.freeze.verdict import (
    LEVELS,
    already_frozen,
    judge_cancelled,
    judge_error,
    judge_late,
    judge_lost,
    judge_nothing,
    judge_reply,
    judge_timeout,
    refused,
)
from agentclient.model.meaning import with_meaning
from agentclient.model.outcome import FileSystem
from agentclient.model.states import Cause, EvidenceResult, FreezeState, OutcomeKind, Refusal
from agentclient.model.vm import Vm, VmId
from tests.unit.test_evidence import COVERAGE, WHOLE

VERIFIED, UNVERIFIED, PARTIAL = OutcomeKind.VERIFIED, OutcomeKind.UNVERIFIED, OutcomeKind.PARTIAL
FULL = Coverage(COVERAGE.file_systems[:2])
NEVER = replace(WHOLE, replied_at=None, frozen=None)


def changed(changes: dict[str, Any], facts: Facts = WHOLE) -> Facts:
    return replace(facts, **changes)


def test_all_of_it_is_verified_and_names_what_is_not_covered() -> None:
    outcome = judge_reply(WHOLE)
    assert (outcome.kind, outcome.frozen, outcome.coverage) == (VERIFIED, 2, "2 of 3")
    assert outcome.not_covered == (FileSystem("vda15", "/boot/efi", "vfat"),)
    assert "vda15 (vfat at /boot/efi)" in outcome.reason
    assert not outcome.certified
    assert not outcome.settled
    assert outcome.thawed is None
    assert len(outcome.evidence) == 5


@pytest.mark.parametrize(
    ("changes", "kind", "word"),
    [
        # What is missing
        ({"frozen": None}, UNVERIFIED, "no number"),
        ({"coverage": None}, UNVERIFIED, "not known"),
        ({"status": None}, UNVERIFIED, "status"),
        ({"port_closed": None}, UNVERIFIED, "not looked at since"),
        ({"port_closed": None, "port_problem": "it is busy"}, UNVERIFIED, "it is busy"),
        ({"frozen": 3}, UNVERIFIED, "have changed"),
        ({"cancelled": True}, UNVERIFIED, "cancelled"),
        ({"strict": True}, UNVERIFIED, "strict"),
        # What is contrary
        ({"frozen": 1}, PARTIAL, "1 of the 2"),
        ({"status": FreezeState.THAWED}, PARTIAL, "then said thawed"),
        ({"port_closed": True}, PARTIAL, "port closed"),
        ({"port_closed": True, "cause": Cause.AGENT_RESTARTED}, PARTIAL, "agent-restarted"),
        # What is contrary outweighs what is missing
        ({"port_closed": True, "status": None, "coverage": None}, PARTIAL, "port closed"),
        ({"status": FreezeState.THAWED, "port_closed": None}, PARTIAL, "thawed"),
        ({"frozen": 1, "strict": True, "cancelled": True}, PARTIAL, "1 of the 2"),
        # What neither makes nor breaks it
        ({"read": None}, VERIFIED, "2 file systems"),
        ({"read": False}, VERIFIED, "2 file systems"),
        ({"coverage": FULL, "strict": True}, VERIFIED, "2 of 2"),
    ],
)
def test_the_table(changes: dict[str, Any], kind: OutcomeKind, word: str) -> None:
    outcome = judge_reply(changed(changes))
    assert outcome.kind is kind
    assert word in outcome.reason
    assert not outcome.settled


MAYBE = st.sampled_from([None, 0, 1, 2, 3])
FACTS = st.builds(
    Facts,
    now=st.just(100.0),
    replied_at=st.sampled_from([None, 98.0]),
    frozen=MAYBE,
    coverage=st.sampled_from([None, Coverage(()), COVERAGE, FULL]),
    status=st.sampled_from([None, FreezeState.FROZEN, FreezeState.THAWED]),
    port_closed=st.sampled_from([None, True, False]),
    cause=st.sampled_from([None, Cause.AGENT_GONE, Cause.GUEST_PANICKED]),
    read=st.sampled_from([None, True, False]),
    strict=st.booleans(),
    cancelled=st.booleans(),
)


ANY_FACTS = FACTS.map(lambda one: replace(one, frozen=one.frozen if one.replied_at else None))


def proven(facts: Facts) -> bool:
    """P3, said once more and differently."""
    if facts.coverage is None or facts.frozen is None:
        return False
    kinds = [one.kind for one in facts.coverage.file_systems]
    return (
        facts.frozen == sum(kind != "vfat" for kind in kinds)
        and facts.status == "frozen"
        and facts.port_closed is False
        and not facts.cancelled
        and not (facts.strict and "vfat" in kinds)
    )


@given(ANY_FACTS)
def test_verified_is_exactly_what_p3_says(facts: Facts) -> None:
    if facts.frozen == 0 and facts.coverage == Coverage(()):
        return  # 0 never comes here: see test_nothing_is_no_freeze
    outcome = judge_reply(facts)
    assert (outcome.kind is VERIFIED) is proven(facts)
    assert outcome.kind in (VERIFIED, UNVERIFIED, PARTIAL)
    if outcome.kind is VERIFIED:
        results = {one.name: one.result for one in outcome.evidence}
        results.pop("read")
        assert set(results.values()) == {EvidenceResult.FOR}


@given(ANY_FACTS, st.sampled_from([None, OutcomeKind.LOST, OutcomeKind.TIMEOUT, PARTIAL]))
def test_no_other_judgement_says_verified(facts: Facts, before: OutcomeKind | None) -> None:
    judged = [
        judge_error(facts, "x"),
        judge_lost(facts, "x"),
        judge_timeout(facts, 5.0),
        judge_nothing(facts),
        judge_cancelled(facts, never=True),
        judge_cancelled(facts, never=False),
        judge_late(facts, before, "x"),
    ]
    if before is not None:
        judged.append(judge_late(facts, before, None))
    assert all(outcome.kind is not VERIFIED for outcome in judged)
    assert all(not outcome.certified for outcome in judged)


def test_nothing_is_no_freeze() -> None:
    outcome = judge_nothing(replace(WHOLE, frozen=0))
    assert (outcome.kind, outcome.frozen, outcome.settled) == (OutcomeKind.FAILED, 0, False)


# -- coverage -------------------------------------------------------------------------------


def test_a_list_that_cannot_be_relied_on_is_unverified_whatever_it_counts() -> None:
    cut = replace(COVERAGE, problem="its list has 4097 entries, more than 4096")
    for frozen in (1, 2, 3):
        outcome = judge_reply(replace(WHOLE, coverage=cut, frozen=frozen))
        assert (outcome.kind, outcome.coverage) == (UNVERIFIED, None)
        assert "4097 entries" in outcome.reason
        found = {piece.name: piece.result for piece in outcome.evidence}
        assert found["coverage"] is EvidenceResult.UNKNOWN


def test_a_bare_disk_is_told_and_matters_where_all_is_demanded() -> None:
    bare = replace(FULL, disks=("vdb",))
    outcome = judge_reply(replace(WHOLE, coverage=bare))
    assert (outcome.kind, outcome.coverage) == (VERIFIED, bare.text)
    assert "vdb is not covered by any" in outcome.reason
    strict = judge_reply(replace(WHOLE, coverage=bare, strict=True))
    assert strict.kind is UNVERIFIED
    assert "vdb is not covered by any" in strict.reason


def test_what_is_mounted_over_is_named_with_its_why() -> None:
    over = FileSystem("vdc", "/data", "ext4")
    stacked = Coverage((over, *FULL.file_systems))
    outcome = judge_reply(replace(WHOLE, coverage=stacked, frozen=stacked.expected))
    assert outcome.kind is VERIFIED
    assert "mounted over it: vdb (ext4 at /data)" in outcome.reason


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "port_closed", "kind"),
    [
        (FreezeState.THAWED, False, OutcomeKind.FAILED),
        (None, False, OutcomeKind.FAILED),
        (FreezeState.FROZEN, True, OutcomeKind.PARTIAL),
        (FreezeState.FROZEN, False, OutcomeKind.PARTIAL),
        (FreezeState.FROZEN, None, OutcomeKind.PARTIAL),
    ],
)
def test_an_error_is_a_failure_and_what_is_frozen_after_it_is_ours(
    status: FreezeState | None, port_closed: bool | None, kind: OutcomeKind
) -> None:
    facts = replace(WHOLE, frozen=None, status=status, port_closed=port_closed)
    outcome = judge_error(facts, "GenericError: the hook failed")
    assert outcome.kind is kind
    assert "the hook failed" in outcome.reason
    assert not outcome.settled, "it was sent, so a thaw follows"


def test_a_foreign_freeze_is_refused_with_a_warning_about_its_window() -> None:
    outcome = already_frozen()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.ALREADY_FROZEN)
    told = with_meaning(outcome, Vm(VmId("qemu", "web1"))).next
    assert told is not None
    assert "window" in told
    assert "frostwatch thaw --foreign qemu:web1" in told


def test_what_was_not_sent_needs_no_thaw() -> None:
    outcome = refused(Refusal.LOCKED, "why", "what to do")
    assert (outcome.kind, outcome.refusal, outcome.reason) == (
        OutcomeKind.REFUSED,
        Refusal.LOCKED,
        "why",
    )
    assert (outcome.thawed, outcome.settled, outcome.next) == (0, True, "what to do")


# -- no answer --------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", [*Cause])
def test_a_lost_freeze_names_its_cause(cause: Cause) -> None:
    outcome = judge_lost(replace(NEVER, status=None, port_closed=True, cause=cause), "how")
    assert (outcome.kind, outcome.cause, outcome.frozen) == (OutcomeKind.LOST, cause, None)
    assert f"no answer will come ({cause}): how" in outcome.reason


def test_a_lost_freeze_without_a_cause_is_unknown() -> None:
    assert judge_lost(replace(NEVER, status=None), "how").cause is Cause.UNKNOWN


@pytest.mark.parametrize("port_closed", [True, False, None])
def test_frozen_without_the_freezes_own_reply_is_partial_at_best(port_closed: bool | None) -> None:
    outcome = judge_lost(replace(NEVER, port_closed=port_closed), "how")
    assert outcome.kind is PARTIAL
    assert "proves nothing" in outcome.reason


def test_thawed_without_the_freezes_own_reply_is_lost() -> None:
    facts = replace(NEVER, status=FreezeState.THAWED, port_closed=True)
    assert judge_lost(facts, "how").kind is OutcomeKind.LOST


def test_a_port_lost_after_the_reply_is_partial() -> None:
    assert judge_lost(WHOLE, "how").kind is PARTIAL


def test_a_timeout_says_how_long_and_that_nothing_is_known() -> None:
    outcome = judge_timeout(NEVER, 3600.0)
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert "1 h" in outcome.reason
    assert "not known" in outcome.reason


@pytest.mark.parametrize(
    ("never", "kind"), [(True, OutcomeKind.LOST), (False, OutcomeKind.TIMEOUT)]
)
def test_a_cancelled_freeze_is_lost_only_if_no_answer_can_come(
    never: bool, kind: OutcomeKind
) -> None:
    outcome = judge_cancelled(replace(NEVER, status=None, cancelled=True), never=never)
    assert outcome.kind is kind
    assert "cancelled" in outcome.reason


# -- late answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "changes", "error", "kind"),
    [
        (None, {}, None, VERIFIED),
        (None, {"cancelled": True}, None, UNVERIFIED),
        (None, {}, "hook", OutcomeKind.FAILED),
        (None, {"frozen": 0}, None, OutcomeKind.FAILED),
        (OutcomeKind.TIMEOUT, {}, None, OutcomeKind.TIMEOUT),
        (OutcomeKind.TIMEOUT, {}, "hook", OutcomeKind.FAILED),
        (OutcomeKind.TIMEOUT, {"frozen": 0}, None, OutcomeKind.FAILED),
        (OutcomeKind.LOST, {}, None, PARTIAL),
        (OutcomeKind.LOST, {}, "hook", OutcomeKind.FAILED),
        (PARTIAL, {}, None, PARTIAL),
    ],
)
def test_a_late_answer(
    before: OutcomeKind | None, changes: dict[str, Any], error: str | None, kind: OutcomeKind
) -> None:
    outcome = judge_late(changed(changes), before, error)
    assert outcome.kind is kind
    assert outcome.frozen == changes.get("frozen", 2)


def test_each_outcome_has_a_level() -> None:
    assert set(LEVELS) == set(OutcomeKind)
