"""Fleets in states that tests and pictures need, at a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from agentclient.fleet.store import Fleet
from agentclient.model.outcome import Evidence, FileSystem, Outcome
from agentclient.model.snapshot import AgentHealth, FreezeInfo, Progress, VmState
from agentclient.model.states import (
    AgentState,
    Cause,
    EvidenceResult,
    FreezeState,
    KnownBy,
    Level,
    OutcomeKind,
    Phase,
    Refusal,
    RunState,
)
from agentclient.model.vm import AgentChannel, MonitorChannel, Process, Vm, VmId
from tests.console.fakes import StillClock

ROOT = FileSystem("vda1", "/", "ext4")
VAR = FileSystem("vdb1", "/var", "ext4")
EFI = FileSystem("vda15", "/boot/efi", "vfat")


def make_vm(name: str, pid: int = 4711, *, source: str = "qemu", **more: Any) -> Vm:
    return Vm(
        VmId(source, name),
        agent=AgentChannel(Path(f"/run/{pid}.qga")),
        monitor=MonitorChannel(Path(f"/run/{pid}.qmp")),
        process=Process(pid, 1),
        **more,
    )


def fleet_of(names: Iterable[str], clock: StillClock) -> Fleet:
    fleet = Fleet(wall=clock.wall)
    fleet.set_vms("qemu", [make_vm(name, 4000 + n) for n, name in enumerate(names)])
    for state in fleet.states():
        put(fleet, state.id, agent=alive(clock), run_state=RunState.RUNNING, freeze=thawed(clock))
    return fleet


def put(fleet: Fleet, vm_id: VmId, **changes: Any) -> None:
    fleet.update(vm_id, lambda state: state._replace(**changes))


def alive(clock: StillClock, age_s: float = 4.0) -> AgentHealth:
    seen = clock.wall() - timedelta(seconds=age_s)
    return AgentHealth(AgentState.ALIVE, KnownBy.REPLY, 0.003, "7.2.0", seen)


def agent(state: AgentState, how: KnownBy, clock: StillClock, detail: str = "") -> AgentHealth:
    return AgentHealth(state, how, None, None, clock.wall(), detail or None)


def thawed(clock: StillClock) -> FreezeInfo:
    return FreezeInfo(FreezeState.THAWED, clock.wall() - timedelta(hours=3))


def leave_frozen(fleet: Fleet, vm_id: VmId, clock: StillClock) -> None:
    """Have others leave a VM's guest frozen, whose agent has ended: rung 3 has its turn."""
    frozen = FreezeInfo(FreezeState.FROZEN, clock.wall(), foreign=True)
    put(fleet, vm_id, agent=agent(AgentState.CLOSED, KnownBy.PORT, clock), freeze=frozen)


def pending(clock: StillClock, **changes: Any) -> Progress:
    """Return a freeze in its second step, 12 min 19 s after it was sent."""
    now = clock.mono
    progress = Progress(
        "freeze",
        Phase.PENDING,
        "the agent's answer to the freeze",
        started_at=now - 740,
        step=2,
        steps=6,
        sent_at=now - 739,
        step_ends_at=now + 461,
        ends_at=now + 2861,
        heard_at=now - 739.2,
        read=True,
        written_bytes=7_340_032,
    )
    return progress._replace(**changes)


def held(clock: StillClock, **changes: Any) -> Progress:
    """Return a freeze that is held for 60 s, 42 s ago."""
    now = clock.mono
    return pending(
        clock,
        phase=Phase.HELD,
        waiting_for="the end of the hold",
        held_since=now - 42,
        hold_ends_at=now + 18,
        heard_at=now - 41.5,
        written_bytes=0,
        frozen=2,
        verdict=verified(certified=False),
        **changes,
    )


