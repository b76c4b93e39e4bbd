"""How many VMs are in each state that an operator has to know about."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from agentclient.model.others_freeze import OthersFreeze, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, OutcomeKind, Phase
from tui.shared.verdict import verdict_of


class Tag(StrEnum):
    """What the header counts; also the order of trouble, worst first."""

    LEFT = "frozen?"
    LEFT_BY = "left"
    LOST = "lost"
    OTHERS_LOST = OthersFreeze.LOST.value
    FOREIGN = "foreign"
    SILENT = "silent"
    FREEZING = "freezing"
    QUEUED = "queued"
    FROZEN = "frozen"
    COPYING = "copying"
    LEFT_COPY = "left copy"
    UNENDED = "not ended"
    OTHERS_PENDING = OthersFreeze.PENDING.value


_OTHERS = {
    OthersFreeze.PENDING: Tag.OTHERS_PENDING,
    OthersFreeze.LOST: Tag.OTHERS_LOST,
}


def tags_of(state: VmState) -> frozenset[Tag]:
    """Return what a VM counts as."""
    tags: set[Tag] = set()
    verdict = verdict_of(state)
    if verdict is not None and verdict.kind is OutcomeKind.LOST:
        tags.add(Tag.LOST)
    if state.left_by is not None:
        tags.add(Tag.LEFT_BY)
    elif state.freeze.state is FreezeState.FROZEN:
        tags.add(Tag.FOREIGN if state.freeze.foreign else Tag.FROZEN)  # never both: once is enough
    if state.freeze.state in (FreezeState.FREEZING, FreezeState.THAWING):
        tags.add(Tag.FREEZING)  # until its thaw is acknowledged it may freeze, or be frozen
    if state.progress is None and state.left_frozen and state.left_by is None:
        tags.add(Tag.LEFT)
    others = others_freeze(state)
    if others in _OTHERS:
        tags.add(_OTHERS[others])
    if state.progress is not None and state.progress.phase is Phase.QUEUED:
        tags.add(Tag.QUEUED)
    if state.job is not None:
        tags.add(Tag.COPYING)
    if state.left_jobs:
        tags.add(Tag.LEFT_COPY)
    if state.unended is not None:
        tags.add(Tag.UNENDED)
    if state.agent.state is AgentState.SILENT:
        tags.add(Tag.SILENT)
    return frozenset(tags)


class Tally:
    """Counts that are kept, not counted anew: a change costs the same in any fleet."""

    def __init__(self) -> None:
        self._tags: dict[object, frozenset[Tag]] = {}
        self._counts: Counter[Tag] = Counter()

    def put(self, state: VmState) -> None:
        """Count a VM as what it is now."""
        new = tags_of(state)
        old = self._tags.get(state.id, frozenset())
        self._tags[state.id] = new
        if old != new:
            self._counts.subtract(old - new)
            self._counts.update(new - old)

    def drop(self, vm_id: object) -> None:
        """Count a VM no more."""
        self._counts.subtract(self._tags.pop(vm_id, frozenset()))

    @property
    def total(self) -> int:
        """The number of VMs."""
        return len(self._tags)

    def __getitem__(self, tag: Tag) -> int:
        return self._counts[tag]
