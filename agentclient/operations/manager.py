"""Freezes and thaws in worker threads, each bound to its VM, told to the fleet as they go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from agentclient.model.errors import NO_THREAD, FrostwatchError
from agentclient.model.outcome import Outcome
from agentclient.model.request import Instruction
from agentclient.model.vm import Vm, VmId
from agentclient.operations.control import Control
from agentclient.operations.descriptors import Budget, TooFew
from agentclient.operations.threads import Crew

if TYPE_CHECKING:
    from agentclient.access.guest_link import Links
    from agentclient.fleet.store import Fleet
    from agentclient.holder.client import HolderClient
    from agentclient.journal.history import Past
    from agentclient.journal.writer import Journal
    from agentclient.model.events import OnEvent
    from agentclient.model.outcome import ThawOutcome
    from agentclient.model.request import FreezeRequest
    from agentclient.model.rescue import RescueOutcome, RescueTimes, Rung, Step
    from agentclient.operations.rescue.ladder import Offer
    from agentclient.operations.work import Task, Works

    Ending = Outcome | ThawOutcome | RescueOutcome

DEFAULT_FREEZES_AT_ONCE: Final = 64
# Threads are made as they are needed: no thaw ever waits behind another one that hangs.
DEFAULT_THAWS_AT_ONCE: Final = 1024

T = TypeVar("T")
What = Literal["freeze", "thaw", "rescue"]


class Operation:
    """One freeze or thaw of one VM, or one rung of its rescue; thread-safe.

    Attributes:
        vm: the VM as it was when the operation was asked for.
        what: ``"freeze"``, ``"thaw"`` or ``"rescue"``.
        step: which rung of the rescue; None for the others.
    """

    def __init__(self, vm: Vm, what: What, control: Control, step: Step | None = None) -> None:
        self.vm = vm
        self.what: What = what
        self.step = step
        self._control = control
        self._result: Future[Ending] = Future()
        self._note: Callable[[str], None] = lambda _: None
        self._place: Callable[[], int] = lambda: 0
        self._withdraw: Callable[[], object] = lambda: None

    def note(self, text: str) -> None:
        """Write a sentence into the VM's log and journal, among what happens."""
        self._note(text)

    def noted_by(self, note: Callable[[str], None]) -> None:
        """Say who writes notes down; for `Operations` alone."""
        self._note = note

    @property
    def place(self) -> int:
        """Which one it is of those that wait for their turn; 0 once it has begun."""
        return 0 if self.done else self._place()

    def queued_by(self, place: Callable[[], int], withdraw: Callable[[], object]) -> None:
        """Say who knows its place, and takes it out of the queue; for `Operations` alone."""
        self._place, self._withdraw = place, withdraw

    def cancel(self) -> None:
        """Stop waiting, and thaw as soon as the agent answers; doing it again changes nothing.

        What waits for its turn is never begun.
        """
        self._control.add(Instruction.CANCEL)
        self._withdraw()

    def end_hold(self) -> None:
        """The window has served its purpose: thaw now."""
        self._control.add(Instruction.END_HOLD)

    def extend_hold(self, seconds: float) -> None:
        """Hold the window for so many seconds more, up to the maximum."""
        self._control.extend(seconds)

    def fail_together(self, why: str) -> None:
        """Its group was not frozen together: whatever becomes of it, it is not certified."""
        self._control.apart = why

    def give_up(self) -> None:
        """Leave within a second, and say loudly what is left to do."""
        self._control.add(Instruction.GIVE_UP)
        self._withdraw()

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

    def open(self) -> None:
        """Open what wakes its worker; for the worker alone.

        Raises:
            OSError: the process has no descriptor left for it.
        """
        self._control.open()

    def settle(self, outcome: Ending) -> None:
        """Set the outcome; for the worker alone."""
        self._result.set_result(outcome)
        self._control.close()


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
        self._tools = (fleet, links, read_only, holder, journal)
        self._works: Works | None = None
        self._making = threading.Lock()
        self._lock = threading.Lock()
        self._active: dict[VmId, Operation] = {}
        self._budget = Budget()
        # Rungs that go round the agent, while a freeze or a thaw hangs there.
        self._beside: dict[VmId, Operation] = {}
        self._freezes = Crew(freezes_at_once, "freeze")
        self._thaws = Crew(thaws_at_once, "thaw")

    @property
    def freezes_at_once(self) -> int:
        """How many freezes run at once; further ones wait for their turn."""
        return self._freezes.most

    def prepare(self) -> Works:
        """Import what the first operation would have to wait for; in any thread."""
        with self._making:
            if self._works is None:
                from agentclient.operations.work import Works  # noqa: PLC0415 - it says why itself

                fleet, links, read_only, holder, journal = self._tools
                self._works = Works(
                    fleet, links, read_only=read_only, holder=holder, journal=journal
                )
            return self._works

    def freeze(self, vm: Vm, request: FreezeRequest, on_event: OnEvent | None = None) -> Operation:
        """Begin a freeze, and return at once.

        Args:
            vm: the VM, as it was when the operator pressed the key.
            request: what is asked for.
            on_event: is called from the worker's thread with each event.
        """
        works, control = self.prepare(), Control()
        operation = Operation(vm, "freeze", control)
        task = works.freeze_task(vm, control, request, on_event)
        operation.noted_by(task.note)
        running = self._enter(operation)
        if running is not operation:
            operation.settle(works.refuse_freeze(task, running.what))
        else:
            self._submit(self._freezes, operation, task, partial(works.freeze, task, request))
        return operation

    def thaw(self, vm: Vm, *, foreign: bool = False, on_event: OnEvent | None = None) -> Operation:
        """Begin a thaw, and return at once; a freeze of ours in flight is told to thaw instead.

        Args:
            vm: the VM, as it was when the operator pressed the key.
            foreign: a person has decided to thaw also what is not provably ours.
            on_event: is called from the worker's thread with each event.
        """
        works, control = self.prepare(), Control()
        operation = Operation(vm, "thaw", control)
        running = self._enter(operation)
        if running is not operation:
            control.close()
            running.cancel()
            return running
        task = works.thaw_task(vm, control, on_event, foreign=foreign)
        self._submit(self._thaws, operation, task, partial(works.thaw, task, foreign=foreign))
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
        works, control = self.prepare(), Control()
        operation = Operation(vm, "rescue", control, step)
        beside = self.on(vm.id) if step.around_the_agent else None
        if beside is not None and beside.what == "rescue":
            beside = None
        running = self._enter(operation, beside=beside is not None)
        task = works.rescue_task(
            vm, control, step, on_event, person=person, beside=beside is not None
        )
        if running is not operation:
            operation.settle(works.refuse_rescue(task, step, running.what))
            return operation
        what = beside.what if beside is not None else None
        rescue = partial(works.rescue, task, step, person=person, times=times, beside=what)
        self._submit(self._thaws, operation, task, rescue)
        return operation

    def history(self, vm: Vm, limit: int = 50) -> Future[Past | None]:
        """Return what the journal knows of a VM's freezes and thaws; None if it can't tell.

        Args:
            vm: the VM.
            limit: the newest so many.
        """
        return self._look(lambda: self.prepare().past(vm, limit))

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
        what = running.what if running is not None else None
        return self._look(
            lambda: self.prepare().ladder(vm, serial=serial, tried=tried, in_flight=what)
        )

    def active(self) -> tuple[Operation, ...]:
        """Return what is in flight, oldest first."""
        with self._lock:
            return (*self._active.values(), *self._beside.values())

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
        self._freezes.close()
        self._thaws.close()
        if self._works is not None:
            self._works.close()
        return not left

    def _enter(self, operation: Operation, *, beside: bool = False) -> Operation:
        """Let an operation begin, unless another one is in flight on its VM; return which is.

        Args:
            operation: it.
            beside: it goes round the agent, while something else is in flight there.
        """
        with self._lock:
            place = self._beside if beside else self._active
            return place.setdefault(operation.vm.id, operation)

    def _submit(
        self,
        crew: Crew,
        operation: Operation,
        task: Task,
        work: Callable[[], Ending],
    ) -> None:
        def run() -> None:
            try:
                outcome = self._with_descriptors(operation, task, work)
            except (Exception, FrostwatchError) as error:  # noqa: BLE001 - P8: one broken VM
                outcome = self.prepare().crashed(task, operation.what, operation.step, error)
            leave(task.reporter.ended(outcome))

        def leave(outcome: Ending) -> None:
            with self._lock:
                for place in (self._active, self._beside):
                    if place.get(operation.vm.id) is operation:
                        del place[operation.vm.id]
            operation.settle(outcome)

        def withdraw() -> None:
            if crew.withdraw(turn):
                leave(task.reporter.ended(self.prepare().withdrawn(task)))

        if operation.what == "freeze":
            self.prepare().queued(task, crew.most)
        try:
            turn = crew.submit(run)
            operation.queued_by(lambda: crew.place(turn), withdraw)
        except NO_THREAD as error:
            # What is known of the VM stays as it was: a freeze that was not thawed above all.
            leave(self.prepare().not_begun(task, operation.what, operation.step, error))

    def _with_descriptors(
        self, operation: Operation, task: Task, work: Callable[[], Ending]
    ) -> Ending:
        """Do the work, if it has descriptors enough; a freeze leaves some to the thaws."""
        counted = False
        try:
            if operation.what == "freeze":
                self._budget.take()
                counted = True
            try:
                operation.open()
            except OSError as error:
                return self.prepare().not_begun(task, operation.what, operation.step, error)
            return work()
        except TooFew as error:
            return self.prepare().not_begun(task, operation.what, operation.step, error)
        finally:
            if counted:
                self._budget.give_back()

    def _look(self, work: Callable[[], T]) -> Future[T]:
        """Look at something aside; an error is for whoever asks for the result."""
        try:
            return self._thaws.submit(work)
        except NO_THREAD as error:
            failed: Future[T] = Future()
            failed.set_exception(FrostwatchError(f"there is no thread for it: {error}"))
            return failed


def _waited(operation: Operation, deadline: float) -> bool:
    return operation.wait(max(0.0, deadline - time.monotonic())) is not None
