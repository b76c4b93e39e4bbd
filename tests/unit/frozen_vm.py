"""A VM in virtual time whose guest is frozen: its agent, its monitor, and what is true inside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agentclient.access import agent as agent_module
from agentclient.access import exchange as exchange_module
from agentclient.access import local_access as local_access_module
from agentclient.access import monitor as monitor_module
from agentclient.access import monitor_proof as monitor_proof_module
from agentclient.access.guest_inputs import Serial
from agentclient.access.local_access import LocalAccess
from agentclient.access.monitor import Monitor
from agentclient.access.stream import Channel
from agentclient.fleet.store import Fleet
from agentclient.freeze.effects import ReportEvent
from agentclient.model.events import Ended, EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.rescue import RescueOutcome, RescueTimes, Step
from agentclient.model.snapshot import Progress, VmState
from agentclient.model.vm import AgentChannel, MonitorChannel, Peer, Vm, VmId
from agentclient.operations import driver as driver_module
from agentclient.operations import operation as operation_module
from agentclient.operations import thaw as thaw_module
from agentclient.operations.context import OperationContext
from agentclient.operations.control import Control
from agentclient.operations.rescue import agent_rungs as agent_rungs_module
from agentclient.operations.rescue import monitor_rungs as monitor_rungs_module
from agentclient.operations.rescue import operation as rescue_module
from agentclient.operations.rescue import rung as rung_module
from agentclient.operations.rescue.operation import RescueOperation
from agentclient.operations.rescue.rung import RungContext
from tests.unit.fakes import ENDED, GREETING, Answer, FakeAgent, FakeQemu, FakeReporter
from tests.unit.timeline import NumberedChannel, NumberedEndpoint, Timeline

AGENT, MONITOR = Path("/run/db.qga"), Path("/run/db.qmp")
VM = Vm(VmId("qemu", "db"), AgentChannel(AGENT), MonitorChannel(MONITOR))
TIMES = RescueTimes()
_BUS = "/machine/peripheral-anon/device[9]/virtio-backend/bus.0"
_ANON, _UNATTACHED = "/machine/peripheral-anon", "/machine/unattached"


class Reporter(FakeReporter):
    """Remembers also what is shown while something is in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[Progress] = []
        self.ports: list[bool] = []

    def progress(self, progress: Progress | None) -> None:
        assert progress is not None, "it was begun"
        self.waits.append(progress)

    def port(self, *, is_open: bool) -> None:
        self.ports.append(is_open)

    def texts(self, kind: EventKind) -> list[str]:
        """The sentences of one kind."""
        return [tell.text for tell in self.told if tell.kind is kind]

    @property
    def end(self) -> ReportEvent:
        """How it was told that the rung has ended."""
        (end,) = [tell for tell in self.told if tell.kind is EventKind.OUTCOME]
        return end


