"""Guests that others have left frozen: since when, and why nobody is likely to thaw them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from agentclient.access.host.process import has_gone
from agentclient.model.durations import in_words
from agentclient.model.others import ChannelClient
from agentclient.model.snapshot import FreezeInfo, VmState
from agentclient.model.states import FreezeState
from agentclient.model.vm import Process, VmId

# What others froze and left is told of after so many seconds, as long as our own may be held.
LEFT_S: Final = 120.0
# Who has set the wall clock has moved it by more than this; it is adjusted in smaller steps.
_SET_S: Final = 5.0


class LeftFrozen:
    """Since when each guest is frozen by others, by the monotonic clock."""

    def __init__(self) -> None:
        self._at: dict[VmId, float] = {}

    def since(self, freeze: FreezeInfo, vm_id: VmId, mono: float, wall: datetime) -> float | None:
        """Return since when others have left a guest frozen (monotonic clock); None if not.

        Args:
            freeze: what is known of its file systems.
            vm_id: the VM.
            mono: the monotonic clock.
            wall: the wall clock.
        """
        if not freeze.foreign or freeze.state is not FreezeState.FROZEN:
            self.forget(vm_id)
            return None
        seconds = (wall - freeze.since).total_seconds() if freeze.since is not None else 0.0
        return self._at.setdefault(vm_id, mono - max(0.0, seconds))

    def told(self, state: VmState, mono: float, wall: datetime) -> FreezeInfo:
        """Return what is known of a freeze, with why nobody is likely to thaw it any more.

        However the wall clock is set, it goes by the time that has passed.

        Args:
            state: what is known of the VM.
            mono: the monotonic clock.
            wall: the wall clock.
        """
        freeze = state.freeze
        since = self.since(freeze, state.id, mono, wall)
        if since is None:
            return freeze
        overdue = freeze.overdue or _why_left(freeze.by, mono - since)
        return freeze._replace(since=as_of(freeze.since, mono - since, wall), overdue=overdue)

    def forget(self, vm_id: VmId) -> None:
        """Forget a VM."""
        self._at.pop(vm_id, None)


def as_of(before: datetime | None, seconds: float, wall: datetime) -> datetime:
    """Return when it was so many seconds ago: in the words of before, unless the clock was set."""
    since = wall - timedelta(seconds=seconds)
    if before is None or abs((before - since).total_seconds()) > _SET_S:
        return since
    return before


def _why_left(by: ChannelClient | None, seconds: float) -> str | None:
    """Return why nobody is likely to thaw what others froze, as a clause; None if somebody may."""
    if by is not None and by.started is not None and has_gone(Process(by.pid, by.started)):
        return "its process has ended"
    return f"for more than {in_words(LEFT_S)}" if seconds > LEFT_S else None
