"""Sees which agents' channels somebody has connected to, without a visit: the kernel tells it.

So a channel is looked at soon after a client has come, and not only when its VM is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from agentclient.access.host.socket_clients import File, connected, file_of
from agentclient.model.snapshot import VmState
from agentclient.model.vm import VmId

EVERY_S: Final = 0.5


class TakenChannels:
    """The agents' channels of a fleet, as the kernel shows them; those of this host alone."""

    def __init__(self) -> None:
        self._vms: dict[File, VmId] = {}
        self._taken: set[File] = set()
        self._next_at = float("-inf")

    @property
    def next_at(self) -> float:
        """When to ask the kernel next (monotonic clock); infinite if no channel is known."""
        return self._next_at if self._vms else float("inf")

    def watch(self, states: Iterable[VmState]) -> None:
        """Watch the channels of these VMs, and no others."""
        found = ((state, file_of(state.vm.agent.path)) for state in states if state.vm.agent)
        self._vms = {file: state.id for state, file in found if file is not None}

    def newly(self, now: float, is_known: Callable[[VmId], bool]) -> list[VmId]:
        """Return the VMs to whose channels somebody has connected since the last time.

        Args:
            now: the monotonic clock's time.
            is_known: whether it is known who may be connected to a VM now: ourselves, who visit it,
                or others, whose channel is watched. Who is there after that has come anew.
        """
        if now < self.next_at:
            return []
        self._next_at = now + EVERY_S
        before, found = self._taken, self._vms.keys() & connected()
        self._taken = {file for file in found if not is_known(self._vms[file])}
        return [self._vms[file] for file in self._taken - before]
