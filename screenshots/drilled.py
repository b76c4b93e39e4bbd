"""A drill's fleet in virtual time: the same guests, asked and frozen by the real procedures.

Nothing is served and nothing waits, so that a picture changes only when the console or the drill
does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from agentclient.access.agent_probe import ProbeResult, probe_exchange
from agentclient.access.stream import Channel
from agentclient.backends.drill.guest import DrillGuest
from agentclient.backends.drill.others_client import clients_of
from agentclient.backends.drill.plan import GuestPlan, plan
from agentclient.fleet.health import answered, looked, may_ask, silent
from agentclient.fleet.store import Fleet
from agentclient.model.events import EventKind, moment_of
from agentclient.model.others import ChannelClient, Others
from agentclient.model.request import Schedule
from agentclient.model.snapshot import AgentHealth, FreezeInfo
from agentclient.model.states import AgentState, FreezeState, KnownBy, Level, OthersState
from agentclient.model.timeline import Timeline
from agentclient.model.vm import DRILL_SOURCE, AgentChannel, MonitorChannel, Vm, VmId
from tests.console.fakes import StillClock
from tests.unit.drill_virtual import Drilled
from tests.unit.virtual_freeze import VirtualFreeze
from tests.unit.virtual_guest import VirtualGuest

Result = TypeVar("Result")

ALL = plan()
BY_NAME: Mapping[str, GuestPlan] = {one.name: one for one in ALL}


@dataclass(frozen=True)
class Play:
    """A freeze of one guest, and how far it has come when the picture is taken.

    Attributes:
        sent_s: how many seconds ago it was sent.
        hold_s: how long it is held.
        speed: how many times faster the guest's own time runs; below 1 a hook takes an hour.
    """

    guest: str
    sent_s: float
    hold_s: float = 0.0
    speed: float = 1.0


def fleet_of_a_drill(still: StillClock, *plays: Play) -> Fleet:
    """Return the drill's fleet as the console knows it after its first visits and some freezes."""
    fleet = Fleet(wall=still.wall)
    vms = [_vm(one) for one in ALL]
    fleet.set_vms(DRILL_SOURCE, vms)
    played = {play.guest for play in plays}
    for vm, guest_plan in zip(vms, ALL, strict=True):
        _visit(fleet, vm, guest_plan, still)
        if guest_plan.name not in played:
            fleet.log(vm.id, Level.INFO, f"agent {fleet.get(vm.id).agent.state}")
    for play in plays:
        _freeze(fleet, play, still)
    return fleet


def _vm(guest_plan: GuestPlan) -> Vm:
    folder = Path("/run/frostwatch-drill")
    return Vm(
        VmId(DRILL_SOURCE, guest_plan.name),
        AgentChannel(folder / f"{guest_plan.name}.qga"),
        MonitorChannel(folder / f"{guest_plan.name}.qmp"),
    )


def _visit(fleet: Fleet, vm: Vm, guest_plan: GuestPlan, still: StillClock) -> None:
    """Look at the monitor, and ask the agent, as the watcher does."""
    guest = DrillGuest(guest_plan)
    taken = guest.client
    view = Drilled(guest).view()._replace(client=taken)
    fleet.update(vm.id, looked(view, still.wall(), has_monitor=True))
    if taken and (found := clients_of(guest_plan.trouble)):
        by = ChannelClient(found[0].name, found[0].pid)
        pending = Others(OthersState.PENDING, still.wall() - timedelta(seconds=12), by)
        fleet.update(vm.id, lambda old: old._replace(others=pending))
    if not may_ask(fleet.get(vm.id), view):
        return
    said = _asked(guest)
    at = still.wall()
    change = answered(said, at) if said.rtt_s is not None else silent(at, can_see_clients=True)
    fleet.update(vm.id, change)


def _asked(guest: DrillGuest) -> ProbeResult:
    """Take the steps of a visit; a silent guest gets no answer out of its 2 s."""
    exchange = probe_exchange(cast(Channel, _DrillChannel(guest)), first=True)
    steps, link = exchange.steps, exchange.channel
    try:
        request = next(steps)
        while True:
            if request is not None:
                link.send(request, exchange.deadline)
            came = link.receive()
            request = steps.send(came) if came else steps.throw(TimeoutError())
    except StopIteration as end:
        said: ProbeResult = end.value
    # It took no time at all: say what a visit on loopback takes.
    return replace(said, rtt_s=0.002) if said.rtt_s is not None else said


class _DrillChannel:
    """A channel to a guest that is not served: what is sent is answered at once."""

    def __init__(self, guest: DrillGuest) -> None:
        self._guest = guest

    def send(self, data: bytes, deadline: float) -> None:  # noqa: ARG002 - it takes no time
        """Pass bytes to the guest."""
        self._guest.receive(1.0, data)

    def receive(self) -> bytes:
        """Return what the guest has said."""
        return self._guest.take_output()

    def close(self) -> None:
        """Nothing is open."""


def _freeze(fleet: Fleet, play: Play, still: StillClock) -> None:
    """Freeze a guest, from `sent_s` ago until now, and show what is known of it now."""
    guest_plan = BY_NAME[play.guest]
    vm_id = VmId(DRILL_SOURCE, play.guest)
    began, ends = still.mono - play.sent_s, still.mono
    drilled = Drilled(DrillGuest(guest_plan), now=began, speed=play.speed)
    freeze = VirtualFreeze(
        cast(VirtualGuest, drilled),
        Schedule(hold_s=play.hold_s),
        file_systems=guest_plan.file_systems,
    )
    freeze.run(play.sent_s)
    for at, tell in freeze.told:
        _at(still, at, partial(_log, fleet, vm_id, tell.level, tell.text))
    outcome, procedure = freeze.outcome, freeze.procedure
    over = outcome is not None
    state = procedure.state if outcome is None or not outcome.settled else FreezeState.THAWED
    progress = None if over else procedure.progress(ends)
    since = freeze.told[-1][0] if over else procedure.freeze.schedule.sent_at
    info = FreezeInfo(state, _at(still, since, still.wall))
    times = _timeline(freeze, began)
    fleet.update(
        vm_id,
        lambda old: old._replace(progress=progress, last=outcome, freeze=info, timeline=times),
    )
    if not drilled.truth.alive:
        closed = AgentHealth(AgentState.CLOSED, KnownBy.PORT, seen_at=still.wall())
        fleet.update(vm_id, lambda old: old._replace(agent=closed))


def _timeline(freeze: VirtualFreeze, asked: float) -> Timeline:
    """Return when each thing of a freeze has happened, as an operation notes it."""
    found, thaw_sent = Timeline(asked, freeze.procedure.freeze.schedule.sent_at), False
    for at, tell in freeze.told:
        moment = moment_of(tell.kind, tell.details, thaw_sent=thaw_sent)
        thaw_sent = thaw_sent or tell.kind is EventKind.THAW_SENT
        found = found.marked(moment, at) if moment is not None else found
    return found


def _log(fleet: Fleet, vm_id: VmId, level: Level, text: str) -> None:
    if level is not Level.DEBUG:
        fleet.log(vm_id, level, text)


def _at(still: StillClock, mono: float, act: Callable[[], Result]) -> Result:
    """Do something at another time of the clock that stands still."""
    now, still.mono = still.mono, mono
    try:
        return act()
    finally:
        still.mono = now
