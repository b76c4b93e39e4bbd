"""Freezes and thaws in worker threads, each bound to its VM, told to the fleet as they go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Final, Literal

from agentclient.commands import thaw_command
from agentclient.errors import FrostwatchError
from agentclient.events import EventKind
from agentclient.fleet import Fleet
from agentclient.freezer import Freezer
from agentclient.holder.client import HolderClient
from agentclient.journal.entry import Entry, begin_freeze, begin_thaw
from agentclient.journal.history import Past, past
from agentclient.journal.writer import Journal
from agentclient.ladder import Offer
from agentclient.links import Links
from agentclient.moves import Tell
from agentclient.recovery import is_ours
from agentclient.reporter import FleetReporter, OnEvent
from agentclient.rescue import Rescuer, survey
from agentclient.results import FreezeRequest, ThawOutcome
from agentclient.rungs import Found, RescueOutcome, RescueTimes, Rung, Step
from agentclient.text import printable
from agentclient.thawer import Thawer
from agentclient.verdict import refused
from agentclient.vm import Level, Outcome, OutcomeKind, Refusal, Vm, VmId, VmState
from agentclient.wishes import Wish, Wishes

DEFAULT_FREEZES_AT_ONCE: Final = 64
# Threads are made as they are needed: no thaw ever waits behind another one that hangs.
DEFAULT_THAWS_AT_ONCE: Final = 1024

What = Literal["freeze", "thaw", "rescue"]
Ending = Outcome | ThawOutcome | RescueOutcome

__all__ = ["FreezeRequest", "OnEvent", "Operation", "Operations", "ThawOutcome"]


class Operation:
    """One freeze or thaw of one VM, or one rung of its rescue; thread-safe.

    Attributes:
        vm: the VM as it was when the operation was asked for.
        what: ``"freeze"``, ``"thaw"`` or ``"rescue"``.
        step: which rung of the rescue; None for the others.
    """

    def __init__(self, vm: Vm, what: What, wishes: Wishes, step: Step | None = None) -> None:
        self.vm = vm
        self.what: What = what
        self.step = step
        self._wishes = wishes
        self._result: Future[Ending] = Future()
        self._tell: Callable[[Tell], None] = lambda _: None

    def note(self, text: str) -> None:
        """Write a sentence into the VM's log and journal, among what happens."""
        self._tell(Tell(EventKind.NOTE, Level.INFO, text))

    def told_to(self, tell: Callable[[Tell], None]) -> None:
        """Say where notes go to; for `Operations` alone."""
        self._tell = tell

    def cancel(self) -> None:
        """Stop waiting, and thaw as soon as the agent answers; doing it again changes nothing."""
        self._wishes.add(Wish.CANCEL)

    def end_hold(self) -> None:
        """The window has served its purpose: thaw now."""
        self._wishes.add(Wish.END_HOLD)

    def extend_hold(self, seconds: float) -> None:
        """Hold the window for so many seconds more, up to the maximum."""
        self._wishes.extend(seconds)

    def give_up(self) -> None:
        """Leave within a second, and say loudly what is left to do."""
        self._wishes.add(Wish.GIVE_UP)

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._result.done()

    def wait(self, timeout_s: float | None = None) -> Ending | None:
        """Return the outcome.

        Args:
            timeout_s: how long to wait; None until it is done.

        Returns:
            None if it is still running.
        """
        try:
            return self._result.result(timeout_s)
        except FutureTimeout:
            return None

    def settle(self, outcome: Ending) -> None:
        """Set the outcome; for the worker alone."""
        self._result.set_result(outcome)
        self._wishes.close()


