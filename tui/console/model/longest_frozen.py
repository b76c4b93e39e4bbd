"""Which VM has been frozen longest: by this console or by somebody else, shown or hidden."""

from __future__ import annotations

from collections import Counter

from agentclient.model.snapshot import VmState
from agentclient.model.vm import VmId
from tui.shared.clocks import Moment
from tui.shared.frozen_for import frozen_for, frozen_word, may_be_frozen


class LongestFrozen:
    """The frozen VMs, kept as they change; the one with the longest freeze is found when asked."""

    def __init__(self) -> None:
        self._frozen: dict[VmId, VmState] = {}
        self._words: Counter[str] = Counter()
        self._found: VmId | None = None
        self._stale = False

    def put(self, state: VmState) -> None:
        """Take over what a VM is now."""
        self.drop(state.id)
        if may_be_frozen(state):
            self._frozen[state.id] = state
            self._words[frozen_word(state)] += 1
            self._stale = True

    def drop(self, vm_id: VmId) -> None:
        """Count a VM no more."""
        state = self._frozen.pop(vm_id, None)
        if state is not None:
            self._words[frozen_word(state)] -= 1
            self._stale = True

    @property
    def words(self) -> Counter[str]:
        """How many are frozen, and in how many others have something pending, or have lost it."""
        return +self._words

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
