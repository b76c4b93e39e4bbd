"""What a freeze is to do, and where it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentclient.freeze.coverage import Coverage
from agentclient.model.request import Schedule
from agentclient.model.snapshot import MonitorView


@dataclass(frozen=True, slots=True)
class FreezePlan:
    """What is to be frozen, and what was seen just before.

    Attributes:
        schedule: how long everything may take.
        baseline: the monitor as it was before the freeze was sent.
        mounts: the mount points to freeze; empty for everything.
        strict: full coverage is demanded.
        coverage: what should freeze, None if the guest could not tell.
        covered_at: when that was asked (seconds of the monotonic clock).
    """

    schedule: Schedule
    baseline: MonitorView
    mounts: tuple[str, ...] = ()
    strict: bool = False
    coverage: Coverage | None = None
    covered_at: float = 0.0

    @property
    def windows(self) -> bool:
        """Whether it is a Windows guest, as far as its file systems tell."""
        return self.coverage is not None and self.coverage.windows


class FreezeStage(StrEnum):
    """Where a freeze is."""

    PENDING = "pending"  # sent, and not answered
    DRAINING = "draining"  # what the channel still holds is read before it is called lost
    CHECKING = "checking"  # answered with an error: the status tells what that has done
    VERIFYING = "verifying"  # answered with a number: the evidence is collected
    HELD = "held"  # the window is open
    RELEASED = "released"  # the thaw is due
    DONE = "done"
