"""The orders in which the table can stand; every one ends with the name, so that it is total."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from agentclient.model.others_freeze import OthersFreeze, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, OutcomeKind, RunState
from agentclient.model.vm import VmId
from tui.console.model.longest_frozen import of_others
from tui.console.model.newest_job import has_failed, is_less_than_consistent, newest_job
from tui.console.model.tally import verdict_of, without_group

Key = tuple[Any, ...]

_NAME_LIMIT = 200
_DIGITS = re.compile(r"([0-9]+)")


class Order(StrEnum):
    """What the table is sorted by; the value is the id of the column that shows it.

    The first one is what a console begins with. It is trouble first: with a thousand VMs whatever
    needs somebody would stand on the twentieth screen otherwise, and where all is well the names
    decide anyway.
    """

    TROUBLE = "step"
    NAME = "name"
    FREEZE = "freeze"
    AGENT = "agent"

    @property
    def label(self) -> str:
        """What the operator is told."""
        return _LABELS[self]

    def next(self) -> Order:
        """Return the order after this one, round and round."""
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]

    def rank(self, state: VmState) -> Key:
        """Return what VMs are compared by before their names."""
        return _RANKS[self](state)

    def key(self, state: VmState) -> Key:
        """Return what VMs are compared by."""
        return (*self.rank(state), *by_name(state.id))


_LABELS = {
    Order.NAME: "by name",
    Order.TROUBLE: "trouble first",
    Order.FREEZE: "frozen first, the longest on top",
    Order.AGENT: "by the agent's health, the worst on top",
}

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

_FREEZE_RANK = {
    FreezeState.FROZEN: 0,
    FreezeState.FREEZING: 1,
    FreezeState.THAWING: 2,
    None: 3,
    FreezeState.THAWED: 4,
}
_AGENT_RANK = {
    AgentState.SILENT: 0,
    AgentState.CLOSED: 1,
    AgentState.BUSY: 2,
    AgentState.UNKNOWN: 3,
    AgentState.OPEN: 4,
    AgentState.ALIVE: 5,
    AgentState.NONE: 6,
}


def severity(state: VmState) -> int:
    """Return how urgently somebody should look at a VM; the lowest is the most urgent."""
    verdict = verdict_of(state)
    left = (state.left_frozen or state.left_by) and state.progress is None
    found = [
        0 if left else _NO_TROUBLE,  # a person has to do something about it
        _OUTCOME_TROUBLE.get(verdict.kind, _NO_TROUBLE) if verdict else _NO_TROUBLE,
        8 if verdict is not None and without_group(verdict) else _NO_TROUBLE,
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


def by_name(vm_id: VmId) -> Key:
    """Return what VMs are compared by in the end; no two have the same."""
    return (_natural(vm_id.name), vm_id.source, vm_id.name)


def _natural(name: str) -> Key:
    """Return a key by which ``web-2`` comes before ``web-10``.

    Numbers are compared by length and digits: turning 10,000 digits into an integer is refused.
    """
    parts = _DIGITS.split(name[:_NAME_LIMIT].casefold())
    return tuple(
        (1, len(stripped := part.lstrip("0")), stripped) if index % 2 else (0, 0, part)
        for index, part in enumerate(parts)
    )


def _by_freeze(state: VmState) -> Key:
    rank, since = _FREEZE_RANK.get(state.freeze.state, _NO_TROUBLE), state.freeze.since
    if (others := of_others(state)) is not None:
        rank, since = _FREEZE_RANK[FreezeState.FREEZING], others.since
    return (rank, since.timestamp() if since else float("inf"))


_RANKS: Mapping[Order, Callable[[VmState], Key]] = {
    Order.NAME: lambda _state: (),
    Order.TROUBLE: lambda state: (severity(state),),
    Order.FREEZE: _by_freeze,
    Order.AGENT: lambda state: (_AGENT_RANK.get(state.agent.state, _NO_TROUBLE),),
}
