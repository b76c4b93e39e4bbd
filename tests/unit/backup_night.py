"""A night in which Proxmox's worker backs up one VM after the other, in virtual time.

Each of its commands has a connection of its own, and comes in one piece with a sync (protocol §4).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from agentclient.access import agent_probe as agent_probe_module
from agentclient.access import local_access as local_access_module
from agentclient.access import monitor as monitor_module
from agentclient.access import multiplexer as multiplexer_module
from agentclient.access.host.socket_clients import Client
from agentclient.access.local_access import LocalAccess
from agentclient.access.monitor import Monitor
from agentclient.fleet import others as others_module
from agentclient.fleet import poller as poller_module
from agentclient.fleet.poller import Poller
from agentclient.fleet.watch_events import WatchEvent, WatchLog
from agentclient.model.snapshot import MonitorView, Traffic
from agentclient.model.states import RunState
from agentclient.model.vm import AgentChannel, MonitorChannel, Vm, VmId
from tests.unit.frozen_vm import VM, FrozenVm
from tests.unit.polled_fleet import PolledFleet
from tests.unit.timeline import Timeline

UPID: Final = "UPID:node1:0000A2B3:00C0FFEE:65000000:vzdump:100:root@pam:"
PID: Final = 4711
STEP_S: Final = 60.0
STEPS: Final = 6
Waits = Generator[float, None, bool]


@dataclass(frozen=True)
class Plan:
    """What happens when a VM is frozen for its backup.

    Attributes:
        hook_s: how long its freeze hook runs.
        dies_s: when its agent is killed; None if it is not.
        back_s: when another one runs then; infinite for never.
    """

    hook_s: float = 0.2
    dies_s: float | None = None
    back_s: float = 0.0


def vm(number: int) -> Vm:
    """Return a VM of the night."""
    name = f"vm{number:03}"
    channel = AgentChannel(Path(f"/run/{name}.qga"))
    return Vm(VmId("qemu", name), channel, MonitorChannel(Path(f"/run/{name}.qmp")))


class SeenAtOnce(LocalAccess):
    """A look at such a VM takes no time, and no JSON."""

    truth: BackedUpVm

    def begin_observation(self, *, traffic: bool = False, writes: bool = False) -> MonitorView:
        return self.truth.view(traffic=traffic, writes=writes)


class BackedUpVm(FrozenVm):
    """A VM whose QEMU counts what a client and the agent write."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.frozen, self.flag, self.kernel_tells = 0, False, True
        self.handed = self.answers = self.deaths = 0

    def access(self, vm: Vm = VM) -> LocalAccess:
        access = SeenAtOnce(vm, self.channel, Monitor(self.monitor, vm.agent))
        access.truth = self
        return access

    def view(self, *, traffic: bool, writes: bool) -> MonitorView:
        """What QEMU shows."""
        return MonitorView(
            RunState.RUNNING,
            self.agent_runs,
            self.other_client,
            openings=self.openings if traffic else None,
            written_bytes=self.written if writes else None,
            traffic=Traffic(self.handed, 0, self.answers) if traffic else None,
            gone=False,
        )

    def command(self, seconds: float, most_s: float = STEP_S) -> Waits:
        """Have the worker send a command that takes so long; return whether it was answered."""
        self.other_client, deaths = True, self.deaths
        if self.agent_runs:
            self.handed, self.answers = self.handed + 1, self.answers + 1
            yield min(seconds, most_s)
            if self.deaths == deaths:
                self.answers, self.other_client = self.answers + 1, False
                return True
        yield most_s - (seconds if self.deaths != deaths else 0.0)
        self.other_client = False
        return False

    def die(self, back_s: float) -> None:
        """The agent is killed; another one comes later."""
        self.deaths += 1
        self.agent_leaves()
        if not back_s:
            self.agent_comes()
        elif back_s < float("inf"):
            self.clock.at(back_s, self.agent_comes)


