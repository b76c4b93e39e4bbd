"""Which VM has been frozen longest: by this console or by somebody else, shown or hidden."""

from __future__ import annotations

from agentclient.model.snapshot import VmState
from agentclient.model.vm import VmId
from tui.shared.clocks import Moment
from tui.shared.frozen_for import frozen_for, may_be_frozen


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
