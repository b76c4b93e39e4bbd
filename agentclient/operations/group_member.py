"""A freeze as the member of a group: what was good by itself is taken back if the group fails."""

from __future__ import annotations

import threading
from abc import ABC
from typing import Final

from agentclient.freeze.verdict import apart
from agentclient.model.outcome import Outcome
from agentclient.model.states import OutcomeKind
from agentclient.operations.context import OperationContext
from agentclient.operations.operation import Operation

# What a copy may rely on; of all others nothing is to be taken back.
_GOOD: Final = (OutcomeKind.VERIFIED, OutcomeKind.UNVERIFIED)


class GroupMember(Operation[Outcome], ABC):
    """A freeze whose outcome is revised where its group fails after its own end.

    A freeze that goes on hears of that by its control, and concludes its outcome with it.

    Args:
        context: its collaborators.
    """

    def __init__(self, context: OperationContext) -> None:
        super().__init__(context)
        self._ending = threading.Lock()

    def settle(self, outcome: Outcome) -> None:
        """Set the outcome."""
        super().settle(outcome)
        self._take_back()

    def fail_together(self, why: str) -> None:
        """Note that its group was not frozen together: its outcome is not certified."""
        super().fail_together(why)
        self._take_back()

    def _take_back(self) -> None:
        """Revise the outcome if there is one, and it was concluded before the group failed."""
        why = self.context.control.group_error
        with self._ending:  # the group's thread, and that of the freeze
            if why is None or not self.done:
                return
            before = self._result.result()
            if before.kind in _GOOD and not before.not_together:
                after = self.context.reporter.revise(before, apart(before, why))
                self.replace_result(after)
