"""Somebody with frostwatch and a guest under libvirt."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from agentclient.backends.base import Backends
from agentclient.backends.libvirt.backend import LibvirtBackend
from agentclient.backends.libvirt.uris import Uri
from agentclient.model.snapshot import MonitorView
from agentclient.model.vm import Vm
from tests.guests.freezing import Operator
from tests.guests.lab import PATIENCE_S, DomainGuest
from tests.guests.lab.shell import wait_until


class DomainOperator(Operator):
    """Somebody with frostwatch and one guest under libvirt.

    Args:
        guest: a real one.
        uri: leads to its daemon; None for that on this host.
    """

    def __init__(self, guest: DomainGuest, uri: str | None = None) -> None:
        self.guest: DomainGuest = guest
        self.remote_hold = uri is not None
        self.backend = LibvirtBackend([Uri(uri or guest.daemon.uri, named=True)])
        self.vm = self.listed()
        self.reach(Backends([self.backend]))

    def __enter__(self) -> Self:
        return self

    def listed(self) -> Vm:
        """The guest, as it is listed now."""
        found: list[Vm] = []

        def look() -> bool:
            found[:] = [vm for vm in self.backend.list_vms() if vm.title == self.guest.name]
            return bool(found)

        wait_until(look, PATIENCE_S, f"{self.guest.name} to be listed", step=0.05)
        return found[0]

    def look(self) -> MonitorView:
        """What is seen of the guest without asking it."""
        return self.accesses.of(self.vm).observe()

    def close(self) -> None:
        """End everything, and the connections too."""
        super().close()
        self.backend.close()


def save(guest: DomainGuest) -> Path:
    """Save a guest: its QEMU ends; return where it is."""
    place = guest.daemon.folder / f"{guest.name}.saved"
    guest.daemon.virsh("save", guest.name, str(place))
    return place


def restore(guest: DomainGuest, place: Path) -> None:
    """Let a guest that was saved go on."""
    guest.daemon.virsh("restore", str(place), "--running")
    guest.take_again()
