"""A backend in memory: its VMs are reached by calls, and it is slow to list them.

It has no descriptor, no path and no process: whatever works with it needs none of them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from agentclient.access.agent_probe import Said
from agentclient.access.called_access import CalledAccess
from agentclient.access.guest_access import GuestAccess, Opener
from agentclient.access.local_access import LocalAccess
from agentclient.backends.base import Abilities, Note
from agentclient.model.outcome import FileSystem
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import FreezeState, RunState
from agentclient.model.vm import Identity, Vm, VmId

HOST = "node2"
NO_FREEZE = "a freeze needs a stream to the agent, which calls are not"


@dataclass
class MemoryGuest:
    """A VM in memory.

    Attributes:
        start: which start of it this is; the next one has another number.
        hangs: calls about it don't return before this is set.
    """

    name: str
    start: int = 1
    frozen: bool = False
    agent: bool = True
    ended: bool = False
    uuid: str | None = None
    asked: int = 0
    hangs: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hangs.set()

    @property
    def vm(self) -> Vm:
        return Vm(
            VmId("cloud", self.name, HOST),
            instance=f"start {self.start}",
            uuid=self.uuid,
            by_call=True,
            freeze_disabled=NO_FREEZE,
        )

    def start_anew(self) -> None:
        self.start += 1
        self.frozen = False


class MemoryCalls:
    """The calls about one start of a VM."""

    def __init__(self, guest: MemoryGuest, instance: str | None) -> None:
        self._guest = guest
        self._instance = instance

    def observe(self, timeout_s: float) -> MonitorView:
        self._guest.hangs.wait(30.0)
        return MonitorView(RunState.RUNNING, port_open=self._guest.agent, gone=self.is_gone())

    def ask(self, *, first: bool, timeout_s: float) -> Said:
        guest = self._guest
        guest.asked += 1
        if not guest.agent:
            return Said()
        state = FreezeState.FROZEN if guest.frozen else FreezeState.THAWED
        mounts = (FileSystem("vda1", "/", "ext4"),) if first and not guest.frozen else None
        return Said(state, 0.01, version="9.2" if first else None, file_systems=mounts)

    def is_gone(self) -> bool | None:
        return self._guest.ended or self._instance != self._guest.vm.instance


class MemoryBackend:
    """Some VMs in memory, listed slowly."""

    name = "cloud"
    patience_s = 5.0

    def __init__(self, *names: str, list_s: float = 0.05) -> None:
        self.guests = {name: MemoryGuest(name) for name in names}
        self._list_s = list_s

    def list_vms(self) -> list[Vm]:
        time.sleep(self._list_s)
        return [guest.vm for guest in self.guests.values() if not guest.ended]

    def open(self, vm: Vm, opener: Opener) -> LocalAccess:
        return CalledAccess(vm, MemoryCalls(self.guests[vm.name], vm.instance), opener)

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:
        return next((one.vm for one in self.guests.values() if one.uuid == uuid), None)

    def has_ended(self, identity: Identity) -> bool | None:
        if identity.vm.host != HOST:
            return None
        lives = {one.vm.identity for one in self.guests.values() if not one.ended}
        return identity not in lives

    def abilities(self) -> Abilities:
        return Abilities(freeze=False, monitor=True, port_state=True, processes=False, locks=False)

    def notes(self) -> tuple[Note, ...]:
        return ()
