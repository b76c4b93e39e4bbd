"""Fleets with open windows, for tests and pictures: of one VM, and of a group."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState, OutcomeKind, Phase
from agentclient.model.timeline import Group, Sample, Timeline, Usual
from tests.console.console_session import qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, held, leave_frozen, pending, put, verified

MEMBERS = ("app-1", "db-1", "web-1")


def timeline(
    still: StillClock, *, replied_s: float | None = 42.0, group: Group | None = None
) -> Timeline:
    """Return a freeze that was sent 46 s ago, and answered `replied_s` ago."""
    sent = still.mono - 46
    writes = tuple(
        Sample(sent + n * 0.5, size)
        for n, size in enumerate((0, 200_000, 2_000_000, 3_000_000, 3_100_000, 3_100_000))
    )
    replied = None if replied_s is None else still.mono - replied_s
    return Timeline(
        sent - 0.3,
        sent,
        replied,
        replied,
        replied,
        writes=writes,
        usual=Usual(20, 2.5, 6.0),
        group=group,
    )


def hold(
    fleet: Fleet, name: str, still: StillClock, group: Group | None = None, since_s: float = 42.0
) -> None:
    """Have a VM's window open: verified, since so many seconds, for a minute in all."""
    since = still.mono - since_s
    frozen = FreezeInfo(FreezeState.FROZEN, still.wall() - timedelta(seconds=since_s))
    progress = held(still)._replace(held_since=since, sent_at=still.mono - 46)
    times = timeline(still, replied_s=since_s, group=group)
    put(fleet, qemu(name), progress=progress, timeline=times, freeze=frozen)


def one_held(still: StillClock) -> Fleet:
    """Return two VMs, one of which is held."""
    fleet = fleet_of(["db-1", "web-1"], still)
    hold(fleet, "db-1", still)
    return fleet


def group_held(still: StillClock, names: Sequence[str] = MEMBERS) -> Fleet:
    """Return four VMs, three of which are frozen together, half a second apart."""
    fleet = fleet_of([*names, "mail-1"], still)
    group = Group("aa", len(names))
    for number, name in enumerate(names):
        hold(fleet, name, still, group, 42.0 - number * 0.5)
    return fleet


def group_waits(still: StillClock) -> Fleet:
    """Return the same, while the last one has not answered yet."""
    fleet = group_held(still)
    times = timeline(still, replied_s=None, group=Group("aa", 3))
    freezing = FreezeInfo(FreezeState.FREEZING, still.wall())
    waits = pending(still)._replace(sent_at=still.mono - 46)
    put(fleet, qemu("web-1"), progress=waits, timeline=times, freeze=freezing)
    return fleet


def ended_well(still: StillClock) -> Fleet:
    """Return a VM whose freeze is certified, with its timeline."""
    fleet = fleet_of(["db-1"], still)
    times = timeline(still)._replace(
        thaw_sent=still.mono - 12, thawed=still.mono - 11.9, ended=still.mono - 11.8
    )
    put(fleet, qemu("db-1"), last=verified(), timeline=times)
    return fleet


def left_frozen(still: StillClock) -> Fleet:
    """Return a VM that others have left frozen, and whose agent has ended."""
    fleet = fleet_of(["app-1", "db-1"], still)
    leave_frozen(fleet, qemu("db-1"), still)
    return fleet


def unverified(fleet: Fleet, name: str) -> None:
    """Have a VM's open window be one that is not verified."""
    progress = fleet.get(qemu(name)).progress
    assert progress is not None
    assert progress.verdict is not None
    verdict = progress.verdict._replace(kind=OutcomeKind.UNVERIFIED)
    put(fleet, qemu(name), progress=progress._replace(verdict=verdict))


def at_risk(fleet: Fleet, name: str) -> None:
    """Have the port of a VM with an open window close."""
    progress = fleet.get(qemu(name)).progress
    assert progress is not None
    put(fleet, qemu(name), progress=progress._replace(phase=Phase.AT_RISK))
