"""Keeps one `GuestAccess` for each VM, until the VM is reached in another way."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from agentclient.late import load
from agentclient.model.vm import Vm, VmId

if TYPE_CHECKING:
    from agentclient.access.guest_access import GuestAccess, Opener
    from agentclient.access.local_access import LocalAccess


class AccessPool:
    """Keeps one access for each VM; makes it when it is first asked for. Thread-safe.

    Args:
        opener: makes the accesses; None if all VMs run on this host.
    """

    def __init__(self, opener: Opener | None = None) -> None:
        self._open = open_local if opener is None else opener.open
        self._lock = threading.Lock()
        self._accesses: dict[VmId, GuestAccess] = {}

    def of(self, vm: Vm) -> GuestAccess:
        """Return the VM's access; a new one if its process or its sockets have changed."""
        with self._lock:
            before = self._accesses.get(vm.id)
            if before is not None and not _reached_otherwise(before.vm, vm):
                return before
            access = self._accesses[vm.id] = self._open(vm)
        if before is not None:
            before.close()
        return access

    def forget(self, vm_id: VmId) -> None:
        """Close and drop the access to a VM that is not listed any more."""
        with self._lock:
            access = self._accesses.pop(vm_id, None)
        if access is not None:
            access.close()

    def close(self) -> None:
        """Close all accesses, with the sessions that they hold open."""
        with self._lock:
            accesses, self._accesses = list(self._accesses.values()), {}
        for access in accesses:
            with suppress(OSError):
                access.close()


def open_local(vm: Vm, opener: Opener | None = None) -> LocalAccess:
    """Return the access to a VM of this host; nothing is connected yet.

    Args:
        vm: the VM.
        opener: finds the VM to which this one migrates; None if nothing does.
    """
    # Imported late: the list of VMs is shown before any guest is reached.
    access: LocalAccess = load("agentclient.access.local_access", "local_access")(vm, opener)
    return access


def _reached_otherwise(old: Vm, new: Vm) -> bool:
    return _reached(old) != _reached(new)


def _reached(vm: Vm) -> tuple[object, ...]:
    """Return all that decides how a VM is reached, to be compared."""
    sockets = (vm.agent, vm.monitor, vm.peer, vm.monitor_peer, vm.sockets, vm.no_monitor)
    return (vm.process, vm.identity, *sockets)
