"""Visits every VM on schedule: its port every 2 s, its agent every 15 s, the dead less often.

One thread and one selector, so that a hung guest delays nobody. Where VMs come from is asked in a
thread of its own, since a source may take its time.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from agentclient.channel import ConnectFailed
from agentclient.errors import FrostwatchError
from agentclient.fleet import Fleet
from agentclient.links import Link, Links
from agentclient.monitor import unreachable as monitor_unreachable
from agentclient.question import Said, question
from agentclient.rounds import LEFT_AGAIN_S, Rounds
from agentclient.sources.base import Source, merge
from agentclient.steps import releasing
from agentclient.text import printable
from agentclient.visit import Change, answered, looked, may_ask, silent, unreachable
from agentclient.visitor import Visitor
from agentclient.vm import AgentHow, AgentState, Level, MonitorView, Vm, VmId, VmState

if TYPE_CHECKING:
    from agentclient.journal.writer import Journal
    from agentclient.recovery import Recovery

SOURCES_EVERY_S: Final = 5.0
# More would be a burst of its own, and each takes a descriptor.
MOST_VISITS_AT_ONCE: Final = 256
LONGEST_TURN_S: Final = 1.0
# Visits begin in small groups, since each waking up costs more than a visit's first step.
GROUP_S: Final = 0.03
NAMES_EVERY_S: Final = 1.0
AFTER_A_FAILURE_S: Final = 1.0
# A VM that has left stays on the screen for so long, to be seen leaving.
ABSENT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Visit:
    """A visit that has begun."""

    vm_id: VmId
    link: Link
    due: float


class Watcher:
    """Keeps the fleet up to date.

    Args:
        fleet: where it is written.
        links: how VMs are reached.
        sources: where VMs come from.
        port_interval_s: seconds between two looks at a VM's monitor.
        agent_interval_s: seconds between two questions to its agent.
        journal: knows what a dead frostwatch has left; None where none is kept.
    """

    def __init__(
        self,
        fleet: Fleet,
        links: Links,
        sources: Sequence[Source],
        *,
        port_interval_s: float = 2.0,
        agent_interval_s: float = 15.0,
        journal: Journal | None = None,
    ) -> None:
        self._fleet = fleet
        self._links = links
        self._sources = tuple(sources)
        self._journal = journal
        self._rounds = Rounds(port_interval_s, agent_interval_s)
        self._visitor = Visitor()
        self._stopping = threading.Event()
        self._listed = threading.Event()
        self._wanted: deque[VmId] = deque()
        self._absent: dict[VmId, float] = {}  # since when
        self._threads: list[threading.Thread] = []
        self._named_at = float("-inf")
        self._problems: tuple[str, ...] = ()
        self._failure: str | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each source that could not look the last time, and for a bug of ours."""
        return self._problems if self._failure is None else (self._failure, *self._problems)

    @cached_property
    def _recovery(self) -> Recovery | None:
        if self._journal is None:
            return None
        from agentclient.recovery import Recovery  # noqa: PLC0415 - all of the journal is behind it

        return Recovery(self._journal)

    def start(self) -> None:
        """Begin to watch, in threads of its own."""
        if not self._threads:
            for name, run in (("sources", self._list_forever), ("watcher", self._visit_forever)):
                self._threads.append(threading.Thread(target=run, name=name, daemon=True))
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """End every visit, and the watching, within a second."""
        self._stopping.set()
        self._visitor.wake()
        for thread in self._threads:
            thread.join(timeout=1.0)
        if not self._threads:
            self._visitor.close()

    def find_vms(self) -> tuple[str, ...]:
        """Ask all sources for their VMs, and write them to the fleet.

        Returns:
            A sentence for each source that could not look; its VMs stay as they were.
        """
        lists: list[list[Vm]] = []
        problems = []
        failed = set()
        for source in self._sources:
            try:
                lists.append(source.list_vms())
            except FrostwatchError as error:
                lists.append([])
                failed.add(source.name)
                problems.append(printable(error))
        for source, vms in zip(self._sources, merge(lists), strict=True):
            if source.name not in failed:
                self._fleet.set_vms(source.name, vms)
        self._forget_absent(time.monotonic())
        if self._recovery is not None:  # after the VMs: whoever waits for them sees them first
            self._recovery.look(self._fleet)
        self._problems = tuple(problems)
        return self._problems

    def _forget_absent(self, now: float) -> None:
        absent = [state.id for state in self._fleet.states() if not state.present]
        self._absent = {vm_id: self._absent.get(vm_id, now) for vm_id in absent}
        recent = {vm_id for vm_id, since in self._absent.items() if now - since < ABSENT_S}
        self._fleet.forget_absent(keep=recent)

    def visit_all(self, timeout_s: float) -> None:
        """Find all VMs and visit each once, with its agent; for one-shot commands.

        Args:
            timeout_s: how long the visits may take in all.
        """
        self.find_vms()
        now = time.monotonic()
        self._adopt(now)
        self._visit_each([state.id for state in self._fleet.states()], now + timeout_s)
        left = [one.id for one in self._fleet.states() if one.left and not one.left_by]
        if left:
            # It may be frozen by us, and has not said so: a moment later it may.
            self._stopping.wait(LEFT_AGAIN_S)
            self._visit_each(left, time.monotonic() + timeout_s)

    def _visit_each(self, vm_ids: Sequence[VmId], until: float) -> None:
        waiting = deque(vm_id for vm_id in vm_ids if vm_id in self._rounds)
        for vm_id in waiting:
            self._rounds[vm_id].agent_due = 0.0
        while (waiting or self._visitor.in_flight) and time.monotonic() < until:
            while waiting and self._visitor.in_flight < MOST_VISITS_AT_ONCE:
                self._visit(waiting.popleft(), time.monotonic())
            if self._visitor.in_flight:
                self._visitor.turn(until)

    def visit_soon(self, vm_id: VmId) -> None:
        """Visit a VM at once, with its agent."""
        self._wanted.append(vm_id)
        self._visitor.wake()

    # -- the threads ----------------------------------------------------------------------

    def _list_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                self.find_vms()
            except Exception as error:  # noqa: BLE001 - a source's bug must not end the watching (P8)
                self._problems = (printable(f"a source failed: {error!r}"),)
            self._listed.set()
            self._visitor.wake()
            self._stopping.wait(SOURCES_EVERY_S)

    def _visit_forever(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn_safely()
        finally:
            self._visitor.close()

    def _turn_safely(self) -> None:
        """Take one turn; a bug in it is told, and does not end the watching (P8)."""
        try:
            self._turn(time.monotonic())
        except Exception as error:  # noqa: BLE001 - whatever it is, all rows would stay as they are
            self._failure = printable(f"the watcher failed, and goes on: {error!r}", 300)
            self._stopping.wait(AFTER_A_FAILURE_S)

    def _turn(self, now: float) -> None:
        if self._listed.is_set():
            self._listed.clear()
            self._adopt(now)
        while self._wanted:
            self._rounds.soon(self._wanted.popleft(), now)
        until = now + LONGEST_TURN_S
        while self._visitor.in_flight < MOST_VISITS_AT_ONCE:
            due = self._rounds.next_at
            vm_id = self._rounds.take(now)
            if vm_id is None:
                until = min(until, max(due, now + GROUP_S))
                break
            self._visit(vm_id, due)
        self._visitor.turn(until)

    def _adopt(self, now: float) -> None:
        known = {state.id for state in self._fleet.states()}
        for vm_id in self._rounds.keep(known, now):
            self._links.forget(vm_id)

    # -- one visit ------------------------------------------------------------------------

    def _visit(self, vm_id: VmId, due: float) -> None:
        """Begin a visit with a look at the monitor, which whoever freezes the VM has already."""
        state = self._state(vm_id)
        if state is None:
            return  # it has left; the next list tells the rounds
        visit = _Visit(vm_id, self._links.of(state.vm), due)
        if state.progress is not None:
            self._rounds[vm_id].was_taken = True
            self._end(visit)
            return
        try:
            self._look(visit)
        except Exception as error:  # noqa: BLE001 - P8: one broken VM is one broken row
            self._failed(visit, error)

    def _look(self, visit: _Visit) -> None:
        if visit.link.monitor is None:
            self._looked(visit, MonitorView(problem="no monitor"))
            return
        try:
            talk = visit.link.monitor.begin()
        except ConnectFailed as error:
            self._looked(visit, monitor_unreachable(error))
            return
        if talk is None:
            self._end(visit)
            return
        self._visitor.begin(talk, partial(self._looked, visit), partial(self._failed, visit))

    def _looked(self, visit: _Visit, view: MonitorView) -> None:
        has_monitor = visit.link.monitor is not None
        change = looked(view, self._fleet.wall(), has_monitor=has_monitor)
        self._fleet.update(visit.vm_id, change)
        self._name_clients(visit)
        if self._wants_answer(visit, view):
            self._ask(visit, blind=has_monitor and view.problem is not None)
        else:
            self._end(visit, blind=has_monitor and view.problem is not None)

    def _name_clients(self, visit: _Visit) -> None:
        """Say who holds a channel; not more than once a second, since all of /proc is looked at."""
        state, now = self._state(visit.vm_id), time.monotonic()
        if state is None or state.agent.state is not AgentState.BUSY or state.vm.agent is None:
            return
        if state.agent.detail is None and now - self._named_at >= NAMES_EVERY_S:
            from agentclient.clients import clients, in_words  # noqa: PLC0415 - seldom needed

            self._named_at = now
            held = in_words(clients(state.vm.agent.path)) or "nobody can tell by whom"
            self._fleet.update(
                visit.vm_id, lambda old: replace(old, agent=replace(old.agent, detail=held))
            )

    def _wants_answer(self, visit: _Visit, view: MonitorView) -> bool:
        """Whether the agent is asked now.

        One that has just opened its port is asked at once; and so is one whose channel was just
        released, by us or by others: a freeze that waited there may have run (§1.2).
        """
        state = self._state(visit.vm_id)
        if state is None or visit.vm_id not in self._rounds:
            return False
        round_ = self._rounds[visit.vm_id]
        opened = view.port_open is True and round_.was_open is False
        taken = bool(view.client) or state.progress is not None
        released = round_.was_taken and not taken
        round_.was_open, round_.was_taken = view.port_open, taken
        due = time.monotonic() >= round_.agent_due
        return (due or opened or released) and may_ask(state, view)

    def _ask(self, visit: _Visit, *, blind: bool) -> None:
        link, state = visit.link, self._state(visit.vm_id)
        if link.agent is None or state is None or not link.channel_lock.acquire(blocking=False):
            self._end(visit, blind=blind)
            return
        try:
            channel = link.agent.connect()
        except ConnectFailed as error:
            link.channel_lock.release()
            self._heard(visit, state, unreachable(error, self._fleet.wall()), blind=blind)
            return
        talk = question(channel, first=state.agent.version is None)
        talk = replace(talk, steps=releasing(link.channel_lock, talk.steps))
        done = partial(self._said, visit, state, blind)
        self._visitor.begin(talk, done, partial(self._failed, visit))

    def _said(self, visit: _Visit, before: VmState, blind: bool, said: Said) -> None:
        at = self._fleet.wall()
        if said.rtt_s is None:
            change = silent(at, can_see_clients=visit.link.monitor is not None)
        else:
            change = answered(said, at)
        self._heard(visit, before, change, blind=blind)

    def _heard(self, visit: _Visit, before: VmState, change: Change, *, blind: bool) -> None:
        self._fleet.update(visit.vm_id, change)
        after = self._state(visit.vm_id)
        if after is not None and visit.vm_id in self._rounds:
            alive = after.agent.how is AgentHow.REPLY
            within_s = LEFT_AGAIN_S if after.left is not None else math.inf
            self._rounds.asked(visit.vm_id, time.monotonic(), alive=alive, within_s=within_s)
            self._tell(before, after)
            if self._recovery is not None:
                self._recovery.answered(before, after)
        self._end(visit, blind=blind)

    def _tell(self, before: VmState, after: VmState) -> None:
        """Write into the VM's log what this visit has brought."""
        if before.agent.state is not after.agent.state:
            level = Level.WARNING if after.agent.state is AgentState.SILENT else Level.INFO
            self._fleet.log(before.id, level, f"agent {after.agent.state} ({after.agent.how})")
        if after.freeze.foreign and not before.freeze.foreign:
            text = "a foreign freeze was found: the guest is frozen, and not provably by us"
            self._fleet.log(before.id, Level.WARNING, text)
        if after.left_by is not None and after.left_by != before.left_by:
            self._fleet.log(before.id, Level.WARNING, f"the guest was {after.left_by}")

    def _failed(self, visit: _Visit, error: Exception) -> None:
        text = printable(f"the visit failed: {error!r}", 300)
        self._fleet.update(visit.vm_id, lambda old: replace(old, trouble=text))
        self._fleet.log(visit.vm_id, Level.ERROR, text)
        self._end(visit, blind=True)

    def _end(self, visit: _Visit, *, blind: bool = False) -> None:
        self._rounds.visited(visit.vm_id, visit.due, time.monotonic(), blind=blind)

    def _state(self, vm_id: VmId) -> VmState | None:
        try:
            return self._fleet.get(vm_id)
        except KeyError:
            return None
