"""Keeps the fleet up to date: asks the sources where VMs are, and visits each on schedule.

Where VMs come from is asked in a thread of its own, since a source may take its time; all visits
are made in another one: a VM's port every 2 s, its agent every 15 s, the dead less often.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from agentclient.access.guest_link import Links
from agentclient.backends.base import Backend, merge
from agentclient.fleet.store import Fleet
from agentclient.model.errors import FrostwatchError
from agentclient.model.text import printable
from agentclient.model.vm import Vm, VmId

if TYPE_CHECKING:
    from agentclient.fleet.poller import Visits
    from agentclient.fleet.recovery import Recovery
    from agentclient.journal.writer import Journal

SOURCES_EVERY_S: Final = 5.0
AFTER_A_FAILURE_S: Final = 1.0
# A VM that has left stays on the screen for so long, to be seen leaving.
ABSENT_S: Final = 60.0


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
        sources: Sequence[Backend],
        *,
        port_interval_s: float = 2.0,
        agent_interval_s: float = 15.0,
        journal: Journal | None = None,
    ) -> None:
        self._fleet = fleet
        self._links = links
        self._sources = tuple(sources)
        self._journal = journal
        self._intervals = (port_interval_s, agent_interval_s)
        self._making = threading.RLock()
        self._made_recovery: Recovery | None = None
        self._made_visits: Visits | None = None
        self._started = threading.Event()
        self._visiting = False  # in a thread, which closes the visits itself
        self._stopping = threading.Event()
        self._known = threading.Event()
        self._listed = threading.Event()
        self._wanted: deque[VmId] = deque()
        self._absent: dict[VmId, float] = {}  # since when
        self._threads: list[threading.Thread] = []
        self._problems: tuple[str, ...] = ()
        self._failure: str | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each source that can't look, for the journal, and for a bug of ours."""
        journal = self._journal.problem if self._journal is not None else None
        ours = [each for each in (self._failure, journal) if each is not None]
        return (*ours, *self._problems)

    def _recovery(self) -> Recovery | None:
        """Return what knows of freezes that were left; all of the journal is behind it."""
        with self._making:
            if self._made_recovery is None and self._journal is not None:
                from agentclient.fleet.recovery import Recovery  # noqa: PLC0415 - see `list_first`

                self._made_recovery = Recovery(self._journal)
            return self._made_recovery

    def _visits(self) -> Visits:
        with self._making:
            if self._made_visits is None:
                from agentclient.fleet.poller import Visits  # noqa: PLC0415 - see `list_first`

                port_s, agent_s = self._intervals
                self._made_visits = Visits(
                    self._fleet,
                    self._links,
                    self._wanted,
                    self._recovery(),
                    port_interval_s=port_s,
                    agent_interval_s=agent_s,
                )
            return self._made_visits

    def list_first(self, wait_s: float = 0.0) -> None:
        """Find the VMs, in a thread, and do no more until `start`.

        Somebody waits to see them: what visits need, and what the journal knows, would be imported
        and asked at the expense of the first screen.

        Args:
            wait_s: how long to wait for them, in seconds; a source may take its time.
        """
        if not self._threads:
            self._begin("sources", self._list_forever)
        self._known.wait(wait_s)

    def start(self) -> None:
        """Begin to watch, in threads of its own."""
        self.list_first()
        if not self._visiting:
            self._visiting = True
            self._begin("watcher", self._visit_forever)
            self._started.set()

    def _begin(self, name: str, run: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=run, name=name, daemon=True))
        self._threads[-1].start()

    def stop(self) -> None:
        """End every visit, and the watching, within a second."""
        self._stopping.set()
        self._started.set()
        self._wake()
        for thread in self._threads:
            thread.join(timeout=1.0)
        if self._made_visits is not None and not self._visiting:
            self._made_visits.close()
            self._made_visits = None

    def find_vms(self) -> tuple[str, ...]:
        """Ask all sources for their VMs, and write them and what was left there to the fleet.

        Returns:
            A sentence for each source that could not look; its VMs stay as they were.
        """
        if self._journal is not None:
            self._journal.begin()  # it starts while the VMs are listed
        problems = self._list()
        self._recover()
        self._problems = problems
        return problems

    def _list(self) -> tuple[str, ...]:
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
        return tuple(problems)

    def _recover(self) -> None:
        recovery = self._recovery()
        if recovery is not None:
            recovery.look(self._fleet)

    def _check_journal(self) -> None:
        recovery = self._recovery()
        if recovery is not None:
            recovery.check()

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
        self._visits().all_once(timeout_s, self._stopping)

    def visit_soon(self, vm_id: VmId) -> None:
        """Visit a VM at once, with its agent."""
        self._wanted.append(vm_id)
        self._wake()

    def _wake(self) -> None:
        if self._made_visits is not None:
            self._made_visits.wake()

    # -- the threads ----------------------------------------------------------------------

    def _list_forever(self) -> None:
        self._safely(self._list_alone)
        self._known.set()
        self._started.wait()
        self._safely(self._recover)
        self._safely(self._check_journal)
        while not self._stopping.is_set():
            self._listed.set()
            self._wake()
            self._stopping.wait(SOURCES_EVERY_S)
            self._safely(self.find_vms)

    def _list_alone(self) -> None:
        self._problems = self._list()

    def _safely(self, look: Callable[[], object]) -> None:
        """Look; a source's bug must not end the watching (P8)."""
        if self._stopping.is_set():
            return
        try:
            look()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            self._problems = (printable(f"a source failed: {error!r}"),)

    def _visit_forever(self) -> None:
        visits = self._begin_to_visit()
        if visits is None:
            return
        try:
            while not self._stopping.is_set():
                self._turn_safely(visits)
        finally:
            visits.close()

    def _begin_to_visit(self) -> Visits | None:
        """Return what visits, as soon as it can be made; None if that takes until the end."""
        while not self._stopping.is_set():
            try:
                visits = self._visits()
            except Exception as error:  # noqa: BLE001 - too many open files, most likely
                self._failure = printable(f"the watcher can't begin, and tries on: {error!r}", 300)
                self._stopping.wait(AFTER_A_FAILURE_S)
            else:
                self._failure = None
                return visits
        return None

    def _turn_safely(self, visits: Visits) -> None:
        """Take one turn; a bug in it is told, and does not end the watching (P8)."""
        try:
            if self._listed.is_set():
                self._listed.clear()
                visits.adopt(time.monotonic())
            visits.turn(time.monotonic())
        except Exception as error:  # noqa: BLE001 - whatever it is, all rows would stay as they are
            self._failure = printable(f"the watcher failed, and goes on: {error!r}", 300)
            self._stopping.wait(AFTER_A_FAILURE_S)