def verified(*, certified: bool = True) -> Outcome:
    return Outcome(
        OutcomeKind.VERIFIED,
        "all 2 file systems that can freeze are frozen; vda15 (vfat at /boot/efi) can't",
        frozen=2,
        thawed=2 if certified else None,
        certified=certified,
        seconds=3.4,
        coverage="2 of 3",
        not_covered=(EFI,),
        evidence=(
            Evidence("reply", EvidenceResult.FOR, 2, 3.1),
            Evidence("status", EvidenceResult.FOR, "frozen", 0.4),
            Evidence("port", EvidenceResult.FOR, "never closed", 0.1),
            Evidence("writes", EvidenceResult.UNKNOWN, None, None),
        ),
        settled=certified,
    )


def lost(*, settled: bool = True) -> Outcome:
    return Outcome(
        OutcomeKind.LOST,
        "the agent was restarted 0.2 s ago; the freeze will not be answered",
        cause=Cause.AGENT_RESTARTED,
        seconds=31.0,
        evidence=(Evidence("port", EvidenceResult.AGAINST, "closed and opened", 0.2),),
        next=None if settled else "frostwatch thaw qemu:mail",
        settled=settled,
    )


def refused() -> Outcome:
    return Outcome(OutcomeKind.REFUSED, "the agent is silent", refusal=Refusal.SILENT, settled=True)


def every_state(clock: StillClock) -> Fleet:
    """Return a fleet with at least one VM in each state that the table tells apart."""
    fleet = Fleet(wall=clock.wall)
    locked = make_vm("db-2", 4014, locked_by="backup")
    names = [
        "app-1", "app-2", "app-10", "build", "cache", "db-1", "dns", "files", "git", "legacy",
        "mail", "mon", "old-win", "proxy",
    ]  # fmt: skip
    vms = [make_vm(name, 4000 + n) for n, name in enumerate(names)]
    fleet.set_vms("qemu", [*vms, locked])
    fleet.set_vms("socket", [make_vm("spare", 4999, source="socket")])
    seen = {state.vm.name: state.id for state in fleet.states()}
    for vm_id in seen.values():
        put(fleet, vm_id, agent=alive(clock), run_state=RunState.RUNNING, freeze=thawed(clock))
    _in_flight(fleet, seen, clock)
    _agents(fleet, seen, clock)
    _outcomes(fleet, seen, clock)
    return fleet


def _in_flight(fleet: Fleet, seen: dict[str, VmId], clock: StillClock) -> None:
    freezing = FreezeInfo(FreezeState.FREEZING, clock.wall() - timedelta(seconds=740))
    frozen = FreezeInfo(FreezeState.FROZEN, clock.wall() - timedelta(seconds=42))
    thawing = FreezeInfo(FreezeState.THAWING, clock.wall())
    put(fleet, seen["app-1"], freeze=freezing, progress=pending(clock))
    put(fleet, seen["app-2"], freeze=frozen, progress=held(clock))
    blocked = pending(clock, phase=Phase.BLOCKED, blocked_s=61.0, read=None)
    put(fleet, seen["build"], freeze=freezing, progress=blocked, run_state=RunState.PAUSED)
    stopping = pending(clock, cancelled=True, read=False)
    put(fleet, seen["cache"], freeze=freezing, progress=stopping)
    put(fleet, seen["db-1"], freeze=frozen, progress=held(clock)._replace(phase=Phase.AT_RISK))
    thaw = pending(clock, phase=Phase.THAWING, step_ends_at=clock.mono + 171)
    put(fleet, seen["dns"], freeze=thawing, progress=thaw)


def _agents(fleet: Fleet, seen: dict[str, VmId], clock: StillClock) -> None:
    put(fleet, seen["files"], agent=agent(AgentState.SILENT, KnownBy.DEADLINE, clock))
    busy = agent(AgentState.BUSY, KnownBy.CLIENT, clock, "held by backup-agent (pid 812)")
    put(fleet, seen["git"], agent=busy)
    put(fleet, seen["legacy"], agent=agent(AgentState.NONE, KnownBy.CONFIGURATION, clock))
    put(fleet, seen["mon"], agent=agent(AgentState.OPEN, KnownBy.PORT, clock))
    put(fleet, seen["proxy"], agent=agent(AgentState.CLOSED, KnownBy.PORT, clock))
    unknown = AgentHealth()
    put(
        fleet,
        seen["spare"],
        agent=unknown,
        run_state=RunState.UNKNOWN,
        freeze=FreezeInfo(),
        trouble="no permission to connect to /run/4999.qmp (run this as root)",
    )


