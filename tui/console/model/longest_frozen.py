"""Which VM has been frozen longest: by this console or by somebody else, shown or hidden.

What others have pending, or have lost, counts as well: it may be frozen, and nobody can ask.
"""

from __future__ import annotations

from agentclient.model.others import Others
from agentclient.model.others_freeze import OthersFreeze, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState
from agentclient.model.vm import VmId
from tui.shared.clocks import Moment, age


def may_be_frozen(state: VmState) -> bool:
    """Return whether a VM is frozen now: also while its thaw has not been acknowledged."""
    progress = state.progress
    held = progress is not None and progress.held_since is not None
    return held or state.freeze.state is FreezeState.FROZEN or of_others(state) is not None


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


class LongestFrozen:
    """The frozen VMs, kept as they change; the one with the longest freeze is found when asked."""

    def __init__(self) -> None:
        self._frozen: dict[VmId, VmState] = {}
        self._found: VmId | None = None
        self._stale = False

    def put(self, state: VmState) -> None:
        """Take over what a VM is now."""
        if may_be_frozen(state):
            self._frozen[state.id] = state
            self._stale = True
        else:
            self.drop(state.id)

    def drop(self, vm_id: VmId) -> None:
        """Count a VM no more."""
        if self._frozen.pop(vm_id, None) is not None:
            self._stale = True

    def __len__(self) -> int:
        return len(self._frozen)

    def find(self, moment: Moment) -> VmId | None:
        """Return the VM that has been frozen longest, None if nothing is frozen.

        Time makes all of them older by the same, so it is looked for anew only after a change.
        """
        if self._stale:
            self._stale = False
            frozen = self._frozen.values()
            oldest = max(frozen, key=lambda state: frozen_for(state, moment), default=None)
            self._found = oldest.id if oldest is not None else None
        return self._found
