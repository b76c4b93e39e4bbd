"""All freezes, thaws and rescues of this process: which run, which wait, on which VM."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

from agentclient.access.access_pool import AccessPool
from agentclient.config.defaults import DEFAULTS
from agentclient.fleet.store import Fleet
from agentclient.holder.client import HolderClient
from agentclient.journal.entry import Entry, begin_freeze, begin_rescue, begin_thaw
from agentclient.journal.history import VmHistory, read_history
from agentclient.journal.writer import Journal
from agentclient.model.errors import NO_THREAD, FrostwatchError, why_no_thread
from agentclient.model.events import OnEvent
from agentclient.model.guest_report import GuestReport
from agentclient.model.outcome import ExtendOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.rescue import RescueTimes, Rung, Step
from agentclient.model.states import OperationKind
from agentclient.model.vm import Vm, VmId
from agentclient.operations.attach import AttachOperation
from agentclient.operations.context import OperationContext
from agentclient.operations.control import Control
from agentclient.operations.descriptors import DescriptorBudget, TooFewDescriptors
from agentclient.operations.elsewhere import extend
from agentclient.operations.fleet_reporter import FleetReporter
from agentclient.operations.freeze import FreezeOperation
from agentclient.operations.inspection import inspect
from agentclient.operations.operation import AnyOperation, Operation
from agentclient.operations.reporter_interface import EndingT
from agentclient.operations.rescue.ladder import Offer
from agentclient.operations.rescue.operation import RescueOperation, survey
from agentclient.operations.thaw import ThawOperation
from agentclient.operations.threads import WorkQueue
from agentclient.operations.timeline_recorder import TimelineRecorder

DEFAULT_FREEZES_AT_ONCE: Final = DEFAULTS.freezes_at_once
# Threads are made as they are needed, so that no thaw waits for another one that hangs.
DEFAULT_THAWS_AT_ONCE: Final = 1024

T = TypeVar("T")


class OperationManager:
    """Begins and lists all freezes, thaws and rescues of this process.

    Thaws have threads of their own, so that none waits behind pending freezes.

    Args:
        fleet: receives progress and outcomes.
        accesses: the accesses to the VMs.
        read_only: nothing may be sent to a guest.
        freezes_at_once: how many freezes run; further ones wait before anything is sent.
        thaws_at_once: how many thaws run; further ones wait.
        holder: thaws if this process dies; None to make a new one.
        journal: records each operation; None for no record.
    """

    def __init__(
        self,
        fleet: Fleet,
        accesses: AccessPool,
        *,
        read_only: bool = False,
        freezes_at_once: int = DEFAULT_FREEZES_AT_ONCE,
        thaws_at_once: int = DEFAULT_THAWS_AT_ONCE,
        holder: HolderClient | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._fleet = fleet
        self._accesses = accesses
        self._read_only = read_only
        self._holder = holder or HolderClient()
        self._journal = journal
        self._lock = threading.Lock()
        self._active: dict[VmId, AnyOperation] = {}
        self._budget = DescriptorBudget()
        # Rungs that don't need the agent, beside a freeze or a thaw that hangs.
        self._beside: dict[VmId, AnyOperation] = {}
        self._freezes = WorkQueue(freezes_at_once, "freeze")
        self._thaws = WorkQueue(thaws_at_once, "thaw")

    @property
    def freezes_at_once(self) -> int:
        """How many freezes run at once; further ones wait for their turn."""
        return self._freezes.most

    def freeze(
        self, vm: Vm, request: FreezeRequest, on_event: OnEvent | None = None
    ) -> FreezeOperation:
        """Begin a freeze, and return at once.

        Args:
            vm: the VM, as it was when the operator pressed the key.
            request: the mount points, the hold and the bounds.
            on_event: is called from the worker's thread with each event.
        """
        entry = begin_freeze(self._journal, vm, request)
        recorder = TimelineRecorder(request.group)
        context = self._context(vm, entry, on_event, again=request.again, recorder=recorder)
        operation = FreezeOperation(context, request)
        running = self._enter(operation, self._active)
        if running is not operation:
            operation.settle(operation.busy(running.kind))
        else:
            self._begin(operation, self._freezes)
        return operation

    def thaw(
        self, vm: Vm, *, foreign: bool = False, on_event: OnEvent | None = None
    ) -> AnyOperation:
        """Begin a thaw, and return at once; a freeze of ours in flight is told to thaw instead.

        Args:
            vm: the VM, as it was when the operator pressed the key.
            foreign: a person has decided to thaw also a foreign freeze.
            on_event: is called from the worker's thread with each event.

        Returns:
            The thaw; or the operation in flight on the VM, which thaws it.
        """
        running = self.on(vm.id)
        if running is None:
            entry = begin_thaw(self._journal, vm, foreign=foreign)
            operation = ThawOperation(self._context(vm, entry, on_event), foreign=foreign)
            running = self._enter(operation, self._active)
            if running is operation:
                self._begin(operation, self._thaws)
                return operation
            operation.settle(operation.busy(running.kind))
        running.cancel()
        return running

    def attach(self, vm: Vm, on_event: OnEvent | None = None) -> AnyOperation:
        """Take over a window that its console has left to the holder; returns at once.

        Args:
            vm: the VM, as it was when the operator pressed the key.
            on_event: is called from the worker's thread with each event.
        """
        operation = AttachOperation(self._context(vm, None, on_event))
        running = self._enter(operation, self._active)
        if running is not operation:
            operation.settle(operation.busy(running.kind))
        else:
            self._begin(operation, self._thaws)
        return operation

    def extend_elsewhere(self, vm: Vm, longer: float | datetime) -> Future[ExtendOutcome]:
        """Ask another frostwatch to hold its window of a VM for longer; returns at once.

        Args:
            vm: the VM.
            longer: for how many seconds more, or until when.
        """
        context = self._context(vm, None, None)
        return self._look(lambda: extend(context, longer))

    def rescue(
        self,
        vm: Vm,
        step: Step,
        *,
        person: bool = True,
        times: RescueTimes | None = None,
        on_event: OnEvent | None = None,
    ) -> RescueOperation:
        """Begin one rung of the rescue ladder, and return at once.

        Args:
            vm: the VM, as it was when the operator pressed the key.
            step: the rung.
            person: a person has decided to take it (P4).
            times: its bounds, in seconds.
            on_event: is called from the worker's thread with each event.
        """
        hung = self.on(vm.id) if step.bypasses_agent else None
        if hung is not None and hung.kind is OperationKind.RESCUE:
            hung = None
        entry = begin_rescue(self._journal, vm, step, person=person)
        operation = RescueOperation(
            self._context(vm, entry, on_event, beside=hung is not None),
            step,
            person=person,
            times=times,
            beside=hung.kind if hung is not None else None,
        )
        running = self._enter(operation, self._active if hung is None else self._beside)
        if running is not operation:
            operation.settle(operation.busy(running.kind))
        else:
            self._begin(operation, self._thaws)
        return operation

    def history(self, vm: Vm, limit: int = 50) -> Future[VmHistory | None]:
        """Return a future of the journal's record of a VM; of None without a journal.

        The future raises a `FrostwatchError` if it can't be read.

        Args:
            vm: the VM.
            limit: how many windows at most, the newest first.
        """
        return self._look(lambda: self._past(vm, limit))

    def _past(self, vm: Vm, limit: int) -> VmHistory | None:
        found = read_history(self._journal, vm, limit)
        if found is None and self._journal is not None:
            raise FrostwatchError(self._journal.problem or "it does not answer")
        if found is not None and self._journal is not None:
            found = replace(found, missing=self._journal.problem)
        return found

    def ladder(
        self, vm: Vm, *, serial: str | None = None, tried: frozenset[Rung] = frozenset()
    ) -> Future[tuple[Offer, ...]]:
        """Look at a VM's monitor, and return the rungs of its ladder (`rescue.operation.survey`).

        Args:
            vm: the VM.
            serial: the label of its console, as a person named it.
            tried: the rungs that were taken already without success.
        """
        running = self.on(vm.id)
        kind = running.kind if running is not None else None
        context = self._context(vm, None, None)
        return self._look(
            lambda: survey(
                context.access,
                context.state,
                serial=serial,
                tried=tried,
                read_only=context.why_read_only,
                in_flight=kind,
            )
        )

    def inspect(self, vm: Vm) -> Future[GuestReport]:
        """Ask a VM's agent about its guest, in another thread (`inspection.inspect`)."""
        return self._look(lambda: inspect(self._context(vm, None, None)))

    def active(self) -> tuple[AnyOperation, ...]:
        """Return the operations in flight, oldest first."""
        with self._lock:
            return (*self._active.values(), *self._beside.values())

    def on(self, vm_id: VmId) -> AnyOperation | None:
        """Return the operation in flight on a VM; None if there is none."""
        with self._lock:
            return self._active.get(vm_id)

    def cancel_all(self) -> None:
        """Stop waiting everywhere, and thaw as soon as the agents answer."""
        for operation in self.active():
            operation.cancel()

    def stop(self, timeout_s: float) -> bool:
        """Cancel all operations, wait, and give up on those that still run.

        Args:
            timeout_s: how long to wait before giving up, in seconds.

        Returns:
            True if all had ended before that.
        """
        self.cancel_all()
        deadline = time.monotonic() + timeout_s
        left = [one for one in self.active() if not _waited(one, deadline)]
        for operation in left:
            operation.give_up()
        grace = time.monotonic() + 2.0
        for operation in left:
            _waited(operation, grace)
        self._freezes.close()
        self._thaws.close()
        self._holder.close()
        return not left

    def _context(
        self,
        vm: Vm,
        entry: Entry | None,
        on_event: OnEvent | None,
        *,
        beside: bool = False,
        again: str | None = None,
        recorder: TimelineRecorder | None = None,
    ) -> OperationContext:
        """Return an operation's context.

        Args:
            vm: the VM.
            entry: its window in the journal.
            on_event: is called with each event.
            beside: another operation is in flight on the VM, whose progress stays shown.
            again: the command that asks for the same once more; None for a freeze's.
            recorder: records when each thing of a freeze happens; None for what is no freeze.
        """
        reporter = FleetReporter(
            self._fleet, vm, on_event, entry, beside=beside, again=again, recorder=recorder
        )
        return OperationContext(
            vm,
            self._accesses.of(vm),
            reporter,
            Control(),
            self._holder,
            entry,
            self._fleet,
            self._journal,
            read_only=self._read_only,
        )

    def _enter(self, operation: AnyOperation, place: dict[VmId, AnyOperation]) -> AnyOperation:
        """Register an operation, unless another is in flight; return the one that is."""
        with self._lock:
            return place.setdefault(operation.vm.id, operation)

    def _begin(self, operation: Operation[EndingT], threads: WorkQueue) -> None:
        """Queue an operation for a thread of its own; until then it can be withdrawn."""

        def run() -> None:
            try:
                outcome = self._with_descriptors(operation)
            except (Exception, FrostwatchError) as error:  # noqa: BLE001 - P8: one broken VM
                outcome = operation.crashed(error)
            self._end(operation, outcome)

        def withdraw() -> None:
            if threads.withdraw(turn):
                self._end(operation, operation.withdrawn())

        operation.waits_for_its_turn(threads.most)
        try:
            turn = threads.submit(run)
            operation.queued_by(lambda: threads.place(turn), withdraw)
        except NO_THREAD as error:
            # The VM's state stays as it was, above all that of a freeze that was not thawed.
            operation.waits_no_more()
            self._settle(operation, operation.not_begun(error))

    def _end(self, operation: Operation[EndingT], outcome: EndingT) -> None:
        """Show that it has ended, free its VM for others, and set its outcome."""
        try:
            outcome = operation.end(outcome)
        finally:  # whatever fails there: somebody waits for it, and the VM may have to be thawed
            self._settle(operation, outcome)

    def _settle(self, operation: Operation[EndingT], outcome: EndingT) -> None:
        with self._lock:
            for place in (self._active, self._beside):
                if place.get(operation.vm.id) is operation:
                    del place[operation.vm.id]
        operation.settle(outcome)

    def _with_descriptors(self, operation: Operation[EndingT]) -> EndingT:
        """Run the operation if there are enough descriptors; a freeze leaves some for thaws."""
        counted = False
        try:
            if operation.kind is OperationKind.FREEZE:
                self._budget.take()
                counted = True
            try:
                operation.open()
            except OSError as error:
                return operation.not_begun(error)
            return operation.run()
        except TooFewDescriptors as error:
            return operation.not_begun(error)
        finally:
            if counted:
                self._budget.give_back()

    def _look(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` in another thread; the future raises its error."""
        try:
            return self._thaws.submit(work)
        except NO_THREAD as error:
            failed: Future[T] = Future()
            failed.set_exception(
                FrostwatchError(f"there is no thread for it: {why_no_thread(error)}")
            )
            return failed


def _waited(operation: AnyOperation, deadline: float) -> bool:
    return operation.wait(max(0.0, deadline - time.monotonic())) is not None
