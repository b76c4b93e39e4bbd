"""The orders in which the table can stand; every one ends with the name, so that it is total."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, Phase, RunState
from agentclient.model.vm import VmId
from tui.shared.frozen_for import of_others
from tui.shared.reason import reason_of
from tui.shared.trouble import severity

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
    SOURCE = "source"
    RUN = "run"
    KNOWN_BY = "how"
    ENDS_IN = "total"
    SILENT = "silent"
    HELD = "held"
    WHY = "why"

    @property
    def label(self) -> str:
        """What the operator is told."""
        return _LABELS[self]

    @property
    def by_figures(self) -> bool:
        """Whether it depends on figures, which change while a VM's words stay the same."""
        return self in _BY_FIGURES

    def next(self) -> Order:
        """Return the order after this one among those most wanted, round and round."""
        at = _MOST_WANTED.index(self) + 1 if self in _MOST_WANTED else 0
        return _MOST_WANTED[at % len(_MOST_WANTED)]

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
    Order.SOURCE: "by source",
    Order.RUN: "by what the VM does, the worst on top",
    Order.KNOWN_BY: "by what the agent is known by",
    Order.ENDS_IN: "by the wait's end, the soonest on top",
    Order.SILENT: "by silence, the longest on top",
    Order.HELD: "by the window's age, the oldest on top",
    Order.WHY: "by the reason",
}
_MOST_WANTED = (Order.TROUBLE, Order.NAME, Order.FREEZE, Order.AGENT)
_BY_FIGURES = frozenset({Order.ENDS_IN, Order.SILENT})
_LAST = float("inf")

_FREEZE_RANK = {
    FreezeState.FROZEN: 0,
    FreezeState.FREEZING: 1,
    FreezeState.THAWING: 2,
    None: 3,
    FreezeState.THAWED: 4,
}
_RUN_RANK = {
    RunState.PANICKED: 0,
    RunState.IO_ERROR: 1,
    RunState.PAUSED: 2,
    RunState.SUSPENDED: 3,
    RunState.MIGRATING: 4,
    RunState.UNKNOWN: 5,
    RunState.RUNNING: 6,
    RunState.MIGRATED: 7,
    RunState.SHUTDOWN: 8,
    RunState.GONE: 9,
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
    rank, since = _FREEZE_RANK.get(state.freeze.state, _LAST), state.freeze.since
    if (others := of_others(state)) is not None:
        rank, since = _FREEZE_RANK[FreezeState.FREEZING], others.since
    return (rank, since.timestamp() if since else _LAST)


def _by_window(state: VmState) -> Key:
    others = of_others(state)
    since = others.since if others is not None else state.freeze.since
    shown = others is not None or state.freeze.state is FreezeState.FROZEN
    return (since.timestamp() if shown and since is not None else _LAST,)


def _by_end(state: VmState) -> Key:
    progress = state.progress
    ends = progress.answer_ends_at if progress is not None else None
    return (ends if ends is not None else _LAST,)


def _by_silence(state: VmState) -> Key:
    progress = state.progress
    if progress is None or progress.phase is Phase.HELD:
        return (_LAST,)
    since = progress.heard_at if progress.heard_at is not None else progress.sent_at
    return (since if since is not None else _LAST,)


def _by_reason(state: VmState) -> Key:
    """Return a key by which VMs with one reason stand together, those without any last."""
    said = reason_of(state)
    return (not said, said[:_NAME_LIMIT].casefold())


_RANKS: Mapping[Order, Callable[[VmState], Key]] = {
    Order.NAME: lambda _state: (),
    Order.TROUBLE: lambda state: (severity(state),),
    Order.FREEZE: _by_freeze,
    Order.AGENT: lambda state: (_AGENT_RANK.get(state.agent.state, _LAST),),
    Order.SOURCE: lambda state: (state.vm.source,),
    Order.RUN: lambda state: (_RUN_RANK.get(state.run_state, _LAST),),
    Order.KNOWN_BY: lambda state: (state.agent.how.value,),
    Order.ENDS_IN: _by_end,
    Order.SILENT: _by_silence,
    Order.HELD: _by_window,
    Order.WHY: _by_reason,
}
