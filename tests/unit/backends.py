"""Backends for tests: slow ones, broken ones, and those that push."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agentclient.access.access_pool import open_local
from agentclient.access.guest_access import GuestAccess, Opener
from agentclient.access.local_access import LocalAccess
from agentclient.backends.base import Abilities, Note
from agentclient.model.vm import Identity, Vm, VmId


class FakeBackend:
    """Lists some VMs that nothing can reach; with `unblocked` cleared it hangs.

    Args:
        name: the first word of its VMs' ids.
        vms: their names.
    """

    def __init__(self, name: str, *vms: str, patience_s: float = 0.2) -> None:
        self.name = name
        self.patience_s = patience_s
        self.vms = [Vm(VmId(name, each)) for each in vms]
        self.asked = 0
        self.at_once = 0
        self.most_at_once = 0
        self.unblocked = threading.Event()
        self.unblocked.set()
        self.sees_processes = False
        self.hidden: tuple[Note, ...] = ()
        self.told: Callable[[VmId], None] = lambda vm_id: None

    def list_vms(self) -> list[Vm]:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.unblocked.wait(60.0)
        self.at_once -= 1
        return list(self.vms)

    def open(self, vm: Vm, opener: Opener) -> LocalAccess:
        return open_local(vm, opener)

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:
        return None

    def has_ended(self, identity: Identity) -> bool | None:
        return None

    def abilities(self) -> Abilities:
        return Abilities(
            freeze=False,
            monitor=False,
            port_state=False,
            processes=self.sees_processes,
            locks=False,
        )

    def notes(self) -> tuple[Note, ...]:
        return self.hidden


class FakePushingBackend(FakeBackend):
    """One that says by itself what has changed."""

    def subscribe(self, changed: Callable[[VmId], None]) -> None:
        self.told = changed
