"""Which words stand for what is known of a VM now, the most urgent first. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from agentclient.model.durations import in_words
from agentclient.model.explanation import copies, states
from agentclient.model.explanation.entry import Explanation, Topic
from agentclient.model.explanation.evidence import in_direction
from agentclient.model.explanation.table import explanation
from agentclient.model.job import Consistency, JobResult
from agentclient.model.meaning import with_meaning
from agentclient.model.next_step import case_of, step_while_held, with_commands
from agentclient.model.others_freeze import OthersFreeze, others_freeze
from agentclient.model.outcome import Evidence, Outcome
from agentclient.model.snapshot import VmState
from agentclient.model.states import (
    AgentState,
    EvidenceResult,
    FreezeState,
    OperationKind,
    Phase,
    RunState,
)

# Words about which nothing is to be done; all others come first.
_CALM: Final = frozenset(
    {
        FreezeState.THAWED.value,
        AgentState.ALIVE.value,
        AgentState.OPEN.value,
        RunState.RUNNING.value,
        Consistency.CONSISTENT.value,
    }
)


class Present(NamedTuple):
    """A word that is true of a VM now.

    Attributes:
        explanation: what it means.
        seen: what was seen here, as a clause; empty if the word says it all.
        do: what to do about this VM, with its commands; empty for nothing.
        result: which way a piece of evidence points; None for all other words.
    """

    explanation: Explanation
    seen: str
    do: str
    result: EvidenceResult | None = None


def present(state: VmState) -> tuple[Present, ...]:
    """Return all words that are true of a VM now.

    Args:
        state: what is known of it.
    """
    parts = (_file_systems, _step, _outcome, _copies, _agent, _vm)
    found = [each for part in parts for each in part(state)]
    found.sort(key=lambda one: one.explanation.word in _CALM)
    return (*found, *_evidence(state))


def _entry(state: VmState, topic: Topic, word: str, seen: str = "") -> Present:
    found = explanation(topic, word)
    return Present(found, seen, with_commands(found.do, state.vm) or "")


def _file_systems(state: VmState) -> Iterator[Present]:
    word, seen = _frozen_word(state)
    found = _entry(state, Topic.FILE_SYSTEMS, word, seen)
    if state.held_by is not None and word != states.LEFT:
        found = found._replace(do=step_while_held(state.held_by, state.vm))
    yield found


def _frozen_word(state: VmState) -> tuple[str, str]:
    """Return the screen's word for a VM's file systems, and what was seen."""
    if state.left_by is not None:
        return states.LEFT, str(state.left_by)
    if state.progress is None and state.left_frozen and state.last is not None:
        return states.MAYBE_FROZEN, state.last.reason
    by = others_freeze(state)
    if by is OthersFreeze.FROZEN:
        who = state.freeze.by
        return states.FOREIGN, "" if who is None else f"by {who.in_full}, as it seems"
    if by is not None and state.others is not None:
        who = state.others.by
        return str(by), "" if who is None else f"by {who.in_full}"
    seen = "" if state.held_by is None else str(state.held_by)
    return str(state.freeze.state or states.UNKNOWN), seen


def _step(state: VmState) -> Iterator[Present]:
    if state.progress is not None:
        seen = f"waits for {state.progress.waiting_for}"
        yield _entry(state, Topic.STEP, state.progress.phase, seen)


def verdict_of(state: VmState) -> Outcome | None:
    """Return what came out of the freeze in flight, or else of the last one; None if nothing."""
    if state.progress is not None and state.progress.what == OperationKind.FREEZE:
        return state.progress.verdict
    return state.last


def _outcome(state: VmState) -> Iterator[Present]:
    outcome = verdict_of(state)
    if outcome is None:
        return
    progress = state.progress
    final = progress is None
    thawing = progress is not None and progress.phase is Phase.THAWING
    told = with_meaning(outcome, state.vm, final=final, thawing=thawing)
    meaning, case = told.meaning, case_of(outcome, final=final, thawing=thawing)
    word = str(outcome.kind) if outcome.refusal is not None else str(case)
    found = _entry(state, Topic.OUTCOME, word, outcome.reason)
    if meaning is not None:
        data = f"{meaning.copy} {meaning.guest}"
        found = found._replace(explanation=found.explanation._replace(data=data))
    yield found._replace(do=told.next or ("" if final else found.do))
    if outcome.refusal is not None:
        yield _entry(state, Topic.REFUSAL, outcome.refusal)
    if outcome.cause is not None:
        yield _entry(state, Topic.CAUSE, outcome.cause)
    if outcome.stuck is not None and not outcome.settled:
        yield _entry(state, Topic.STUCK, outcome.stuck)


def _evidence(state: VmState) -> Iterator[Present]:
    outcome = verdict_of(state)
    for piece in outcome.evidence if outcome is not None else ():
        yield _piece(state, piece)


def _piece(state: VmState, piece: Evidence) -> Present:
    found = in_direction(explanation(Topic.EVIDENCE, piece.name), piece.result)
    age = "" if piece.age_s is None else f"{in_words(piece.age_s)} before the verdict"
    seen = ", ".join(
        part for part in ("" if piece.value is None else str(piece.value), age) if part
    )
    return Present(found, seen, with_commands(found.do, state.vm) or "", piece.result)


def _copies(state: VmState) -> Iterator[Present]:
    if state.unended is not None:
        yield _entry(state, Topic.COPY, copies.NOT_ENDED, str(state.unended))
    if state.left_jobs:
        yield _entry(state, Topic.COPY, copies.LEFT_COPY, str(state.left_jobs[0]))
    if state.job is not None:
        yield _entry(state, Topic.COPY, copies.COPYING)
    elif state.last_job is not None:
        done = state.last_job
        word = str(done.result)
        if done.result is JobResult.COMPLETE:
            whole = done.consistency is Consistency.CONSISTENT
            word = Consistency.CONSISTENT if whole else Consistency.CRASH_CONSISTENT
        yield _entry(state, Topic.COPY, word, done.reason)._replace(do=done.next or "")


def _agent(state: VmState) -> Iterator[Present]:
    health = state.agent
    seen = f"known by {health.how}" + (f"; {health.detail}" if health.detail else "")
    yield _entry(state, Topic.AGENT, health.state, seen)


def _vm(state: VmState) -> Iterator[Present]:
    yield _entry(state, Topic.VM, state.run_state, state.trouble or "")
