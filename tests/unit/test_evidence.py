"""Which way each piece of evidence points."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentclient.freeze.coverage import Coverage
from agentclient.freeze.evidence import Facts, evidence, with_evidence
from agentclient.model.outcome import Evidence, FileSystem, Outcome
from agentclient.model.states import (
    Cause,
    EvidenceName,
    EvidenceResult,
    FreezeState,
    OutcomeKind,
)

FOR, AGAINST, UNKNOWN = EvidenceResult.FOR, EvidenceResult.AGAINST, EvidenceResult.UNKNOWN
COVERAGE = Coverage(
    (
        FileSystem("vda1", "/", "ext4"),
        FileSystem("vdb", "/data", "ext4"),
        FileSystem("vda15", "/boot/efi", "vfat"),
    )
)
WHOLE = Facts(
    now=100.0,
    replied_at=98.0,
    frozen=2,
    coverage=COVERAGE,
    covered_at=90.0,
    status=FreezeState.FROZEN,
    status_at=99.0,
    port_closed=False,
    port_at=99.5,
    read=True,
)


def piece(name: EvidenceName, facts: Facts) -> Evidence:
    (found,) = (one for one in evidence(facts) if one.name == name)
    return found


def test_the_whole_proof() -> None:
    assert evidence(WHOLE) == (
        Evidence("reply", FOR, 2, 2.0),
        Evidence("coverage", FOR, "2 of 2 expected (2 of 3)", 10.0),
        Evidence("status", FOR, "frozen", 1.0),
        Evidence("port", FOR, "open since the freeze was sent", 0.5),
        Evidence("read", FOR, "the agent has read the freeze", 0.5),
    )


def test_nothing_seen_is_nothing_known() -> None:
    pieces = evidence(Facts(now=5.0))
    assert [one.result for one in pieces] == [UNKNOWN] * 5
    assert [one.age_s for one in pieces] == [None] * 5


@pytest.mark.parametrize(
    ("name", "changes", "result", "value"),
    [
        ("reply", {"replied_at": None, "frozen": None}, UNKNOWN, "the freeze was not answered"),
        ("reply", {"frozen": None}, AGAINST, "the answer is no number"),
        ("reply", {"frozen": 0}, AGAINST, 0),
        ("reply", {"frozen": 1}, FOR, 1),
        ("coverage", {"coverage": None}, UNKNOWN, "the guest could not list file systems"),
        ("coverage", {"frozen": None}, UNKNOWN, "2 expected (2 of 3)"),
        ("coverage", {"frozen": 1}, AGAINST, "1 of 2 expected (2 of 3)"),
        ("coverage", {"frozen": 3}, AGAINST, "3 of 2 expected (2 of 3)"),
        ("coverage", {"strict": True}, AGAINST, "2 of 2 expected (2 of 3)"),
        ("status", {"status": None}, UNKNOWN, "not answered"),
        ("status", {"status": FreezeState.THAWED}, AGAINST, "thawed"),
        ("status", {"replied_at": None}, UNKNOWN, "frozen"),
        ("status", {"port_closed": True}, UNKNOWN, "frozen"),
        ("status", {"port_closed": None}, FOR, "frozen"),
        ("port", {"port_closed": None}, UNKNOWN, "not looked at since"),
        ("port", {"port_closed": None, "port_problem": "it is busy"}, UNKNOWN, "it is busy"),
        ("port", {"port_closed": True}, AGAINST, "closed since the freeze was sent"),
        (
            "port",
            {"port_closed": True, "cause": Cause.GUEST_RESET},
            AGAINST,
            "closed since the freeze was sent: guest-reset",
        ),
        ("read", {"read": None}, UNKNOWN, "can't be seen"),
        ("read", {"read": False, "replied_at": None}, AGAINST, "the agent has not read the freeze"),
        ("read", {"read": False}, UNKNOWN, "not counted, though it was answered"),
    ],
)
def test_each_piece(
    name: str, changes: dict[str, Any], result: EvidenceResult, value: object
) -> None:
    found = piece(EvidenceName(name), replace(WHOLE, **changes))
    assert (found.result, found.value) == (result, value)


def test_strict_is_content_with_full_coverage() -> None:
    full = Coverage(COVERAGE.file_systems[:2])
    assert piece(EvidenceName.COVERAGE, replace(WHOLE, coverage=full, strict=True)).result is FOR


def test_an_age_is_never_negative() -> None:
    assert piece(EvidenceName.REPLY, replace(WHOLE, replied_at=100.5)).age_s == 0.0


def test_a_newer_piece_takes_the_place_of_an_older_one_of_its_name() -> None:
    old = Outcome(
        OutcomeKind.VERIFIED, "", evidence=(Evidence("port", FOR), Evidence("reply", FOR, 2))
    )
    new = with_evidence(old, Evidence("port", AGAINST), Evidence("thaw", FOR))
    assert [(one.name, one.result) for one in new.evidence] == [
        ("reply", FOR),
        ("port", AGAINST),
        ("thaw", FOR),
    ]
    assert old.evidence[0].result is FOR
