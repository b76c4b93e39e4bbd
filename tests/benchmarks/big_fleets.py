"""Fleets of thousands of fake VMs, in which a share of them changes with each call."""

from __future__ import annotations

import itertools
import random
import time

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import AgentHealth, FreezeInfo, VmState
from agentclient.model.states import AgentState, FreezeState
from agentclient.model.vm import VmId
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, pending, put

SHARE = 10  # one VM in so many changes
FEW = 100  # VMs that change where it is a number, whatever there is


def big_fleet(count: int, still: StillClock) -> Fleet:
    """Return a fleet of which every tenth VM is in a long freeze."""
    fleet = fleet_of((f"vm-{number:05}" for number in range(count)), still)
    for vm_id in changing(count):
        freezing = FreezeInfo(FreezeState.FREEZING, still.wall())
        put(fleet, vm_id, progress=pending(still), freeze=freezing)
    return fleet


def changing(count: int) -> list[VmId]:
    """Return the VMs that change: evenly spread, so that some of them are on the screen."""
    return [VmId("qemu", f"vm-{number:05}") for number in range(0, count, SHARE)]


class Second:
    """A second of long freezes: the clock goes on, and figures change, but no words."""

    def __init__(self, fleet: Fleet, count: int, still: StillClock) -> None:
        self._fleet = fleet
        self._still = still
        self._vms = changing(count)
        self._bytes = itertools.count(1)

    def __call__(self) -> None:
        self._still.advance(1)
        written = next(self._bytes) * 1000

        def change(state: VmState) -> VmState:
            assert state.progress is not None
            return state._replace(progress=state.progress._replace(written_bytes=written))

        for vm_id in self._vms:
            self._fleet.update(vm_id, change)


class FewSeconds(Second):
    """The same, of a hundred VMs in a fleet of any size."""

    def __init__(self, fleet: Fleet, count: int, still: StillClock) -> None:
        super().__init__(fleet, count, still)
        self._vms = self._vms[:FEW]


class WordChanges:
    """The worst second: words change, so that counts are others and rows move."""

    def __init__(self, fleet: Fleet, count: int, still: StillClock) -> None:
        self._fleet = fleet
        self._still = still
        self._vms = changing(count)
        self._states = itertools.cycle([AgentState.SILENT, AgentState.ALIVE])

    def __call__(self) -> None:
        self._still.advance(1)
        health = AgentHealth(next(self._states))
        for vm_id in self._vms:
            put(self._fleet, vm_id, agent=health)


def change_every_second(fleet: Fleet, count: int) -> None:
    """Change every VM once a second for ever, as visits do that find nothing new but figures."""
    period_s = 1.0 / count
    for number in itertools.cycle(range(count)):
        rtt_s = random.uniform(0.001, 0.01)

        def change(state: VmState, rtt_s: float = rtt_s) -> VmState:
            return state._replace(agent=state.agent._replace(rtt_s=rtt_s))

        fleet.update(VmId("qemu", f"vm-{number:05}"), change)
        time.sleep(period_s)
