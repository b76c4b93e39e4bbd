"""Visits every VM on schedule: its port every 2 s, its agent every 15 s, the dead less often.

A small pool of threads does the visits, so that a hung guest delays only its own next visit. One
VM is never visited twice at once.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Final

from agentclient.cancel import Cancellation
from agentclient.errors import FrostwatchError
from agentclient.fleet import Fleet
from agentclient.links import Links
from agentclient.sources.base import Source, merge
from agentclient.text import printable
from agentclient.visit import ask, look, may_ask
from agentclient.vm import AgentHow, AgentState, Level, Vm, VmId, VmState

SOURCES_EVERY_S: Final = 5.0
# Each unanswered visit doubles the wait for the next, up to this many times the interval.
MOST_BACK_OFF: Final = 16
VISITS_AT_ONCE: Final = 8


@dataclass(slots=True)
class _Rounds:
    """When a VM is due, and how often it has not answered in a row."""

    agent_due: float = 0.0
    misses: int = 0
    busy: bool = False
    was_open: bool | None = None
    was_taken: bool = False


class Watcher:
    """Keeps the fleet up to date.

    Args:
        fleet: where it is written.
        links: how VMs are reached.
        sources: where VMs come from.
        port_interval_s: seconds between two looks at a VM's monitor.
        agent_interval_s: seconds between two questions to its agent.
    """

    def __init__(
        self,
        fleet: Fleet,
        links: Links,
        sources: Sequence[Source],
        *,
        port_interval_s: float = 2.0,
        agent_interval_s: float = 15.0,
    ) -> None:
        self._fleet = fleet
        self._links = links
        self._sources = tuple(sources)
        self._port_interval_s = port_interval_s
        self._agent_interval_s = agent_interval_s
        self._cancellation = Cancellation()
        self._wake = threading.Condition()
        self._stopping = False
        self._rounds: dict[VmId, _Rounds] = {}
        self._due: list[tuple[float, int, VmId]] = []
        self._order = itertools.count()
        self._pool = ThreadPoolExecutor(VISITS_AT_ONCE, thread_name_prefix="visit")
        self._thread: threading.Thread | None = None
        self._problems: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each source that could not look the last time."""
        return self._problems

    def start(self) -> None:
        """Begin to watch, in a thread of its own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End every visit, and the watching, within a second."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._cancellation.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._thread is not None:
            self._thread.join(timeout=1.0)

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
        self._problems = tuple(problems)
        return self._problems

    def visit_all(self, timeout_s: float) -> None:
        """Find all VMs and visit each once, with its agent; for one-shot commands.

        Args:
            timeout_s: how long to wait; later visits go on and are written when they end.
        """
        self.find_vms()
        visits: list[Future[None]] = [
            self._pool.submit(self._visit, state.id, agent=True) for state in self._fleet.states()
        ]
        wait(visits, timeout=timeout_s)

    def visit_soon(self, vm_id: VmId) -> None:
        """Visit a VM at once, with its agent."""
        with self._wake:
            self._rounds.setdefault(vm_id, _Rounds()).agent_due = 0.0
            heapq.heappush(self._due, (time.monotonic(), next(self._order), vm_id))
            self._wake.notify()

    # -- the schedule ---------------------------------------------------------------------

    def _run(self) -> None:
        sources_due = 0.0
        while True:
            now = time.monotonic()
            if now >= sources_due:
                self._refresh()
                sources_due = time.monotonic() + SOURCES_EVERY_S
            with self._wake:
                if self._stopping:
                    return
                vm_id = self._next_due(time.monotonic())
                if vm_id is None:
                    due = min(self._due[0][0] if self._due else sources_due, sources_due)
                    self._wake.wait(max(0.0, due - time.monotonic()))
                    continue
                self._rounds[vm_id].busy = True
            self._submit(vm_id)

    def _refresh(self) -> None:
        try:
            self.find_vms()
        except Exception as error:  # noqa: BLE001 - a source's bug must not end the watching (P8)
            self._problems = (printable(f"a source failed: {error!r}"),)
        known = {state.id for state in self._fleet.states()}
        now = time.monotonic()
        with self._wake:
            new = [vm_id for vm_id in known if vm_id not in self._rounds]
            for index, vm_id in enumerate(new):
                # Spread over the interval, so that no second is a burst; the first ones at once.
                spread = self._port_interval_s * index / max(1, len(new))
                self._rounds[vm_id] = _Rounds()
                heapq.heappush(self._due, (now + spread, next(self._order), vm_id))
            for vm_id in [one for one in self._rounds if one not in known]:
                del self._rounds[vm_id]
                self._links.forget(vm_id)

    def _next_due(self, now: float) -> VmId | None:
        while self._due and self._due[0][0] <= now:
            _, _, vm_id = heapq.heappop(self._due)
            rounds = self._rounds.get(vm_id)
            if rounds is not None and not rounds.busy:
                return vm_id
        return None

    def _submit(self, vm_id: VmId) -> None:
        rounds = self._rounds.get(vm_id)
        agent = rounds is not None and time.monotonic() >= rounds.agent_due
        try:
            visit = self._pool.submit(self._visit, vm_id, agent=agent)
        except RuntimeError:
            return  # stopping
        visit.add_done_callback(lambda _: self._visited(vm_id))

    def _visited(self, vm_id: VmId) -> None:
        with self._wake:
            rounds = self._rounds.get(vm_id)
            if rounds is None:
                return
            rounds.busy = False
            factor = min(2**rounds.misses, MOST_BACK_OFF) if rounds.was_open is None else 1
            due = time.monotonic() + self._port_interval_s * factor
            heapq.heappush(self._due, (due, next(self._order), vm_id))
            self._wake.notify()

    # -- one visit ------------------------------------------------------------------------

    def _visit(self, vm_id: VmId, *, agent: bool) -> None:
        try:
            state = self._fleet.get(vm_id)
            self._visit_vm(state, agent=agent)
        except KeyError:
            return
        except Exception as error:  # noqa: BLE001 - P8: one broken VM is one broken row
            text = printable(f"the visit failed: {error!r}", 300)
            self._fleet.update(vm_id, lambda old: replace(old, trouble=text))
            self._fleet.log(vm_id, Level.ERROR, text)

    def _visit_vm(self, state: VmState, *, agent: bool) -> None:
        rounds = self._rounds.setdefault(state.id, _Rounds())
        link = self._links.of(state.vm)
        view, change = look(link, self._fleet.wall())
        self._fleet.update(state.id, change)
        state = self._fleet.get(state.id)
        # An agent that has just opened its port is asked at once; and so is one whose channel was
        # just released, by us or by others: a freeze that waited there may have run (§1.2).
        opened = view.port_open is True and rounds.was_open is False
        taken = bool(view.client) or state.progress is not None
        released = rounds.was_taken and not taken
        rounds.was_open, rounds.was_taken = view.port_open, taken
        if not (agent or opened or released) or not may_ask(state, view):
            return
        first = state.agent.version is None or opened
        answer = ask(link, self._fleet.wall(), self._cancellation, first=first)
        if answer is None:
            return
        self._fleet.update(state.id, answer)
        self._count(rounds, state)

    def _count(self, rounds: _Rounds, before: VmState) -> None:
        after = self._fleet.get(before.id)
        alive = after.agent.how is AgentHow.REPLY
        rounds.misses = 0 if alive else rounds.misses + 1
        factor = min(2**rounds.misses, MOST_BACK_OFF)
        rounds.agent_due = time.monotonic() + self._agent_interval_s * factor
        if before.agent.state is not after.agent.state:
            level = Level.WARNING if after.agent.state is AgentState.SILENT else Level.INFO
            self._fleet.log(before.id, level, f"agent {after.agent.state} ({after.agent.how})")
        if after.freeze.foreign and not before.freeze.foreign:
            text = "a foreign freeze was found: the guest is frozen, and not provably by us"
            self._fleet.log(before.id, Level.WARNING, text)
