"""Where a guest runs whose VM has migrated away, if that is on this host.

QEMU does not tell where a migration went. On this host it went to a QEMU of the same UUID that was
started to take one (``-incoming``); a clone with the same UUID was not.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agentclient.access.access_pool import open_local
from agentclient.access.guest_access import GuestAccess
from agentclient.access.host.process import PROC
from agentclient.access.self_check import uuid_of
from agentclient.model.vm import Process, Vm

_INCOMING: Final = frozenset({b"-incoming", b"--incoming"})


def target_among(vms: Iterable[Vm], source: GuestAccess, uuid: str, proc: Path = PROC) -> Vm | None:
    """Return the one of `vms` to which another VM has migrated.

    Args:
        vms: as the backend lists them.
        source: the VM that has migrated.
        uuid: its UUID.
        proc: where the proc file system is.
    """
    for vm in vms:
        if vm.agent is None or vm.process is None or vm.process == source.process:
            continue
        if not _takes_migrations(vm.process, proc):
            continue
        access = open_local(vm)
        if uuid_of(access.monitor) == uuid:
            return vm
    return None


def _takes_migrations(process: Process, proc: Path) -> bool:
    try:
        words = (proc / str(process.pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return not _INCOMING.isdisjoint(words)
