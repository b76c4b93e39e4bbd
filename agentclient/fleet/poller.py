"""Visits the VMs of a fleet: begins those that are due, writes results to the fleet and its logs.

One thread runs all visits concurrently and never blocks on one: a hung guest delays no other.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from agentclient.access.access_pool import AccessPool
from agentclient.access.agent_probe import AGENT_VISIT_S, ProbeResult
from agentclient.access.called_access import OBSERVE_S, CalledAccess
from agentclient.access.exchange import releasing
from agentclient.access.guest_access import GuestAccess
from agentclient.access.local_access import LocalAccess
from agentclient.access.multiplexer import Multiplexer
from agentclient.access.stream import ConnectFailed
from agentclient.fleet.calls import Calls
from agentclient.fleet.health import Change, answered, looked, may_ask, patient, silent, unreachable
from agentclient.fleet.holders import HolderNames
from agentclient.fleet.others import LOOK_EVERY_S, HeldChannels, is_others
from agentclient.fleet.store import Fleet
from agentclient.fleet.taken import TakenChannels
from agentclient.fleet.timetable import LEFT_AGAIN_S, RELEASED_AGAIN_S, Timetable
from agentclient.fleet.told import tell_change
from agentclient.model.snapshot import MonitorView, VmState
from agentclient.model.states import KnownBy, Level
from agentclient.model.text import printable
from agentclient.model.vm import VmId

if TYPE_CHECKING:
    from agentclient.fleet.recovery import Recovery
    from agentclient.journal.writer import Journal

T = TypeVar("T")
# Seconds that a call may take beyond its own timeout before its visit fails.
CALL_BACK_S: Final = 0.5
# More would be a burst of load, and each visit needs a descriptor.
MOST_VISITS_AT_ONCE: Final = 256
LONGEST_TURN_S: Final = 1.0
# Visits begin in small groups: a wake-up costs more than the first step of a visit.
GROUP_S: Final = 0.03
# A command counts as pending after a second.
WATCH_HELD_S: Final = 1.6


@dataclass(frozen=True, slots=True)
class _Visit:
    """A visit that has begun."""

    vm_id: VmId
    access: GuestAccess
    due: float


class Poller:
    """Visits all VMs when they are due.

    One thread alone uses it; only `wake` may be called from others.

    Args:
        fleet: where the results are written.
        accesses: gives access to each VM.
        wanted: VMs to visit at once, with the agent; any thread may append to it.
        recovery: is told what agents answer, to settle freezes that a dead frostwatch has left;
            None without a journal.
        port_interval_s: seconds between two looks at a VM's monitor.
        agent_interval_s: seconds between two questions to its agent.
        journal: keeps what others had pending; None for no journal.
    """

    def __init__(
        self,
        fleet: Fleet,
        accesses: AccessPool,
        wanted: deque[VmId],
        recovery: Recovery | None,
        *,
        port_interval_s: float,
        agent_interval_s: float,
        journal: Journal | None = None,
    ) -> None:
        self._journal = journal
        self._fleet = fleet
        self._accesses = accesses
        self._recovery = recovery
        self._timetable = Timetable(port_interval_s, agent_interval_s)
        self._multiplexer = Multiplexer()
        self._calls = Calls(self.wake)
        self._wanted = wanted
        self._held = HeldChannels()
        self._names = HolderNames(fleet, accesses, self._held)
        self._taken = TakenChannels()

    def wake(self) -> None:
        """End the current `turn` early."""
        self._multiplexer.wake()

    def close(self) -> None:
        """End every visit."""
        self._calls.close()
        self._multiplexer.close()

    def adopt(self, now: float) -> None:
        """Schedule the VMs that are new in the fleet, and forget those that have left it.

        Args:
            now: the monotonic clock's time.
        """
        states = self._fleet.states()
        self._taken.watch(states)
        for vm_id in self._timetable.keep({state.id for state in states}, now):
            self._accesses.forget(vm_id)
            self._held.forget(vm_id)
        for state in states:
            policy = state.vm.policy
            if policy is not None:
                self._timetable.pace(state.id, policy.monitor_interval_s, policy.agent_interval_s)

    def turn(self, now: float) -> None:
        """Begin the visits that are due, and run those in flight, for a second at most.

        Args:
            now: the monotonic clock's time.
        """
        while self._wanted:
            self._timetable.soon(self._wanted.popleft(), now)
        for taken in self._taken.newly(now, self._knows_client):
            self._look_soon(taken, now)
        until = min(now + LONGEST_TURN_S, self._taken.next_at)
        while self._multiplexer.in_flight < MOST_VISITS_AT_ONCE:
            due = self._timetable.next_at
            vm_id = self._timetable.take(now)
            if vm_id is None:
                until = min(until, max(due, now + GROUP_S))
                break
            self._visit(vm_id, due)
        self._take_steps(until)

    def _look_soon(self, vm_id: VmId, now: float) -> None:
        """Look at a VM whose channel somebody has just taken, unless that is one of us."""
        state = self._state(vm_id)
        if state is not None and is_others(state):
            self._timetable.look_soon(vm_id, now)

    def _knows_client(self, vm_id: VmId) -> bool:
        """Return whether it is ourselves who may be connected to a VM, or others that we watch."""
        return self._held.is_held(vm_id) or self._timetable.is_visited(vm_id)

    def _take_steps(self, until: float) -> None:
        self._multiplexer.turn(min(until, self._calls.next_at))
        self._calls.deliver()

    def all_once(
        self, timeout_s: float, stopping: threading.Event, but: Container[VmId] = ()
    ) -> None:
        """Visit every VM of the fleet once, with its agent.

        Args:
            timeout_s: how long the visits may take in total, in seconds.
            stopping: ends the wait before a second visit.
            but: VMs to leave out.
        """
        now = time.monotonic()
        self.adopt(now)
        wanted = [state.id for state in self._fleet.states() if state.id not in but]
        self._each(wanted, now + timeout_s)
        left = [one for one in wanted if self._may_be_left(one)]
        self._watch_held(now + timeout_s)
        if left:
            # We may have frozen it, and its agent has not answered: a moment later it may.
            stopping.wait(LEFT_AGAIN_S)
            self._each(left, time.monotonic() + timeout_s)

    def _watch_held(self, until: float) -> None:
        """Look at the channels that others hold for long enough to see what is pending there."""
        until = min(until, time.monotonic() + WATCH_HELD_S)
        while self._held and time.monotonic() < until:
            held = [state.id for state in self._fleet.states() if self._held.is_held(state.id)]
            self._each(held, until, ask=False)
            time.sleep(LOOK_EVERY_S)

    def _each(self, vm_ids: Sequence[VmId], until: float, *, ask: bool = True) -> None:
        waiting = deque(vm_id for vm_id in vm_ids if vm_id in self._timetable)
        for vm_id in waiting if ask else ():
            self._timetable[vm_id].agent_due = 0.0
        while (waiting or self._in_flight) and time.monotonic() < until:
            while waiting and self._multiplexer.in_flight < MOST_VISITS_AT_ONCE:
                self._visit(waiting.popleft(), time.monotonic())
            if self._in_flight:
                self._take_steps(until)

    @property
    def _in_flight(self) -> int:
        return self._multiplexer.in_flight + self._calls.in_flight

    def _may_be_left(self, vm_id: VmId) -> bool:
        """Whether a dead frostwatch may have frozen it, and its agent has not confirmed that."""
        state = self._state(vm_id)
        return state is not None and state.left is not None and state.left_by is None

    # -- one visit ------------------------------------------------------------------------

    def _visit(self, vm_id: VmId, due: float) -> None:
        """Begin a visit with a look at the monitor, unless an operation already looks at it."""
        state = self._state(vm_id)
        if state is None:
            return  # it has left the fleet; the next `adopt` drops it
        visit = _Visit(vm_id, self._accesses.of(state.vm), due)
        if state.progress is not None:
            self._timetable[vm_id].was_taken = True
            self._end(visit)
            return
        try:
            self._look(visit)
        except Exception as error:  # noqa: BLE001 - P8: an error with one VM affects one row only
            self._failed(visit, error)

    def _look(self, visit: _Visit) -> None:
        if isinstance(visit.access, CalledAccess):
            seen = visit.access.glance()
            if seen is not None:
                self._looked(visit, seen)
                return
            self._call(visit, visit.access.observe, partial(self._looked, visit), OBSERVE_S)
            return
        assert isinstance(visit.access, LocalAccess), "a visit is a call, or taken in steps"
        traffic = self._held.wants_traffic(visit.vm_id)
        writes = self._held.wants_writes(visit.vm_id, time.monotonic())
        begun = visit.access.begin_observation(traffic=traffic, writes=writes)
        if begun is None:
            self._end(visit)
        elif isinstance(begun, MonitorView):
            self._looked(visit, begun)
        else:
            done = partial(self._looked, visit)
            self._multiplexer.begin(begun, done, partial(self._failed, visit))

    def _looked(self, visit: _Visit, view: MonitorView) -> None:
        has_monitor = visit.access.observes
        known = self._with_patience(visit, view)
        change = looked(known, self._fleet.wall(), has_monitor=has_monitor)
        self._fleet.update(visit.vm_id, change)
        self._watch_others(visit, view)
        self._name_clients(visit)
        blind = has_monitor and known.problem is not None
        if self._wants_answer(visit, known):
            self._ask(visit, blind=blind)
        else:
            self._end(visit, blind=blind)

    def _with_patience(self, visit: _Visit, view: MonitorView) -> MonitorView:
        state = self._state(visit.vm_id)
        once = self._timetable.late_once(visit.vm_id, view.late)
        return patient(state, view) if once and state is not None else view

    def _watch_others(self, visit: _Visit, view: MonitorView) -> None:
        """Take what a look shows of a channel that others hold."""
        state = self._state(visit.vm_id)
        if state is not None:
            self._held.report(self._fleet, self._journal, state, view)

    def _name_clients(self, visit: _Visit) -> None:
        """Find who holds a busy channel."""
        state = self._state(visit.vm_id)
        if state is not None:
            self._names.name(state, time.monotonic())

    def _wants_answer(self, visit: _Visit, view: MonitorView) -> bool:
        """Whether the agent is asked now.

        An agent that has just opened its port is asked at once; and so is one whose channel was
        just released, by us or by others: a freeze queued there may have run (protocol §1.2). But
        others who come and go are given room between two questions.
        """
        state = self._state(visit.vm_id)
        if state is None or visit.vm_id not in self._timetable:
            return False
        times = self._timetable[visit.vm_id]
        opened = view.port_open is True and times.was_open is False
        if view.port_open is False and times.was_open and times.unanswered:
            visit.access.fragile = True  # the agent ended when it was asked
        leaves = self._held.is_leaving(visit.vm_id)
        now = time.monotonic()
        blind = view.blind and isinstance(visit.access, LocalAccess)
        held = times.sees_client(view.client, now, blind=blind)
        taken = held or state.progress is not None or leaves
        released = times.released or (times.was_taken and not taken)
        times.was_open, times.was_taken = view.port_open, taken
        rested = now - times.asked_at >= RELEASED_AGAIN_S
        reason = now >= times.agent_due or opened or (released and rested)
        wants = reason and may_ask(state, view) and not held and not leaves
        times.released = released and not wants
        if wants:
            times.asked_at = now
        return wants

    def _ask(self, visit: _Visit, *, blind: bool) -> None:
        access, state = visit.access, self._state(visit.vm_id)
        if not access.has_agent or state is None:
            self._end(visit, blind=blind)
            return
        if isinstance(access, CalledAccess):
            first = state.agent.version is None
            ask = partial(access.ask, first=first, timeout_s=AGENT_VISIT_S)
            self._call(visit, ask, partial(self._on_result, visit, state, blind), AGENT_VISIT_S)
            return
        assert isinstance(access, LocalAccess), "a visit is a call, or taken in steps"
        if not access.channel_lock.acquire(blocking=False):
            self._end(visit, blind=blind)
            return
        try:
            exchange = access.begin_probe(first=state.agent.version is None)
        except ConnectFailed as error:
            access.channel_lock.release()
            change = unreachable(error, self._fleet.wall(), gone=access.is_gone())
            self._heard(visit, state, change, blind=blind)
            return
        exchange = replace(exchange, steps=releasing(access.channel_lock, exchange.steps))
        done = partial(self._on_result, visit, state, blind)
        self._multiplexer.begin(exchange, done, partial(self._failed, visit))

    def _call(
        self, visit: _Visit, make: Callable[[], T], done: Callable[[T], None], timeout_s: float
    ) -> None:
        assert isinstance(visit.access, CalledAccess)
        failed, bound_s = partial(self._failed, visit), timeout_s + CALL_BACK_S
        lane, vm_id = visit.access.lane, visit.vm_id
        self._calls.begin(lane, make, done, failed, bound_s, about=vm_id)

    def _on_result(
        self, visit: _Visit, before: VmState, blind: bool, result: ProbeResult | None
    ) -> None:
        if result is None:
            self._end(visit, blind=blind)
            return
        at = self._fleet.wall()
        self._remember(visit, result)
        if result.rtt_s is None:
            change = silent(at, can_see_clients=visit.access.is_observable)
        else:
            change = answered(result, at, by=self._held.before(visit.vm_id))
        self._heard(visit, before, change, blind=blind)

    def _remember(self, visit: _Visit, result: ProbeResult) -> None:
        """Remember which requests the agent can't handle: the next visits omit them (P5)."""
        access = visit.access
        access.fragile = access.fragile or (result.plain and not access.plain)
        access.plain = access.plain or result.plain or result.rtt_s is None
        if visit.vm_id in self._timetable:
            self._timetable[visit.vm_id].unanswered = result.rtt_s is None

    def _heard(self, visit: _Visit, before: VmState, change: Change, *, blind: bool) -> None:
        self._fleet.update(visit.vm_id, change)
        after = self._state(visit.vm_id)
        if after is not None and visit.vm_id in self._timetable:
            alive = after.agent.how is KnownBy.REPLY
            may_freeze = after.left is not None or self._held.may_freeze(visit.vm_id)
            within_s = LEFT_AGAIN_S if may_freeze else math.inf
            self._timetable.asked(
                visit.vm_id,
                time.monotonic(),
                alive=alive,
                within_s=within_s,
                rarely=visit.access.fragile,
            )
            tell_change(self._fleet, before, after)
            self._held.asked(self._journal, self._fleet, before, after)
            if self._recovery is not None:
                self._recovery.answered(before, after)
        self._end(visit, blind=blind)

    def _failed(self, visit: _Visit, error: Exception) -> None:
        said = error if isinstance(error, TimeoutError) else repr(error)
        text, state = printable(f"the visit failed: {said}", 300), self._state(visit.vm_id)
        if state is not None and state.trouble != text:
            self._fleet.update(visit.vm_id, lambda old: old._replace(trouble=text))
            self._fleet.log(visit.vm_id, Level.ERROR, text)
        self._end(visit, blind=True)

    def _end(self, visit: _Visit, *, blind: bool = False) -> None:
        within_s = self._held.look_within_s(visit.vm_id)
        now = time.monotonic()
        self._timetable.visited(visit.vm_id, visit.due, now, blind=blind, within_s=within_s)

    def _state(self, vm_id: VmId) -> VmState | None:
        try:
            return self._fleet.get(vm_id)
        except KeyError:
            return None
