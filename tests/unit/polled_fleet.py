"""A fleet that is visited in virtual time; each of its VMs is a `FrozenVm` that can do anything."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from agentclient.access import agent_probe as agent_probe_module
from agentclient.access import local_access as local_access_module
from agentclient.access import monitor as monitor_module
from agentclient.access import multiplexer as multiplexer_module
from agentclient.access.access_pool import AccessPool
from agentclient.access.host.socket_clients import Client
from agentclient.access.local_access import LocalAccess
from agentclient.fleet import poller as poller_module
from agentclient.fleet import taken as taken_module
from agentclient.fleet.poller import Poller
from agentclient.fleet.recovery import Recovery
from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import Progress, VmState
from agentclient.model.states import Phase
from agentclient.model.vm import Process, Vm, VmId
from tests.unit.frozen_vm import VM, FrozenVm
from tests.unit.timeline import NumberedChannel, Timeline

STARTED = datetime(2026, 3, 1, tzinfo=UTC)
BUSY = Progress("freeze", Phase.PENDING, "an answer", 0.0)


class RecordingRecovery(Recovery):
    """Remembers which answers it was told of."""

    def __init__(self) -> None:
        self.answers: list[tuple[VmState, VmState]] = []

    def answered(self, before: VmState, after: VmState) -> None:
        self.answers.append((before, after))


class FakeAccessPool(AccessPool):
    """The links to VMs that exist in memory alone."""

    def __init__(self, vms: dict[VmId, FrozenVm]) -> None:
        super().__init__()
        self.vms = vms
        self.made: dict[VmId, LocalAccess] = {}
        self.forgotten: list[VmId] = []

    def of(self, vm: Vm) -> LocalAccess:
        if vm.id not in self.made:
            self.made[vm.id] = self.vms[vm.id].access(vm)
        return self.made[vm.id]

    def forget(self, vm_id: VmId) -> None:
        self.forgotten.append(vm_id)
        access = self.made.pop(vm_id, None)
        if access is not None:
            access.close()


class PolledFleet:
    """Some VMs, and what visits them."""

    def __init__(self, clock: Timeline, vms: Sequence[Vm], monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.fleet = Fleet(wall=lambda: STARTED + timedelta(seconds=clock.now - 1000.0))
        self.vms = {vm.id: thawed(clock) for vm in vms}
        self.accesses = FakeAccessPool(self.vms)
        self.recovery = RecordingRecovery()
        self.wanted: deque[VmId] = deque()
        self.who: tuple[Client, ...] = (Client(99, "qm", waiting=False),)
        self.asked_who: list[float] = []
        monkeypatch.setattr(local_access_module, "clients_of", self._clients)
        monkeypatch.setattr(taken_module, "file_of", _file_of)
        monkeypatch.setattr(taken_module, "connected", self._connected)
        self.poller = self._made()
        self.fleet.set_vms("qemu", vms)
        self.poller.adopt(clock.now)

    def _made(self) -> Poller:
        return Poller(
            self.fleet,
            self.accesses,
            self.wanted,
            self.recovery,
            port_interval_s=2.0,
            agent_interval_s=15.0,
        )

    def run(self, seconds: float) -> None:
        """Take turns for a while, and see that none takes longer than it may."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            began = self.clock.now
            self.poller.turn(began)
            assert self.clock.now - began <= poller_module.LONGEST_TURN_S + 0.1
            if self.clock.now == began:
                self.clock.sleep(0.001)  # what wakes it takes a moment, too

    def all_once(self, seconds: float) -> None:
        """Visit everybody once."""
        self.poller.all_once(seconds, cast(threading.Event, self))

    def wait(self, seconds: float) -> None:
        """Wait as the event does that ends the watching."""
        self.clock.sleep(seconds)

    def update(self, change: Callable[[VmState], VmState], vm: Vm = VM) -> None:
        """Change what is known of a VM."""
        self.fleet.update(vm.id, change)

    def state(self, vm: Vm = VM) -> VmState:
        """What is known of a VM."""
        return self.fleet.get(vm.id)

    def log(self, vm: Vm = VM) -> list[str]:
        """What its log says."""
        return [line.text for line in self.fleet.log_since(vm.id)]

    def looks(self, vm: Vm = VM) -> int:
        """How often its monitor was connected to."""
        return len(self.vms[vm.id].monitor.channels)

    def questions(self, vm: Vm = VM) -> int:
        """How often its agent was connected to."""
        return len(self.vms[vm.id].channel.channels)

    @property
    def open(self) -> list[NumberedChannel]:
        """The connections that are open now."""
        return [one for one in self.clock.channels.values() if not one.closed]

    def _connected(self) -> set[tuple[int, int]]:
        """The channels that somebody else is connected to; without sockets nobody sees them."""
        vms = {state.id: state.vm for state in self.fleet.states()}
        taken = [
            vms[vm_id].agent
            for vm_id, one in self.vms.items()
            if vm_id in vms and one.is_seen_taken
        ]
        return {_file_of(agent.path) for agent in taken if agent is not None}

    def _clients(self, paths: Iterable[Path]) -> dict[Path, tuple[Client, ...]]:
        self.asked_who.append(self.clock.now)
        return dict.fromkeys(paths, self.who)


def _file_of(path: Path) -> tuple[int, int]:
    return 0, hash(path)


def thawed(clock: Timeline) -> FrozenVm:
    """Return a VM whose guest is well."""
    return FrozenVm(clock, frozen=0, flag=False)


def polled(monkeypatch: pytest.MonkeyPatch, vms: Sequence[Vm] = (VM,)) -> PolledFleet:
    """Return a fleet of VMs that are well, and are visited from now on."""
    clock = Timeline()
    clock.install(
        monkeypatch,
        agent_probe_module,
        monitor_module,
        multiplexer_module,
        poller_module,
    )
    made = PolledFleet(clock, vms, monkeypatch)

    def is_gone(process: Process | None) -> bool | None:
        found = [one for one in made.vms.values() if one.gone is not None]
        return found[0].gone if found else None

    monkeypatch.setattr(local_access_module, "is_gone", is_gone)
    monkeypatch.setattr(monitor_module, "is_gone", is_gone)
    return made
