"""Finds the VM to which a guest has migrated, if it is on this host.

QEMU does not tell the target of a migration. On this host, the target is a QEMU with the same UUID
that was started with ``-incoming``; a clone has the same UUID, but was not started so.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentclient.access.access_pool import open_local
from agentclient.access.host.process import PROC
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.access.guest_access import GuestAccess

_INCOMING: Final = frozenset({b"-incoming", b"--incoming"})


def target_among(vms: Iterable[Vm], source: GuestAccess, uuid: str, proc: Path = PROC) -> Vm | None:
    """Return the VM to which a guest has migrated; None if it is not among `vms`.

    Args:
        vms: the VMs that the backend lists.
        source: the access to the VM that the guest has left.
        uuid: that VM's UUID.
        proc: the proc file system.
    """
    for vm in vms:
        if vm.agent is None or vm.process is None or vm.process == source.process:
            continue
        if not _takes_migrations(vm.process, proc):
            continue
        access = open_local(vm)
        if access.uuid() == uuid:
            return vm
    return None


def _takes_migrations(process: Process, proc: Path) -> bool:
    try:
        words = (proc / str(process.pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return not _INCOMING.isdisjoint(words)