@dataclass
class FrozenVm:
    """The truth about one VM, which no code under test may look at.

    Attributes:
        frozen: how many file systems the kernel keeps frozen.
        flag: what the agent believes; it outlives the agent.
        agent_runs: an agent has its port open.
        agent_hears: and it answers; what is written to one that does not is kept for it.
        sysrq_allowed: SysRq is allowed in the guest.
        busy: programs in it write, as soon as nothing is frozen.
        boots_s: how long it takes after a reset until an agent is there.
        gone: what the kernel tells of QEMU's process.
        kernel_tells: it shows also who is connected to the agent's socket.
    """

    clock: Timeline
    frozen: int = 2
    flag: bool = True
    agent_runs: bool = True
    agent_hears: bool = True
    sysrq_allowed: bool = True
    busy: bool = True
    boots_s: float = 20.0
    gone: bool | None = None
    other_client: bool = False
    kernel_tells: bool = False
    status: str = "running"
    openings: int = 3
    reads: int = 7
    keyboard: bool = True
    serials: dict[str, str] = field(
        default_factory=lambda: {"serial0": "disconnected:unix:/run/db.serial0,server=on"}
    )
    typed: list[tuple[float, bytes]] = field(default_factory=list)
    resets: int = 0
    thaws: int = 0

    def __post_init__(self) -> None:
        self.agent = FakeAgent(
            {
                "guest-fsfreeze-status": lambda _: self._status(),
                "guest-fsfreeze-thaw": self._thaw,
                "guest-sync": _echo,
                "guest-info": {"version": "7.2.0", "supported_commands": []},
                "guest-get-fsinfo": [{"name": "vda1", "mountpoint": "/", "type": "ext4"}],
            }
        )
        self.qemu = FakeQemu(
            {
                "query-status": lambda _: {"status": self.status},
                "query-migrate": {},
                "query-chardev": lambda _: self._chardevs(),
                "query-blockstats": lambda _: [{"stats": {"wr_bytes": self.written}}],
                "qom-list": self._list,
                "qom-get": self._get,
                "x-query-virtio-queue-status": lambda _: {"used-idx": self.openings},
                "x-query-virtio-queue-element": lambda _: {"avail": {"idx": self.reads}},
                "send-key": lambda _: self.sysrq(),
                "chardev-send-break": {},
                "system_reset": lambda _: self.reset(),
            }
        )
        self.channel = NumberedEndpoint(self.clock, self._write)
        self.monitor = NumberedEndpoint(self.clock, self.qemu, greeting=(GREETING,))
        self.serial_console = NumberedEndpoint(self.clock, self._type)
        self.reporter = Reporter()
        self.control = Control()
        self.ours = False
        self._written, self._since = 1000, self.clock.now
        self._unread: list[tuple[NumberedChannel, bytes]] = []

    @property
    def is_seen_taken(self) -> bool:
        """Whether the kernel tells that somebody else is connected to the agent's channel."""
        return self.other_client and self.kernel_tells

    def access(self, vm: Vm = VM) -> LocalAccess:
        """Return a link to it."""
        monitor = Monitor(self.monitor, vm.agent) if vm.monitor else None
        return LocalAccess(vm, self.channel if vm.agent else None, monitor)

    def context(self, vm: Vm = VM, **more: Any) -> OperationContext:
        """Return what an operation on it works with."""
        return OperationContext(vm, self.access(vm), self.reporter, self.control, **more)

    def operation(self, step: Step, vm: Vm = VM, **more: Any) -> RescueOperation:
        """Return the rescue that takes one rung; a person has decided it unless it is said."""
        more.setdefault("person", True)
        state, read_only = more.pop("state", VmState(vm)), more.pop("read_only", False)
        self.ours = more.pop("ours", False)
        fleet = Fleet()
        fleet.set_vms(vm.source, [vm])
        fleet.update(vm.id, lambda _: state)
        return RescueOperation(self.context(vm, fleet=fleet, read_only=read_only), step, **more)

    def rescue(self, step: Step, vm: Vm = VM, **more: Any) -> RescueOutcome:
        """Take one rung, and see that nothing is left behind."""
        operation = self.operation(step, vm, **more)
        outcome = operation.run()
        assert not operation.context.access.channel_lock.locked()
        for endpoint in (self.channel, self.monitor, self.serial_console):
            assert all(one.closed for one in endpoint.channels), "a socket was left open"
        assert self.reporter.end.details == Ended(outcome)
        assert outcome.seconds >= 0.0
        return outcome

    def rung(self, step: Step, vm: Vm = VM, **more: Any) -> RungContext:
        """Return the context of one rung."""
        more.setdefault("ours", False)
        more.setdefault("times", TIMES)
        return RungContext(self.context(vm), step, **more)

    def stop(self) -> None:
        """Stop the rung, as a person does."""
        self.control.add(Instruction.CANCEL)

    # -- the guest ------------------------------------------------------------------------

    @property
    def written(self) -> int:
        """How many bytes the guest has written by now."""
        self._settle()
        return self._written

    def sysrq(self) -> object:
        """Alt+SysRq+J: the kernel thaws everything, if it may be asked to."""
        if self.sysrq_allowed:
            self._settle()
            self.frozen = 0
        return {}

    def reset(self) -> object:
        """The guest starts anew."""
        self._settle()
        self.resets += 1
        self.frozen, self.openings = 0, 0
        self.agent_runs = False
        self.clock.at(self.boots_s, self.agent_comes)
        return {}

    def agent_leaves(self) -> None:
        """The agent ends; what it has not read goes to the next one."""
        self.agent_runs = False
        self.openings += 1

    def agent_comes(self) -> None:
        """Another agent opens the port, and believes the flag."""
        self.agent_runs, self.agent_hears = True, True
        self.openings += 1
        self._read()

    def agent_goes_on(self) -> None:
        """An agent that was stopped runs again."""
        self.agent_hears = True
        self._read()

    def breaks(self) -> None:
        """QEMU drops whoever is connected to the agent's channel."""
        for one in self.channel.channels:
            one.arrive([ENDED])

    @property
    def asked(self) -> list[str]:
        """What QEMU was asked."""
        return [name for name, _ in self.qemu.asked]

    @property
    def said(self) -> list[object]:
        """The commands that were written to the agent, by whichever connection."""
        return [name for one in self.channel.channels for name in one.commands]

    @property
    def first_byte_at(self) -> float:
        """When the first byte was written to the agent's channel."""
        return min(at for one in self.channel.numbered for at in one.written_at)

    def _settle(self) -> None:
        if self.busy and not self.frozen:
            self._written += int((self.clock.now - self._since) * 100)
        self._since = self.clock.now

    def _write(self, data: bytes) -> Iterable[Answer]:
        if self.agent_runs and self.agent_hears:
            self.reads += 1
            yield from self.agent(data)
        else:
            self._unread.append((self.channel.numbered[-1], data))

    def _read(self) -> None:
        unread, self._unread = self._unread, []
        for channel, data in unread:
            if not channel.closed:
                self.reads += 1
                channel.arrive(self.agent(data))

    def _status(self) -> str:
        return "frozen" if self.flag else "thawed"

    def _thaw(self, _: object) -> int:
        self._settle()
        self.thaws += 1
        count, self.frozen, self.flag = self.frozen, 0, False
        return count

    def _type(self, data: bytes) -> Iterable[Answer]:
        self.typed.append((self.clock.now, data))
        if data == b"j" and ("chardev-send-break", {"id": "serial0"}) in self.qemu.asked:
            self.sysrq()
        return ()

    # -- QEMU -----------------------------------------------------------------------------

    def process_has_gone(self, _process: object = None, *_: object) -> bool | None:
        """What the kernel tells of QEMU's process."""
        return self.gone

    def _chardevs(self) -> object:
        taken = self.other_client or any(not one.closed for one in self.channel.channels)
        prefix = "" if taken else "disconnected:"
        agent = {
            "label": "qga0",
            "filename": f"{prefix}unix:/run/db.qga,server=on",
            "frontend-open": self.agent_runs,
        }
        return [agent, *({"label": name, "filename": to} for name, to in self.serials.items())]

    def _devices(self) -> dict[str, tuple[str, dict[str, object]]]:
        port: dict[str, object] = {"chardev": "qga0", "nr": 1, "parent_bus": _BUS}
        found: dict[str, tuple[str, dict[str, object]]] = {
            f"{_ANON}/device[2]": ("virtserialport", port),
            f"{_UNATTACHED}/device[0]": ("ICH9-LPC", {}),
        }
        if self.keyboard:
            found[f"{_UNATTACHED}/device[1]"] = ("i8042", {})
        for number, name in enumerate(self.serials, start=10):
            found[f"{_ANON}/device[{number}]"] = ("isa-serial", {"chardev": name})
        return found

    def _list(self, arguments: Any) -> object:
        split = [(path.rpartition("/"), kind) for path, (kind, _) in self._devices().items()]
        return [
            {"name": name, "type": f"child<{kind}>"}
            for (folder, _, name), kind in split
            if folder == arguments["path"]
        ]

    def _get(self, arguments: Any) -> object:
        return self._devices()[arguments["path"]][1][arguments["property"]]