class Night(PolledFleet):
    """VMs that are watched while a worker backs up one after the other.

    Attributes:
        guests: the VMs as they really are.
        told: what `watch` tells.
        sent: when each VM's freeze was sent (monotonic clock).
        over: the worker has ended.
    """

    def __init__(self, clock: Timeline, vms: Sequence[Vm], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(clock, vms, monkeypatch)
        self.guests = {one.id: BackedUpVm(clock) for one in vms}
        self.vms.update(self.guests)
        self.who = (Client(PID, f"task {UPID}", waiting=False),)
        self.told: list[WatchEvent] = []
        self.sent: dict[VmId, float] = {}
        self.over = False
        self._log, self._reader = WatchLog(), self.fleet.reader()

    def _made(self) -> Poller:
        parts = (self.fleet, self.accesses, self.wanted, self.recovery)
        return Poller(*parts, port_interval_s=60.0, agent_interval_s=3600.0)

    def begin(self, plans: Mapping[VmId, Plan]) -> None:
        """Begin to back up all VMs that there are plans for, one after the other."""
        self.follow(self._all(plans))

    def come(self, one: Vm, *, frozen: bool) -> None:
        """A VM is listed, alone; somebody has frozen it, perhaps."""
        self.guests[one.id] = self.vms[one.id] = BackedUpVm(self.clock)
        self.guests[one.id].flag = frozen
        self.fleet.set_vms("qemu", [one])
        self.poller.adopt(self.clock.now)
        self.watch(2.0)

    def go(self) -> None:
        """All VMs are listed no more, and forgotten."""
        self.fleet.set_vms("qemu", [])
        self.watch(2.0)
        self.fleet.forget_absent()
        self.poller.adopt(self.clock.now)
        self.watch(1.0)

    @property
    def kept(self) -> tuple[object, ...]:
        """All that is kept of VMs."""
        return self.poller, self._log, self.fleet

    def watch(self, seconds: float) -> None:
        """Watch for a while, as `watch` does."""
        self.run(seconds)
        change = self._reader.changes()
        for state in change.changed:
            self.told += self._log.take(state, self.fleet.wall())
        for vm_id in change.removed:
            self._log.forget(vm_id)

    def follow(self, work: Iterator[float]) -> None:
        """Have something go on; it yields for how long it waits, in seconds."""
        seconds = next(work, None)
        self.over = seconds is None
        if seconds is not None:
            self.clock.at(seconds, lambda: self.follow(work))

    def _all(self, plans: Mapping[VmId, Plan]) -> Generator[float, None, None]:
        for vm_id, plan in plans.items():
            self._lock(vm_id, "backup")
            yield 1.0
            yield from self._back_up(vm_id, plan)
            yield 5.0
            self._lock(vm_id, None)

    def _back_up(self, vm_id: VmId, plan: Plan) -> Waits:
        guest = self.guests[vm_id]
        yield from guest.command(0.01)  # a ping
        yield 0.5
        self.sent[vm_id] = self.clock.now
        if plan.dies_s is not None:
            self.clock.at(plan.dies_s, lambda: guest.die(plan.back_s))
        if not (yield from guest.command(plan.hook_s)):
            for _ in range(STEPS - 1):
                if (yield from guest.command(0.01)):
                    break  # "thawed": it gives up
            return False
        guest.frozen, guest.flag = 2, True
        yield 0.3  # the backup begins
        yield from guest.command(0.01)
        guest.frozen, guest.flag = 0, False
        return True

    def _lock(self, vm_id: VmId, word: str | None) -> None:
        self.fleet.update(vm_id, lambda old: old._replace(vm=old.vm._replace(locked_by=word)))


def night(monkeypatch: pytest.MonkeyPatch, vms: Sequence[Vm]) -> Night:
    """Return such VMs, which are watched from now on."""
    clock = Timeline()
    clock.install(
        monkeypatch,
        agent_probe_module,
        monitor_module,
        multiplexer_module,
        others_module,
        poller_module,
    )
    monkeypatch.setattr(local_access_module, "is_gone", lambda _: None)
    monkeypatch.setattr(local_access_module, "owner_of", lambda _: "root")
    monkeypatch.setattr(local_access_module, "started_at", lambda _: None, raising=False)
    return Night(clock, vms, monkeypatch)
