"""The collaborators of an operation, in one value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agentclient.access.guest_access import GuestAccess
from agentclient.fleet.store import Fleet
from agentclient.holder.client import HolderClient
from agentclient.journal.entry import Entry
from agentclient.journal.writer import Journal
from agentclient.model.snapshot import VmState
from agentclient.model.vm import Vm
from agentclient.operations.control import Control
from agentclient.operations.reporter_interface import Reporter

READ_ONLY: Final = "frostwatch runs read-only: nothing is sent"


@dataclass(frozen=True, slots=True)
class OperationContext:
    """The collaborators of an operation on one VM, and what it may do.

    Attributes:
        vm: the VM as it was when the operation was asked for.
        access: the access to the guest.
        reporter: receives the operation's events.
        control: the operator's instructions meanwhile.
        holder: thaws if this process dies; None if the operation freezes nothing.
        entry: the operation's window in the journal; None without a journal.
        fleet: what is known of all VMs; None if nothing is.
        journal: the record of all windows; None without a journal.
        read_only: nothing may be sent to any guest.
    """

    vm: Vm
    access: GuestAccess
    reporter: Reporter
    control: Control
    holder: HolderClient | None = None
    entry: Entry | None = None
    fleet: Fleet | None = None
    journal: Journal | None = None
    read_only: bool = False

    @property
    def why_read_only(self) -> str | None:
        """Why nothing may be sent to this guest, as a clause; None if something may."""
        if self.read_only:
            return READ_ONLY
        policy = self.vm.policy
        if policy is None or policy.read_only is None:
            return None
        return f"nothing is sent to this VM: {policy.read_only}"

    @property
    def state(self) -> VmState:
        """What is known of the VM now."""
        try:
            return self.fleet.get(self.vm.id) if self.fleet is not None else VmState(self.vm)
        except KeyError:
            return VmState(self.vm)

    def at(self, access: GuestAccess) -> OperationContext:
        """Return a copy with another access, for a guest that has migrated there."""
        return replace(self, vm=access.vm, access=access)
