"""Keeps the fleet up to date: lists the backends' VMs, and visits each VM on schedule.

Each backend lists in a thread of its own, since it may be slow, and one more thread collects the
lists. Another thread makes all visits: to a VM's port every 2 s, to its agent every 15 s, and less
often to those that don't answer.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from agentclient.access.access_pool import AccessPool
from agentclient.backends.base import Backend, Note, PushingBackend, merge
from agentclient.fleet.discovery import Discovery
from agentclient.fleet.store import Fleet
from agentclient.late import load
from agentclient.model.errors import NO_THREAD, why_no_thread
from agentclient.model.policy import DEFAULT_POLICY
from agentclient.model.text import printable
from agentclient.model.vm import Identity, VmId

if TYPE_CHECKING:
    from agentclient.fleet.held_log import HeldLog
    from agentclient.fleet.poller import Poller
    from agentclient.fleet.recovery import Recovery
    from agentclient.journal.writer import Journal

SOURCES_EVERY_S: Final = 5.0
AFTER_A_FAILURE_S: Final = 1.0
# Once one backend has listed, the others are waited for until so many seconds after the start.
TOGETHER_S: Final = 0.5
# Seconds for which a VM that is not listed any more stays in the fleet, so that users see it go.
ABSENT_S: Final = 60.0


class Watcher:
    """Keeps the fleet up to date, in threads of its own after `start`.

    Args:
        fleet: the fleet to update.
        accesses: gives access to each VM.
        backends: list the VMs.
        port_interval_s: seconds between two looks at a VM's monitor.
        agent_interval_s: seconds between two questions to its agent.
        journal: knows the freezes that a dead frostwatch has left; None for no journal.

    Attributes:
        discoveries: the listing of each backend, in the order of `backends`.
    """

    def __init__(
        self,
        fleet: Fleet,
        accesses: AccessPool,
        backends: Sequence[Backend],
        *,
        port_interval_s: float = DEFAULT_POLICY.monitor_interval_s,
        agent_interval_s: float = DEFAULT_POLICY.agent_interval_s,
        journal: Journal | None = None,
    ) -> None:
        self._fleet = fleet
        self._accesses = accesses
        self._came = threading.Event()  # a backend has listed, or has pushed a change
        self.discoveries = tuple(Discovery(each, self._came.set) for each in backends)
        self._journal = journal
        self._intervals = (port_interval_s, agent_interval_s)
        self._making = threading.RLock()
        self._made_recovery: Recovery | None = None
        self._held_log: HeldLog | None = None
        self._made_poller: Poller | None = None
        self._started = threading.Event()
        self._listing = False  # in a thread
        self._visiting = False  # in a thread, which closes the visits at its end
        self._stopping = threading.Event()
        self._known = threading.Event()
        self._listed = threading.Event()
        self._wanted: deque[VmId] = deque()
        self._absent: dict[VmId, float] = {}  # since when, by the monotonic clock
        self._threads: list[threading.Thread] = []
        self._untaken: dict[Discovery, Note] = {}
        self._bug: str | None = None
        self._failure: str | None = None
        self._not_begun: str | None = None
        self._subscribed = False

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence each for a failed source, a broken journal, and a bug of frostwatch."""
        journal = self._journal.problem if self._journal is not None else None
        found = (self._not_begun, self._failure, journal, self._bug)
        ours = [each for each in found if each is not None]
        hanging = [f"{note.subject}: {note.text}" for note in self.hanging]
        return (*ours, *self._failed(), *hanging)

    @property
    def hanging(self) -> tuple[Note, ...]:
        """A note for each backend that hangs, or did so when its VMs were to be taken."""
        found = {**self._untaken, **self._hanging_now()}
        return tuple(found[each] for each in self.discoveries if each in found)

    def _hanging_now(self) -> dict[Discovery, Note]:
        return {each: note for each in self.discoveries if (note := each.hang) is not None}

    def _failed(self) -> tuple[str, ...]:
        return tuple(problem for each in self.discoveries for problem in each.problems)

    def _recovery(self) -> Recovery | None:
        """Return the recovery, None without a journal; the first call imports the journal."""
        with self._making:
            if self._made_recovery is None and self._journal is not None:
                from agentclient.fleet.recovery import Recovery  # noqa: PLC0415 - see `list_first`

                self._made_recovery = Recovery(self._journal, self._has_ended)
            return self._made_recovery

    def _poller(self) -> Poller:
        with self._making:
            if self._made_poller is None:
                from agentclient.fleet.poller import Poller  # noqa: PLC0415 - see `list_first`

                port_s, agent_s = self._intervals
                self._made_poller = Poller(
                    self._fleet,
                    self._accesses,
                    self._wanted,
                    self._recovery(),
                    port_interval_s=port_s,
                    agent_interval_s=agent_s,
                    journal=self._journal,
                )
            return self._made_poller

    def list_first(self, wait_s: float = 0.0) -> None:
        """Begin to list the VMs, in a thread; nothing is visited before `start`.

        The user waits for the first screen, so importing the visits and asking the journal comes
        later.

        Args:
            wait_s: how long to wait for the list, in seconds.
        """
        if not self._listing and not self._stopping.is_set():
            self._subscribe()
            self._listing = self._begin("sources", self._list_forever)
        if self._listing:
            self._known.wait(wait_s)

    def start(self) -> None:
        """Begin to list and visit, in threads; a further call begins what could not be begun."""
        self._not_begun = None
        self.list_first()
        if not self._visiting and not self._stopping.is_set():
            self._visiting = True  # before the thread begins, which closes the visits
            self._visiting = self._begin("watcher", self._visit_forever)
            self._started.set()

    def _begin(self, name: str, run: Callable[[], None]) -> bool:
        """Begin a thread; return whether there is one."""
        thread = threading.Thread(target=run, name=name, daemon=True)
        try:
            thread.start()
        except NO_THREAD as error:
            why = f"there is no thread for it ({why_no_thread(error)})"
            self._not_begun = f"the VMs are not watched: {why}; it is tried again"
            return False
        self._threads.append(thread)
        return True

    def stop(self) -> None:
        """End all visits and listings; wait a second at most for each thread."""
        self._stopping.set()
        self._started.set()
        self._came.set()
        self._wake()
        for thread in self._threads:
            thread.join(timeout=1.0)
        if self._made_poller is not None and not self._visiting:
            self._made_poller.close()
            self._made_poller = None

    def find_vms(self, *, together: bool = False) -> tuple[str, ...]:
        """List the VMs of all backends; write them, and freezes that were left, to the fleet.

        A backend that hangs is waited for as long as its `patience_s` says, see `hanging`.

        Args:
            together: don't wait for a backend that is much slower than another one.

        Returns:
            A sentence for each backend that failed; its VMs stay as they were.
        """
        if self._journal is not None:
            self._journal.begin()  # it starts while the VMs are listed
        self._ask_backends()
        self._take_lists(together=together)
        self._recover()
        return self._failed()

    def _ask_backends(self) -> None:
        for each in self.discoveries:
            each.begin()

    def _take_lists(self, *, together: bool) -> None:
        """Wait for the backends' lists, and write them to the fleet."""
        self._await_lists(time.monotonic() + TOGETHER_S if together else math.inf)
        # Each may answer at any moment: what is not taken now stays to be told.
        self._untaken = self._hanging_now()
        known = [each.known for each in self.discoveries]
        lists = merge([each.vms for each in self.discoveries])
        for each, is_known, vms in zip(self.discoveries, known, lists, strict=True):
            if is_known:
                self._fleet.set_vms(each.backend.name, vms)
        self._forget_absent(time.monotonic())

    def _await_lists(self, until: float) -> None:
        """Wait until each backend has listed or hangs; once one has listed, until `until`."""
        while not self._stopping.is_set():
            self._came.clear()
            now, waiting = time.monotonic(), [one for one in self.discoveries if one.in_flight]
            ends = [end for each in waiting if (end := each.overdue_at) > now]
            if not ends:
                return
            end = max(ends)
            if len(waiting) < len(self.discoveries):
                end = min(end, until)
            if end <= now:
                return
            self._came.wait(end - now)

    def _recover(self) -> None:
        recovery = self._recovery()
        if recovery is not None:
            recovery.look(self._fleet, all_seen=self._all_seen())

    def _all_seen(self) -> bool:
        """Return whether every VM of this host is listed, as far as the backends know."""
        backends = [each.backend for each in self.discoveries]
        hidden = any(note.may_hide_vms for backend in backends for note in backend.notes())
        current = all(each.known and not each.in_flight for each in self.discoveries)
        return current and not hidden and any(backend.abilities().processes for backend in backends)

    def _has_ended(self, identity: Identity) -> bool | None:
        """Return whether a start of a VM has ended; None if its backend can't tell."""
        backends = [each.backend for each in self.discoveries]
        found = (one for one in backends if one.name == identity.source)
        return next((one.has_ended(identity) for one in found), None)

    def _check_journal(self) -> None:
        recovery = self._recovery()
        if recovery is not None:
            recovery.check()

    def _forget_absent(self, now: float) -> None:
        absent = [state.id for state in self._fleet.states() if not state.present]
        self._absent = {vm_id: self._absent.get(vm_id, now) for vm_id in absent}
        recent = {vm_id for vm_id, since in self._absent.items() if now - since < ABSENT_S}
        self._fleet.forget_absent(keep=recent)

    def visit_all(self, timeout_s: float, only: Collection[VmId] | None = None) -> None:
        """Find all VMs and visit each once, with its agent; for one-shot commands.

        Args:
            timeout_s: how long the visits may take in total, in seconds.
            only: visit these VMs alone; None for all.
        """
        self.find_vms(together=True)
        if only is not None:
            others = {state.id for state in self._fleet.states()}.difference(only)
            self._poller().all_once(timeout_s, self._stopping, others)
            return
        self._poller().all_once(timeout_s, self._stopping)
        if any(each.in_flight for each in self.discoveries):
            visited = {state.id for state in self._fleet.states()}
            self._take_lists(together=False)
            self._recover()
            self._poller().all_once(timeout_s, self._stopping, visited)

    def visit_soon(self, vm_id: VmId) -> None:
        """Visit a VM at once, with its agent."""
        self._wanted.append(vm_id)
        self._wake()

    def _wake(self) -> None:
        if self._made_poller is not None:
            self._made_poller.wake()

    # -- the threads ----------------------------------------------------------------------

    def _list_forever(self) -> None:
        self._safely(self._list_alone)
        self._known.set()
        self._started.wait()
        self._safely(self._recover)
        self._safely(self._check_journal)
        due = time.monotonic() + SOURCES_EVERY_S
        while not self._stopping.is_set():
            self._listed.set()
            self._wake()
            self._came.wait(max(0.0, due - time.monotonic()))
            # By the clock: a backend that pushes without end must not keep the others from a list.
            if time.monotonic() >= due:
                due = time.monotonic() + SOURCES_EVERY_S
                self._ask_backends()
            self._safely(self._list_and_recover)

    def _list_alone(self) -> None:
        self._ask_backends()
        self._take_lists(together=True)

    def _list_and_recover(self) -> None:
        self._take_lists(together=True)
        self._recover()
        if self._journal is not None:
            if self._held_log is None:
                self._held_log = load("agentclient.fleet.held_log", "HeldLog")(self._journal)
            assert self._held_log is not None
            self._held_log.look(self._fleet)

    def _subscribe(self) -> None:
        if self._subscribed:
            return
        self._subscribed = True
        for each in self.discoveries:
            if isinstance(each.backend, PushingBackend):
                each.backend.subscribe(partial(self._changed, each))

    def _changed(self, discovery: Discovery, vm_id: VmId) -> None:
        """React to a backend's push about a VM: list all of its VMs, and visit that one."""
        discovery.begin()
        self.visit_soon(vm_id)

    def _safely(self, look: Callable[[], object]) -> None:
        """Call `look`; report a bug in it, which must not end the watching (P8)."""
        if self._stopping.is_set():
            return
        try:
            look()
        except Exception as error:  # noqa: BLE001 - any error is reported
            self._bug = printable(f"a source failed: {error!r}")
        else:
            self._bug = None

    def _visit_forever(self) -> None:
        poller = self._begin_to_visit()
        if poller is None:
            return
        try:
            while not self._stopping.is_set():
                self._turn_safely(poller)
        finally:
            poller.close()

    def _begin_to_visit(self) -> Poller | None:
        """Create the visits, retrying until that succeeds; None if `stop` comes first."""
        while not self._stopping.is_set():
            try:
                poller = self._poller()
            except Exception as error:  # noqa: BLE001 - too many open files, most likely
                self._failure = printable(f"the watcher can't begin, and tries on: {error!r}", 300)
                self._stopping.wait(AFTER_A_FAILURE_S)
            else:
                self._failure = None
                return poller
        return None

    def _turn_safely(self, poller: Poller) -> None:
        """Run one turn; report a bug in it, which must not end the watching (P8)."""
        try:
            if self._listed.is_set():
                self._listed.clear()
                poller.adopt(time.monotonic())
            poller.turn(time.monotonic())
        except Exception as error:  # noqa: BLE001 - whatever it is, all rows would stay as they are
            self._failure = printable(f"the watcher failed, and goes on: {error!r}", 300)
            self._stopping.wait(AFTER_A_FAILURE_S)
