"""The evidence for and against one freeze: each fact, and which way it points (P3). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agentclient.freeze.coverage import Coverage
from agentclient.model.outcome import Evidence, Outcome
from agentclient.model.states import Cause, EvidenceName, EvidenceResult, FreezeState

FOR, AGAINST, UNKNOWN = EvidenceResult.FOR, EvidenceResult.AGAINST, EvidenceResult.UNKNOWN


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen of one freeze; times in seconds of the monotonic clock.

    Attributes:
        now: when it is judged.
        replied_at: when the freeze's own answer came, None if it has not.
        frozen: its count; None if it was no number.
        error: the agent's own words, where it answered with an error.
        coverage: what should freeze, None if the guest could not tell.
        covered_at: when that was asked.
        status: the status asked again after the reply, None if not answered.
        status_at: when it was answered.
        port_closed: whether the port closed since the freeze was sent; None if it can't be seen.
        port_at: when the port was last looked at.
        port_uncounted: it can only be looked at, so that it may have closed between two looks.
        port_problem: why the port can't be seen.
        cause: why the port closed, as far as it is known.
        read: whether the agent read the freeze; None if that can't be seen.
        strict: whether full coverage is demanded.
        cancelled: the operator asked to stop waiting, so that a thaw is queued behind the freeze.
    """

    now: float
    replied_at: float | None = None
    frozen: int | None = None
    error: str | None = None
    coverage: Coverage | None = None
    covered_at: float = 0.0
    status: FreezeState | None = None
    status_at: float | None = None
    port_closed: bool | None = None
    port_at: float | None = None
    port_uncounted: bool = False
    port_problem: str | None = None
    cause: Cause | None = None
    read: bool | None = None
    strict: bool = False
    cancelled: bool = False


def evidence(facts: Facts) -> tuple[Evidence, ...]:
    """Return what `facts` say, each piece with its direction and its age."""
    return (_reply(facts), _coverage(facts), _status(facts), _port(facts), _read(facts))


def with_evidence(outcome: Outcome, *pieces: Evidence) -> Outcome:
    """Return `outcome` with `pieces` added, each in the place of an older one of its name."""
    names = {piece.name for piece in pieces}
    kept = tuple(piece for piece in outcome.evidence if piece.name not in names)
    return outcome._replace(evidence=kept + pieces)


def _age(facts: Facts, at: float | None) -> float | None:
    return None if at is None else round(max(0.0, facts.now - at), 3)


def _reply(facts: Facts) -> Evidence:
    age = _age(facts, facts.replied_at)
    if facts.replied_at is None:
        return Evidence(EvidenceName.REPLY, UNKNOWN, "the freeze was not answered", age)
    if facts.frozen is None:
        value = facts.error or "the answer is no number"
        return Evidence(EvidenceName.REPLY, AGAINST, value, age)
    return Evidence(EvidenceName.REPLY, FOR if facts.frozen > 0 else AGAINST, facts.frozen, age)


def _coverage(facts: Facts) -> Evidence:
    if facts.coverage is None:
        return Evidence(EvidenceName.COVERAGE, UNKNOWN, "the guest could not list file systems")
    age = _age(facts, facts.covered_at)
    if facts.coverage.problem is not None:
        return Evidence(EvidenceName.COVERAGE, UNKNOWN, facts.coverage.problem, age)
    expected, text = facts.coverage.expected, facts.coverage.text
    if facts.frozen is None:
        return Evidence(EvidenceName.COVERAGE, UNKNOWN, f"{expected} expected ({text})", age)
    value = f"{facts.frozen} of {expected} expected ({text})"
    strict_gap = facts.strict and not facts.coverage.full
    agrees = facts.frozen == expected and not strict_gap
    return Evidence(EvidenceName.COVERAGE, FOR if agrees else AGAINST, value, age)


def _status(facts: Facts) -> Evidence:
    if facts.status is None:
        return Evidence(EvidenceName.STATUS, UNKNOWN, "not answered")
    # Without the freeze's own reply the flag proves nothing (protocol §3.3).
    if facts.status is FreezeState.FROZEN:
        sound = facts.replied_at is not None and not facts.port_closed
        result = FOR if sound else UNKNOWN
    else:
        result = AGAINST
    return Evidence(EvidenceName.STATUS, result, str(facts.status), _age(facts, facts.status_at))


def _port(facts: Facts) -> Evidence:
    age = _age(facts, facts.port_at)
    if facts.port_closed is None:
        return Evidence(
            EvidenceName.PORT, UNKNOWN, facts.port_problem or "not looked at since", age
        )
    if facts.port_closed:
        value = "closed since the freeze was sent" + (f": {facts.cause}" if facts.cause else "")
        return Evidence(EvidenceName.PORT, AGAINST, value, age)
    value = "open since the freeze was sent"
    if facts.port_uncounted:
        value = "open at each look; a restart between two looks would not be seen"
    return Evidence(EvidenceName.PORT, FOR, value, age)


def _read(facts: Facts) -> Evidence:
    age = _age(facts, facts.port_at)
    if facts.read is None:
        return Evidence(EvidenceName.READ, UNKNOWN, "can't be seen", age)
    if facts.read:
        return Evidence(EvidenceName.READ, FOR, "the agent has read the freeze", age)
    if facts.replied_at is not None:
        # Who answers has read: the counter is not this agent's, or does not count.
        return Evidence(EvidenceName.READ, UNKNOWN, "not counted, though it was answered", age)
    return Evidence(EvidenceName.READ, AGAINST, "the agent has not read the freeze", age)
