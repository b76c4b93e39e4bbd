"""What is known of a freeze of somebody who is no frostwatch: its word, and how sure that is. Pure.

A command that others have pending is called a freeze only where something speaks for it: the agent
says frozen, the VM's manager has locked it for what freezes guests, or the client is a task that
does.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from agentclient.model.others import FREEZING_LOCKS, ChannelClient, Others, WritesSeen
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState, OthersState

MONITOR: Final = "the monitor"


class OthersFreeze(StrEnum):
    """The words for what others do to a guest's file systems."""

    PENDING = "others-pending"  # a command of theirs waits for its answer
    LOST = "others-lost"  # it will not be answered, or they left without the answer
    FROZEN = "others-frozen"  # the agent says frozen, and not provably by a frostwatch


class Grade(StrEnum):
    """How sure it is that what others have pending is a freeze."""

    CERTAIN = "certain"  # the agent says frozen
    LIKELY = "likely"  # its manager, or their task, freezes guests; or its writes have stopped
    UNKNOWN = "unknown"


GRADE_WORDS: Final = {
    Grade.CERTAIN: "a freeze",
    Grade.LIKELY: "likely a freeze",
    Grade.UNKNOWN: "perhaps a freeze",
}


class Graded(NamedTuple):
    """How sure it is that it is a freeze, and how that is known."""

    grade: Grade
    how: str


_WORDS: Final = {
    OthersState.PENDING: OthersFreeze.PENDING,
    OthersState.LOST: OthersFreeze.LOST,
    OthersState.LEFT: OthersFreeze.LOST,
}
_FREEZING_TASKS: Final = frozenset({"vzdump", "qmsnapshot", "qmclone"})


def others_freeze(state: VmState) -> OthersFreeze | None:
    """Return the word for what others do to a guest's file systems; None if nothing is known.

    Args:
        state: what is known of the VM.
    """
    if state.progress is not None or state.held_by is not None:
        return None
    if state.freeze.foreign and state.freeze.state is FreezeState.FROZEN:
        return OthersFreeze.FROZEN
    return _WORDS.get(state.others.state) if state.others is not None else None


def doer(state: VmState) -> Others | None:
    """Return whose doing `others_freeze` is about; None if that isn't known.

    Who holds the channel of a guest that is frozen need not have frozen it. So of one that is
    frozen this is who held it before.
    """
    word, freeze = others_freeze(state), state.freeze
    if word is not OthersFreeze.FROZEN:
        return state.others if word is not None else None
    if freeze.by is None or freeze.since is None:
        return None
    return Others(OthersState.LEFT, freeze.since, freeze.by, overdue=freeze.overdue)


def graded(state: VmState) -> Graded:
    """Return how sure it is that what others have pending is a freeze.

    Args:
        state: what is known of the VM.
    """
    if state.freeze.foreign and state.freeze.state is FreezeState.FROZEN:
        return Graded(Grade.CERTAIN, "the agent")
    others = state.others
    if others is None:
        return graded_of(None, state.vm.locked_by)
    return graded_of(others.by, state.vm.locked_by, others.writes)


def graded_of(
    by: ChannelClient | None, lock: str | None, writes: WritesSeen | None = None
) -> Graded:
    """Return how sure it is that a command is a freeze, before the agent was asked.

    Args:
        by: whose command it is; None if that isn't known.
        lock: what the VM's manager has locked it for; None if it has not.
        writes: what the host's counter of the guest's writes tells; None if nothing. It never makes
            a freeze certain: a guest whose storage hangs writes nothing either.
    """
    reasons = []
    if lock in FREEZING_LOCKS:
        reasons.append(f"its manager's lock ({lock})")
    elif by is not None and by.task is not None and by.short in _FREEZING_TASKS:
        reasons.append(f"the kind of their task ({by.short})")
    if writes is WritesSeen.STOPPED:
        reasons.append("its writes, which were steady and have stopped,")
    if reasons:
        return Graded(Grade.LIKELY, f"{', '.join(reasons)} and the monitor")
    return Graded(Grade.UNKNOWN, MONITOR)
