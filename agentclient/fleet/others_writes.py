"""When the counters of guests' writes are looked at: often only while others wait. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agentclient.freeze.writes_watch import WritesWatch
from agentclient.model.snapshot import MonitorView
from agentclient.model.vm import VmId

EVERY_S: Final = 8.0
WHILE_PENDING_S: Final = 1.0


class WriteCounters:
    """The write counters of a fleet's guests.

    Args:
        is_pending: whether others have something pending in a guest.
    """

    def __init__(self, is_pending: Callable[[VmId], bool]) -> None:
        self._is_pending = is_pending
        self._watches: dict[VmId, WritesWatch] = {}

    def are_wanted(self, vm_id: VmId, now: float) -> bool:
        """Return whether the next look at a VM's monitor is for its counter as well.

        Args:
            vm_id: the VM.
            now: seconds of the monotonic clock.
        """
        watch = self._watches.get(vm_id)
        every_s = WHILE_PENDING_S if self._is_pending(vm_id) else EVERY_S
        return watch is None or now - watch.looked_at >= every_s

    def take(self, vm_id: VmId, now: float, view: MonitorView) -> WritesWatch:
        """Take a look at a VM's monitor; return what watches its counter."""
        watch = self._watches.get(vm_id)
        if watch is None:
            watch = self._watches[vm_id] = WritesWatch()
        watch.on_look(now, view)
        return watch

    def forget(self, vm_id: VmId) -> None:
        """Forget a VM."""
        self._watches.pop(vm_id, None)