class Operations:
    """All freezes and thaws of this process.

    Thaws have threads of their own, so that none waits behind pending freezes.

    Args:
        fleet: where progress and outcomes are written.
        links: how VMs are reached.
        read_only: nothing may be sent to a guest.
        freezes_at_once: further ones wait their turn, before anything is sent.
        thaws_at_once: further ones wait their turn.
        holder: stands by for the case that we die; None for one of our own.
        journal: where each of them is written down; None for nowhere.
    """

    def __init__(
        self,
        fleet: Fleet,
        links: Links,
        *,
        read_only: bool = False,
        freezes_at_once: int = DEFAULT_FREEZES_AT_ONCE,
        thaws_at_once: int = DEFAULT_THAWS_AT_ONCE,
        holder: HolderClient | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._fleet = fleet
        self._links = links
        self._read_only = read_only
        self._holder = holder or HolderClient()
        self._journal = journal
        self._lock = threading.Lock()
        self._active: dict[VmId, Operation] = {}
        self._freezes = ThreadPoolExecutor(freezes_at_once, thread_name_prefix="freeze")
        self._thaws = ThreadPoolExecutor(thaws_at_once, thread_name_prefix="thaw")

    def freeze(self, vm: Vm, request: FreezeRequest, on_event: OnEvent | None = None) -> Operation:
        """Begin a freeze, and return at once.

        Args:
            vm: the VM, as it was when the operator pressed the key.
            request: what is asked for.
            on_event: is called from the worker's thread with each event.
        """
        wishes = Wishes()
        operation = Operation(vm, "freeze", wishes)
        entry = begin_freeze(self._journal, vm, request)
        reporter = FleetReporter(self._fleet, vm, on_event, entry)
        operation.told_to(reporter.tell)
        with self._lock:
            running = self._active.get(vm.id)
            if running is None:
                self._active[vm.id] = operation
        if running is not None:
            outcome = refused(Refusal.BUSY, f"a {running.what} of this VM is in flight already")
            self._refuse(operation, reporter, outcome)
            return operation

        freezer = partial(self._freeze, vm, request, reporter, wishes, entry)
        self._submit(self._freezes, operation, reporter, freezer)
        return operation

    def _freeze(
        self,
        vm: Vm,
        request: FreezeRequest,
        reporter: FleetReporter,
        wishes: Wishes,
        entry: Entry | None,
    ) -> Outcome:
        return Freezer(
            self._links.of(vm),
            request,
            reporter,
            wishes,
            self._holder,
            read_only=self._read_only,
            entry=entry,
        ).run()

    def thaw(self, vm: Vm, *, foreign: bool = False, on_event: OnEvent | None = None) -> Operation:
        """Begin a thaw, and return at once; a freeze of ours in flight is told to thaw instead.

        Args:
            vm: the VM, as it was when the operator pressed the key.
            foreign: a person has decided to thaw also what is not provably ours.
            on_event: is called from the worker's thread with each event.
        """
        with self._lock:
            running = self._active.get(vm.id)
            if running is not None:
                running.cancel()
                return running
            wishes = Wishes()
            operation = self._active[vm.id] = Operation(vm, "thaw", wishes)
        entry = begin_thaw(self._journal, vm, foreign=foreign)
        reporter = FleetReporter(self._fleet, vm, on_event, entry)

        def work() -> ThawOutcome:
            return Thawer(
                self._links.of(vm),
                reporter,
                wishes,
                foreign=foreign,
                ours=self._is_ours(vm),
                read_only=self._read_only,
            ).run()

        self._submit(self._thaws, operation, reporter, work)
        return operation

    def rescue(
        self,
        vm: Vm,
        step: Step,
        *,
        person: bool = True,
        times: RescueTimes | None = None,
        on_event: OnEvent | None = None,
    ) -> Operation:
        """Begin one rung of the rescue ladder, and return at once.

        Args:
            vm: the VM, as it was when the operator pressed the key.
            step: the rung.
            person: a person has decided it (P4).
            times: the bounds.
            on_event: is called from the worker's thread with each event.
        """
        wishes = Wishes()
        operation = Operation(vm, "rescue", wishes, step)
        entry = begin_thaw(self._journal, vm, foreign=person)
        reporter = FleetReporter(self._fleet, vm, on_event, entry)
        with self._lock:
            running = self._active.setdefault(vm.id, operation)
        if running is not operation:
            reason = f"not taken: a {running.what} of this VM is in flight; stop it first"
            operation.settle(_ended_rescue(operation, reporter, Found.REFUSED, reason, None))
            return operation

        def work() -> RescueOutcome:
            return Rescuer(
                self._links.of(vm),
                step,
                self._fleet_state(vm),
                reporter,
                wishes,
                person=person,
                ours=self._is_ours(vm),
                times=times,
                read_only=self._read_only,
            ).run()

        self._submit(self._thaws, operation, reporter, work)
        return operation

    def history(self, vm: Vm, limit: int = 50) -> Future[Past | None]:
        """Return what the journal knows of a VM's freezes and thaws; None if it can't tell.

        Args:
            vm: the VM.
            limit: the newest so many.
        """
        return self._thaws.submit(past, self._journal, str(vm.id), limit)

    def ladder(
        self, vm: Vm, *, serial: str | None = None, tried: frozenset[Rung] = frozenset()
    ) -> Future[tuple[Offer, ...]]:
        """Look at a VM's monitor, and return the rungs of its ladder; see `rescue.survey`.

        Args:
            vm: the VM.
            serial: the label of its console, as a person named it.
            tried: the rungs that were taken already, in vain.
        """
        running = self.on(vm.id)
        look = partial(
            survey,
            serial=serial,
            tried=tried,
            read_only=self._read_only,
            in_flight=running.what if running is not None else None,
        )
        return self._thaws.submit(lambda: look(self._links.of(vm), self._fleet_state(vm)))

    def _fleet_state(self, vm: Vm) -> VmState:
        try:
            return self._fleet.get(vm.id)
        except KeyError:
            return VmState(vm)

    def active(self) -> tuple[Operation, ...]:
        """Return what is in flight, oldest first."""
        with self._lock:
            return tuple(self._active.values())

    def on(self, vm_id: VmId) -> Operation | None:
        """Return what is in flight on a VM."""
        with self._lock:
            return self._active.get(vm_id)

    def cancel_all(self) -> None:
        """Stop waiting everywhere, and thaw as soon as the agents answer."""
        for operation in self.active():
            operation.cancel()

    def close(self, timeout_s: float) -> bool:
        """Cancel everything, wait, and give up on what is left.

        Args:
            timeout_s: how long to wait before giving up.

        Returns:
            True if nothing was left.
        """
        self.cancel_all()
        deadline = time.monotonic() + timeout_s
        left = [one for one in self.active() if not _waited(one, deadline)]
        for operation in left:
            operation.give_up()
        grace = time.monotonic() + 2.0
        for operation in left:
            _waited(operation, grace)
        self._freezes.shutdown(wait=False, cancel_futures=True)
        self._thaws.shutdown(wait=False, cancel_futures=True)
        self._holder.close()
        return not left

    def _is_ours(self, vm: Vm) -> bool:
        """Whether what may be frozen there is what we, or a dead frostwatch, could not thaw."""
        try:
            if self._fleet.get(vm.id).left_frozen:
                return True
        except KeyError:
            pass
        return is_ours(self._journal, vm)

    def _submit(
        self,
        executor: ThreadPoolExecutor,
        operation: Operation,
        reporter: FleetReporter,
        work: Callable[[], Ending],
    ) -> None:
        def run() -> None:
            try:
                outcome = work()
            except (Exception, FrostwatchError) as error:  # noqa: BLE001 - P8: one broken VM
                outcome = self._crashed(operation, reporter, error)
            self._end(operation, reporter, outcome)

        executor.submit(run)

    def _refuse(self, operation: Operation, reporter: FleetReporter, outcome: Outcome) -> None:
        for kind in (EventKind.VERDICT, EventKind.OUTCOME):
            reporter.tell(Tell(kind, Level.WARNING, outcome.reason, {"outcome": outcome}))
        operation.settle(outcome)

    def _end(self, operation: Operation, reporter: FleetReporter, outcome: Ending) -> None:
        reporter.ended(outcome)
        with self._lock:
            if self._active.get(operation.vm.id) is operation:
                del self._active[operation.vm.id]
        operation.settle(outcome)

    def _crashed(self, operation: Operation, reporter: FleetReporter, error: Exception) -> Ending:
        """A bug of ours ended the operation: the guest may be frozen, and somebody must know."""
        step = thaw_command(operation.vm)
        reason = f"frostwatch failed in the middle of it: {printable(repr(error), 300)}"
        if operation.what == "rescue":
            return _ended_rescue(operation, reporter, Found.FAILED, reason, step)
        outcome: Outcome | ThawOutcome
        if operation.what == "freeze":
            outcome = Outcome(OutcomeKind.FAILED, reason, next=step)
            fields: dict[str, object] = {"outcome": outcome}
        else:
            outcome = ThawOutcome(operation.vm.id, None, None, False, reason, 0.0, step)
            fields = {"thaw": outcome}
        text = f"{reason}. NEXT: {step}"
        reporter.tell(Tell(EventKind.OUTCOME, Level.ERROR, text, fields))
        return outcome


def _ended_rescue(
    operation: Operation, reporter: FleetReporter, found: Found, reason: str, step: str | None
) -> RescueOutcome:
    """Tell the end of a rung that was not taken, or that a bug of ours ended."""
    assert operation.step is not None, "it is a rescue"
    rung, means = operation.step.rung, operation.step.means
    vm_id = operation.vm.id
    outcome = RescueOutcome(vm_id, rung, means, found, None, None, reason, 0.0, step)
    text = f"{rung}: {reason}" + (f". NEXT: {step}" if step else "")
    reporter.tell(Tell(EventKind.OUTCOME, Level.WARNING, text, {"rescue": outcome}))
    return outcome


def _waited(operation: Operation, deadline: float) -> bool:
    return operation.wait(max(0.0, deadline - time.monotonic())) is not None
