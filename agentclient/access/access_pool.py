"""How all VMs are reached: one access for each, as long as it is reached in the same way."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from agentclient.model.vm import Vm, VmId

if TYPE_CHECKING:
    from agentclient.access.guest_access import GuestAccess, Opener
    from agentclient.access.local_access import LocalAccess


class AccessPool:
    """How all VMs are reached: one access for each, made when it is first asked for.

    Args:
        opener: who knows how VMs are reached; None where all are of this host.
    """

    def __init__(self, opener: Opener | None = None) -> None:
        self._open = open_local if opener is None else opener.open
        self._lock = threading.Lock()
        self._accesses: dict[VmId, GuestAccess] = {}

    def of(self, vm: Vm) -> GuestAccess:
        """Return the VM's access; a VM that came back as another process gets a new one."""
        with self._lock:
            access = self._accesses.get(vm.id)
            if access is None or _reached_otherwise(access.vm, vm):
                if access is not None:
                    access.close()
                access = self._accesses[vm.id] = self._open(vm)
            return access

    def forget(self, vm_id: VmId) -> None:
        """Drop the access to a VM that has left."""
        with self._lock:
            access = self._accesses.pop(vm_id, None)
        if access is not None:
            access.close()

    def close(self) -> None:
        """End all held sessions."""
        with self._lock:
            accesses, self._accesses = list(self._accesses.values()), {}
        for access in accesses:
            with suppress(OSError):
                access.close()


def open_local(vm: Vm, opener: Opener | None = None) -> LocalAccess:
    """Return how a VM of this host is reached; nothing is connected yet.

    Args:
        vm: the VM.
        opener: who opens it; None if nobody knows of another VM.
    """
    # Only who reaches a guest needs what talks: a list of VMs is on the screen before that.
    from agentclient.access.local_access import local_access  # noqa: PLC0415

    return local_access(vm, opener)


def _reached_otherwise(old: Vm, new: Vm) -> bool:
    return _reached(old) != _reached(new)


def _reached(vm: Vm) -> tuple[object, ...]:
    """Return how a VM is reached."""
    sockets = (vm.agent, vm.monitor, vm.peer, vm.monitor_peer, vm.sockets, vm.no_monitor)
    return (vm.process, vm.identity, *sockets)
