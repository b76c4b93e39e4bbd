"""A backend in memory: its VMs are reached by calls, and it is slow to list them.

It has no descriptor, no path and no process: whatever works with it needs none of them.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentclient.access.agent_probe import ProbeResult
from agentclient.access.call_session import AgentBusy, AgentGone, CallFailed, CallTimedOut
from agentclient.access.called_access import CalledAccess
from agentclient.access.guest_access import GuestAccess, Opener, ThawRecipe
from agentclient.backends.base import Abilities, Note
from agentclient.model.outcome import FileSystem
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, FreezeState, RunState
from agentclient.model.vm import Identity, Vm, VmId

HOST = "node2"
COMMANDS = tuple(
    {"name": name, "enabled": True}
    for name in ("guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-fsfreeze-status")
)
FILE_SYSTEMS = [
    {"name": name, "mountpoint": mount, "type": "ext4", "disk": []}
    for name, mount in (("vda1", "/"), ("vdb1", "/data"))
]
NO_FREEZE = "its owner has forbidden it"


@dataclass(eq=False)
class MemoryGuest:
    """A VM in memory.

    Attributes:
        start: which start of it this is; the next one has another number.
        hangs: calls about it don't return before this is set.
        kept_by: whose command keeps the agent, as its source shows it to a visit.
        dies: the agent dies in its freeze, of this cause.
    """

    name: str
    start: int = 1
    frozen: bool = False
    agent: bool = True
    ended: bool = False
    uuid: str | None = None
    asked: int = 0
    freezable: bool = False
    shows_port: bool = True
    freeze_s: float = 0.0
    busy: str | None = None
    suspect: str | None = None
    kept_by: str | None = None
    dies: Cause | None = None
    counts: int = 2
    unknown: bool = False
    called: list[str] = field(default_factory=list)
    thread_hangs: dict[str, threading.Event] = field(default_factory=dict)
    hangs: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hangs.set()

    @property
    def vm(self) -> Vm:
        return Vm(
            VmId("cloud", self.name, HOST),
            generation=f"start {self.start}",
            uuid=self.uuid,
            by_call=True,
            freeze_disabled=None if self.freezable else NO_FREEZE,
        )

    @property
    def key(self) -> str:
        """What tells it from the guests of other tests."""
        return str(id(self))

    def start_anew(self) -> None:
        self.start += 1
        self.frozen = False


# What was given a recipe; weak, so that a test's guests end with the test.
_guests: weakref.WeakValueDictionary[str, MemoryGuest] = weakref.WeakValueDictionary()


class MemoryCalls:
    """The calls about one start of a VM."""

    def __init__(self, guest: MemoryGuest, generation: str | None) -> None:
        self._guest = guest
        self._generation = generation

    def observe(self, timeout_s: float) -> MonitorView:
        self._guest.hangs.wait(60.0)
        return MonitorView(
            RunState.RUNNING,
            port_open=self._guest.agent,
            gone=self.is_gone(),
            client=self.busy is not None,
        )

    @property
    def busy(self) -> str | None:
        return self._guest.kept_by

    def suspect(self) -> str | None:
        return self._guest.suspect

    @property
    def buttons(self) -> None:
        return None

    def glance(self) -> MonitorView | None:
        return None

    def ask(self, *, first: bool, timeout_s: float) -> ProbeResult:
        guest = self._guest
        guest.asked += 1
        if not guest.agent:
            return ProbeResult()
        state = FreezeState.FROZEN if guest.frozen else FreezeState.THAWED
        mounts = (FileSystem("vda1", "/", "ext4"),) if first and not guest.frozen else None
        return ProbeResult(state, 0.01, version="9.2" if first else None, file_systems=mounts)

    @property
    def shows_port(self) -> bool:
        return self._guest.shows_port

    @property
    def disk_calls(self) -> None:
        return None

    def thaw_recipe(self, vm: Vm) -> ThawRecipe:
        _guests[self._guest.key] = self._guest
        details = {"guest": self._guest.key, "generation": self._generation or ""}
        return ThawRecipe(vm, "tests.unit.memory_backend:calls_here", details)

    def call(
        self, command: str, arguments: Mapping[str, object] | None, timeout_s: float
    ) -> object:
        guest = self._guest
        guest.called.append(command)
        if command in guest.thread_hangs:
            guest.thread_hangs[command].wait(60.0)
        if guest.busy is not None:
            raise AgentBusy(guest.busy)
        if not guest.agent:
            raise AgentGone("the agent is not connected")
        match command:
            case "guest-fsfreeze-status":
                return "frozen" if guest.frozen else "thawed"
            case "guest-info":
                return {"version": "9.2", "supported_commands": [dict(one) for one in COMMANDS]}
            case "guest-get-fsinfo":
                return FILE_SYSTEMS
            case "guest-fsfreeze-freeze":
                if guest.dies is not None:
                    time.sleep(min(guest.freeze_s, timeout_s))
                    guest.agent = False
                    raise AgentGone("the agent has disappeared", guest.dies)
                if guest.freeze_s > timeout_s:
                    time.sleep(timeout_s)
                    raise CallTimedOut("no answer in time")
                time.sleep(guest.freeze_s)
                guest.frozen = True
                return guest.counts
            case "guest-fsfreeze-thaw":
                thawed, guest.frozen = guest.counts if guest.frozen else 0, False
                return thawed
            case _:
                raise CallFailed("CommandNotFound", f"the command {command} is not known")

    def is_gone(self) -> bool | None:
        if self._guest.unknown:
            return None
        return self._guest.ended or self._generation != self._guest.vm.generation


def calls_here(details: Mapping[str, str]) -> MemoryCalls:
    """Return the calls of a recipe; a process other than the test's has no such guest."""
    return MemoryCalls(_guests[details["guest"]], details["generation"])


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

    def open(self, vm: Vm, opener: Opener) -> CalledAccess:
        return CalledAccess(vm, MemoryCalls(self.guests[vm.id.name], vm.generation), opener)

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:
        others = (one for one in self.guests.values() if one.name != of.vm.id.name)
        return next((one.vm for one in others if one.uuid == uuid), None)

    def has_ended(self, identity: Identity) -> bool | None:
        if identity.host != HOST:
            return None
        lives = {one.vm.identity for one in self.guests.values() if not one.ended}
        return identity not in lives

    def abilities(self) -> Abilities:
        return Abilities(freeze=False, monitor=True, port_state=True, processes=False, locks=False)

    def notes(self) -> tuple[Note, ...]:
        return ()
