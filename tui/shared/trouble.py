"""How urgently somebody should look at a VM."""

from __future__ import annotations

from agentclient.model.others_freeze import OthersFreeze, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, OutcomeKind, RunState
from tui.shared.newest_job import has_failed, is_less_than_consistent, newest_job
from tui.shared.verdict import verdict_of

_OUTCOME_TROUBLE = {
    OutcomeKind.PARTIAL: 0,
    OutcomeKind.LOST: 1,
    OutcomeKind.BROKEN: 2,
    OutcomeKind.TIMEOUT: 3,
    OutcomeKind.FAILED: 4,
    OutcomeKind.UNVERIFIED: 8,
}
_AGENT_TROUBLE = {
    AgentState.SILENT: 6,
    AgentState.BUSY: 9,
    AgentState.CLOSED: 9,
}
_RUN_TROUBLE = {RunState.PANICKED: 3, RunState.IO_ERROR: 3}
_NO_TROUBLE = 99
_GOES_ON = (
    7,
    9,
    10,
)  # something is in flight; its agent is not there, or busy; something is hidden


def severity(state: VmState) -> int:
    """Return how urgently somebody should look at a VM; the lowest is the most urgent."""
    verdict = verdict_of(state)
    left = (state.left_frozen or state.left_by) and state.progress is None
    found = [
        0 if left else _NO_TROUBLE,  # a person has to do something about it
        _OUTCOME_TROUBLE.get(verdict.kind, _NO_TROUBLE) if verdict else _NO_TROUBLE,
        8 if verdict is not None and verdict.without_group else _NO_TROUBLE,
        _AGENT_TROUBLE.get(state.agent.state, _NO_TROUBLE),
        _RUN_TROUBLE.get(state.run_state, _NO_TROUBLE),
        _others_trouble(state),
        7 if state.progress is not None or state.job is not None else _NO_TROUBLE,
        _job_trouble(state),
        10 if state.trouble else _NO_TROUBLE,
    ]
    return min(found)


_OTHERS_TROUBLE = {
    OthersFreeze.LOST: 5,
    OthersFreeze.FROZEN: 5,
    OthersFreeze.PENDING: 7,  # it goes on
}


def _others_trouble(state: VmState) -> int:
    word = others_freeze(state)
    if word is OthersFreeze.PENDING and state.others is not None and state.others.overdue:
        word = OthersFreeze.LOST  # as far as somebody has to look
    return _NO_TROUBLE if word is None else _OTHERS_TROUBLE[word]


def _job_trouble(state: VmState) -> int:
    """Return how urgent it is what copies have left, or what came of the last one."""
    if state.left_jobs or state.unended is not None:
        return 4
    ended = newest_job(state)
    if ended is None:
        return _NO_TROUBLE
    if has_failed(ended):
        return 4
    return 8 if is_less_than_consistent(ended) else _NO_TROUBLE


def needs_attention(state: VmState) -> bool:
    """Return whether a person should look at a VM: not what only goes on, or has no agent."""
    return severity(state) < _NO_TROUBLE and severity(state) not in _GOES_ON