def _outcomes(fleet: Fleet, seen: dict[str, VmId], clock: StillClock) -> None:
    put(fleet, seen["app-10"], last=verified(), file_systems=(ROOT, VAR, EFI))
    put(fleet, seen["mail"], last=lost())
    put(fleet, seen["files"], last=refused())
    foreign = FreezeInfo(FreezeState.FROZEN, clock.wall() - timedelta(seconds=723), foreign=True)
    put(fleet, seen["db-2"], freeze=foreign)
    put(fleet, seen["old-win"], last=lost()._replace(kind=OutcomeKind.PARTIAL, frozen=2))
    fleet.log(seen["app-1"], Level.INFO, "freeze sent: waiting up to 1:00:00 in 6 steps")
    fleet.log(
        seen["app-1"],
        Level.INFO,
        "no answer yet: step 2 of 6, a status is queued behind the freeze; 50:00 left; the agent "
        "has read it; 7340032 bytes written since",
    )


def long_freeze(clock: StillClock) -> Fleet:
    """Return three VMs, the second of them in a long freeze."""
    fleet = fleet_of(["app-1", "db-1", "web-1"], clock)
    vm_id = VmId("qemu", "db-1")
    freezing = FreezeInfo(FreezeState.FREEZING, clock.wall() - timedelta(seconds=740))
    put(fleet, vm_id, freeze=freezing, progress=pending(clock), file_systems=(ROOT, VAR, EFI))
    for level, text in (
        (Level.INFO, "preparing: 3 file systems, 2 of them can freeze"),
        (Level.WARNING, "not covered: vda15 (vfat at /boot/efi)"),
        (Level.INFO, "freeze sent: waiting up to 1:00:00 in 6 steps, the first 10:00"),
        (Level.INFO, "the agent has read the freeze"),
        (
            Level.INFO,
            "no answer yet: step 2 of 6, a status is queued behind the freeze; 50:00 left",
        ),
    ):
        fleet.log(vm_id, level, text)
    return fleet


def thousand(clock: StillClock) -> Fleet:
    """Return a fleet of 1,000 VMs, in which a few are in trouble and a few are frozen."""
    fleet = fleet_of((f"vm-{number:04}" for number in range(1000)), clock)
    for number in (17, 404, 611):
        silent = agent(AgentState.SILENT, KnownBy.DEADLINE, clock)
        put(fleet, VmId("qemu", f"vm-{number:04}"), agent=silent)
    for number, age_s in ((250, 723.0), (777, 61.0), (42, 8.0)):
        since = clock.wall() - timedelta(seconds=age_s)
        foreign = FreezeInfo(FreezeState.FROZEN, since, foreign=True)
        put(fleet, VmId("qemu", f"vm-{number:04}"), freeze=foreign)
    put(fleet, VmId("qemu", "vm-0999"), last=lost())
    for number in range(100, 140):
        freezing = FreezeInfo(FreezeState.FREEZING, clock.wall() - timedelta(seconds=740))
        put(fleet, VmId("qemu", f"vm-{number:04}"), progress=pending(clock), freeze=freezing)
    return fleet


HOSTILE_NAMES = (
    "db[/]1",
    "[bold red]x[/bold red]",
    "\x1b[31mred\x1b[2J",
    "a" * 10_000,
    "שלום-עולם",
    "evil\u202etxt.exe",
    "日本語の仮想マシン",
    "tab\tand\nnewline",
    "z" + "\u0301" * 200,
)


def state_of(fleet: Fleet, name: str) -> VmState:
    return next(state for state in fleet.states() if state.vm.name == name)