def _echo(arguments: Any) -> object:
    return arguments["id"]


def frozen_vm(monkeypatch: pytest.MonkeyPatch) -> FrozenVm:
    """Return a frozen VM; whatever talks to it waits by its clock, and touches nothing real."""
    clock = Timeline()
    clock.install(
        monkeypatch,
        agent_module,
        driver_module,
        monitor_rungs_module,
        monitor_module,
        monitor_proof_module,
        agent_rungs_module,
        rung_module,
        rescue_module,
        operation_module,
        exchange_module,
        thaw_module,
    )
    vm = FrozenVm(clock)

    def sit_down(serial: Serial, _: Vm) -> Channel:
        return vm.serial_console.connect()

    def nobody(_: Path) -> Peer | None:
        return None

    monkeypatch.setattr(rescue_module, "is_provably_ours", lambda _: vm.ours)
    monkeypatch.setattr(monitor_rungs_module, "connect_serial", sit_down)
    monkeypatch.setattr(local_access_module, "is_gone", vm.process_has_gone)
    monkeypatch.setattr(monitor_module, "is_gone", vm.process_has_gone)
    monkeypatch.setattr(monitor_proof_module, "find_peer", nobody)
    monkeypatch.setattr(agent_rungs_module, "CHANNEL_WAIT_S", 0.0)
    monkeypatch.setattr(monitor_proof_module, "CHANNEL_WAIT_S", 0.0)
    monkeypatch.setattr(thaw_module, "CHANNEL_WAIT_S", 0.0)
    monkeypatch.setattr(local_access_module, "clients", lambda _: ())
    return vm
