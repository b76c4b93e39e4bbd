"""What whoever has begun a job holds of it: its place, its end, and how it is stopped."""

from __future__ import annotations

from typing import ClassVar

from agentclient.jobs.context import JobContext
from agentclient.model.job import JobKind, JobOutcome
from agentclient.model.json_contract import SCHEMA
from agentclient.model.vm import Vm
from agentclient.operations.queued_work import QueuedWork


class JobHandle(QueuedWork[JobOutcome]):
    """One job on one VM, as its caller sees it; thread-safe.

    Args:
        context: its collaborators.

    Attributes:
        kind: what it does.
    """

    kind: ClassVar[JobKind]

    def __init__(self, context: JobContext) -> None:
        super().__init__()
        self.context = context

    @property
    def vm(self) -> Vm:
        """The VM as it was when the job was asked for."""
        return self.context.vm

    def facts(self, outcome: JobOutcome) -> dict[str, object]:
        """Return what the journal keeps with the window that the copy was taken in."""
        clear = [one.disk for one in outcome.disks if one.in_the_clear]
        lacking = [{"disk": one.disk, "why": one.why.value} for one in outcome.left_out]
        return {
            "schema": SCHEMA,
            "job": self.kind.value,
            "result": outcome.result.value,
            "consistency": outcome.consistency.value,
            "disks": [{"disk": one.disk, "target": one.target} for one in outcome.disks],
            **({"left": list(outcome.left)} if outcome.left else {}),
            **({"left_out": lacking} if lacking else {}),
            **({"in_the_clear": clear} if clear else {}),
        }

    def cancel(self) -> None:
        """Stop it, thaw the guest, and undo what was begun; doing it again changes nothing."""
        self.context.control.cancel()
        self._withdraw()

    def leave(self) -> None:
        """Leave it to QEMU if it can go on without us, since the guest is thawed; else stop it.

        The next frostwatch finds what QEMU goes on with (`agentclient.jobs.left`).
        """
        if not self.context.control.leave():
            self.cancel()

    def set_limit(self, limit: int) -> None:
        """Limit its speed to so many bytes a second; 0 for no limit."""
        self.context.control.set_limit(limit)

    def settle(self, outcome: JobOutcome) -> None:
        """Set the outcome, and report it."""
        try:
            self.context.reporter.ended(outcome)
        finally:  # whatever fails there: somebody waits for it
            self._result.set_result(outcome)
