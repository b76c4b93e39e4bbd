"""The backend ``drill``: simulated guests only."""

from __future__ import annotations

from agentclient.access.access_pool import open_local
from agentclient.access.guest_access import GuestAccess, Opener
from agentclient.backends.base import LOCAL_S, Abilities, Note
from agentclient.backends.drill.copy_troubles import COPY_TROUBLES, CopyTrouble
from agentclient.backends.drill.processes import Drill
from agentclient.backends.drill.troubles import TROUBLES, WITH_CLIENTS, Trouble
from agentclient.late import load
from agentclient.model.errors import FrostwatchError
from agentclient.model.vm import DRILL_SOURCE, Identity, Vm


class DrillBackend:
    """The guests of a running drill.

    Args:
        drill: the drill, started.
    """

    name = DRILL_SOURCE
    patience_s = LOCAL_S

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        pairs = zip(drill.vms, drill.guests, strict=True)
        self._others = {vm.id: of.trouble for vm, of in pairs if of.trouble in WITH_CLIENTS}

    def list_vms(self) -> list[Vm]:
        """Return the drill's VMs; always the same ones.

        Raises:
            FrostwatchError: a process that simulates the guests has ended.
        """
        if not self._drill.running:
            raise FrostwatchError(
                "a process of the drill has ended, and its guests with it: start the drill anew"
            )
        return list(self._drill.vms)

    def open(self, vm: Vm, opener: Opener) -> GuestAccess:
        """Return the access to one of the VMs; nothing is connected yet."""
        access = open_local(vm, opener)
        if vm.id in self._others:
            others = load("agentclient.backends.drill.others_client", "clients_of")
            access.simulated_clients = others(self._others[vm.id])
        return access

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:  # noqa: ARG002
        """Return None: a simulated guest never migrates."""
        return None

    def has_ended(self, identity: Identity) -> bool | None:  # noqa: ARG002
        """Return None: this backend has no identities for starts; the VM's process tells it."""
        return None

    def abilities(self) -> Abilities:
        """Return what can be done with simulated guests."""
        return Abilities(freeze=True, monitor=True, port_state=True, processes=False, locks=False)

    def notes(self) -> tuple[Note, ...]:
        """Return what each simulated guest will do, which a drill does not hide."""
        notes = []
        for vm, guest in zip(self._drill.vms, self._drill.guests, strict=True):
            clauses = [TROUBLES[guest.trouble].clause] * (guest.trouble is not Trouble.FAST)
            if guest.copies is not CopyTrouble.NONE:
                clauses.append(COPY_TROUBLES[guest.copies].clause)
            notes += [Note(str(vm.id), f"a simulated guest that {one}") for one in clauses]
        return tuple(notes)
