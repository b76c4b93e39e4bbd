"""A host at night whose backups, which are nobody's of us, are stuck: for the pictures."""

from __future__ import annotations

from datetime import timedelta

from agentclient.fleet.store import Fleet
from agentclient.model.others import ChannelClient, Others
from agentclient.model.snapshot import AgentHealth, FreezeInfo
from agentclient.model.states import (
    AgentState,
    Cause,
    FreezeState,
    KnownBy,
    Level,
    OthersState,
    RunState,
)
from agentclient.model.vm import VmId
from tests.console.fakes import StillClock
from tests.console.fleets import alive, make_vm, put, thawed

# From the noon at which the clock stands to the middle of the night.
_UNTIL_NIGHT_S = 15 * 3600 + 12 * 60.0
_BEFORE_S = 1800.0  # since when the console has been open
_NAMES = ("app-1", "db-1", "db-2", "files", "git", "mail", "proxy", "web-1", "web-2")


def stuck_backups(still: StillClock) -> Fleet:
    """Return a fleet with a backup that is lost, one that is pending, and what one has left."""
    still.advance(_UNTIL_NIGHT_S - _BEFORE_S)
    fleet = Fleet(wall=still.wall)
    locked = {"db-1": "backup", "files": "backup"}
    fleet.set_vms(
        "qemu",
        [
            make_vm(name, 2100 + number, locked_by=locked.get(name), user="root")
            for number, name in enumerate(_NAMES)
        ],
    )
    for state in fleet.states():
        fleet.log(state.id, Level.INFO, "agent alive (reply)")
    still.advance(_BEFORE_S)
    for state in fleet.states():
        put(fleet, state.id, agent=alive(still), run_state=RunState.RUNNING, freeze=thawed(still))
    _lost(fleet, still)
    _pending(fleet, still)
    _left(fleet, still)
    return fleet


def _vzdump(vmid: int, pid: int) -> ChannelClient:
    return ChannelClient(f"task UPID:pve1:{pid:08X}:0A7F21C4:6503B1A5:vzdump:{vmid}:root@pam:", pid)


def _busy(still: StillClock, by: ChannelClient) -> AgentHealth:
    return AgentHealth(
        AgentState.BUSY, KnownBy.CLIENT, seen_at=still.wall(), detail=f"held by {by}"
    )


def _lost(fleet: Fleet, still: StillClock) -> None:
    by = _vzdump(101, 40123)
    since = still.wall() - timedelta(minutes=12, seconds=41)
    others = Others(OthersState.LOST, since, by, Cause.AGENT_RESTARTED)
    vm_id = VmId("qemu", "db-1")
    put(fleet, vm_id, others=others, agent=_busy(still, by), freeze=FreezeInfo())
    still.advance(-760)
    fleet.log(vm_id, Level.INFO, f"{by}: a command is pending for 1.0 s")
    still.advance(42)
    lost = "agent-restarted: it will not be answered, and they go on waiting"
    fleet.log(vm_id, Level.WARNING, f"{by}: their command is lost after 43 s ({lost})")
    still.advance(718)


def _pending(fleet: Fleet, still: StillClock) -> None:
    by = _vzdump(104, 40877)
    others = Others(OthersState.PENDING, still.wall() - timedelta(seconds=95), by, certain=True)
    put(fleet, VmId("qemu", "files"), others=others, agent=_busy(still, by), freeze=FreezeInfo())


def _left(fleet: Fleet, still: StillClock) -> None:
    since = still.wall() - timedelta(minutes=4, seconds=8)
    by = ChannelClient("backup-agent", 38810, "backup")
    left = FreezeInfo(FreezeState.FROZEN, since, True, by, "its process has ended")
    put(fleet, VmId("qemu", "git"), freeze=left)
