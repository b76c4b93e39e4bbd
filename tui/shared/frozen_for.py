"""Whether a VM is frozen, by this console or by somebody else, and for how long.

What others have pending, or have lost, counts as well: it may be frozen, and nobody can ask.
"""

from __future__ import annotations

from agentclient.model.others import Others
from agentclient.model.others_freeze import OthersFreeze, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState
from tui.shared.clocks import Moment, age


def may_be_frozen(state: VmState) -> bool:
    """Return whether a VM is frozen now: also while its thaw has not been acknowledged."""
    progress = state.progress
    held = progress is not None and progress.held_since is not None
    return held or state.freeze.state is FreezeState.FROZEN or of_others(state) is not None


def frozen_word(state: VmState) -> str:
    """Return what a VM that may be frozen counts as: *frozen*, or what others have of it."""
    others = others_freeze(state)
    return others.value.removeprefix("others-") if others in _MAY_FREEZE else "frozen"


def of_others(state: VmState) -> Others | None:
    """Return what others have pending in a guest, or have lost; None if they have not."""
    return state.others if others_freeze(state) in _MAY_FREEZE else None


_MAY_FREEZE = frozenset({OthersFreeze.PENDING, OthersFreeze.LOST})


def frozen_for(state: VmState, moment: Moment) -> float:
    """Return for how many seconds a VM has been frozen, as far as it was seen."""
    progress = state.progress
    if progress is not None and progress.held_since is not None:
        return moment.mono - progress.held_since
    others = of_others(state)
    since = others.since if others is not None else state.freeze.since
    return age(since, moment) if since is not None else 0.0
