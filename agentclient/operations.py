"""Freezes and thaws in worker threads, each bound to its VM, told to the fleet as they go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from typing import Final, Literal

from agentclient.commands import thaw_command
from agentclient.errors import FrostwatchError
from agentclient.events import Event, EventKind
from agentclient.fleet import Fleet
from agentclient.freezer import Freezer, FreezeRequest
from agentclient.holder.client import HolderClient
from agentclient.links import Links
from agentclient.moves import Tell
from agentclient.text import printable
from agentclient.thawer import Thawer, ThawOutcome
from agentclient.verdict import refused
from agentclient.vm import (
    AgentHealth,
    AgentHow,
    AgentState,
    FileSystem,
    FreezeInfo,
    FreezeState,
    Level,
    Outcome,
    OutcomeKind,
    Progress,
    Refusal,
    RunState,
    Vm,
    VmId,
    VmState,
)
from agentclient.wishes import Wish, Wishes

DEFAULT_FREEZES_AT_ONCE: Final = 64
# Threads are made as they are needed: no thaw ever waits behind another one that hangs.
DEFAULT_THAWS_AT_ONCE: Final = 1024

OnEvent = Callable[[Event], None]
What = Literal["freeze", "thaw"]

__all__ = ["FreezeRequest", "Operation", "Operations", "ThawOutcome"]


class Operation:
    """One freeze or thaw of one VM; thread-safe.

    Attributes:
        vm: the VM as it was when the operation was asked for.
        what: ``"freeze"`` or ``"thaw"``.
    """

    def __init__(self, vm: Vm, what: What, wishes: Wishes) -> None:
        self.vm = vm
        self.what: What = what
        self._wishes = wishes
        self._result: Future[Outcome | ThawOutcome] = Future()

    def cancel(self) -> None:
        """Stop waiting, and thaw as soon as the agent answers; doing it again changes nothing."""
        self._wishes.add(Wish.CANCEL)

    def end_hold(self) -> None:
        """The window has served its purpose: thaw now."""
        self._wishes.add(Wish.END_HOLD)

    def give_up(self) -> None:
        """Leave within a second, and say loudly what is left to do."""
        self._wishes.add(Wish.GIVE_UP)

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._result.done()

    def wait(self, timeout_s: float | None = None) -> Outcome | ThawOutcome | None:
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

    def settle(self, outcome: Outcome | ThawOutcome) -> None:
        """Set the outcome; for the worker alone."""
        self._result.set_result(outcome)
        self._wishes.close()


class FleetReporter:
    """Writes what an operation tells to the fleet, the VM's log and whoever else listens."""

    def __init__(self, fleet: Fleet, vm: Vm, on_event: OnEvent | None) -> None:
        self._fleet = fleet
        self._vm = vm
        self._on_event = on_event

    def tell(self, tell: Tell) -> None:
        """Log an event, and pass it on."""
        text = printable(tell.text, 1000)
        self._fleet.log(self._vm.id, tell.level, text)
        if self._on_event is None:
            return
        event = Event(self._vm.id, self._fleet.wall(), tell.kind, tell.level, text, tell.fields)
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - a listener must not end a freeze (P4, P8)
            self._fleet.log(self._vm.id, Level.ERROR, f"a listener failed: {error!r}")

    def progress(self, progress: Progress) -> None:
        """Show how far it has got."""
        self._update(lambda state: replace(state, progress=progress))

    def file_systems(self, found: tuple[FileSystem, ...]) -> None:
        """Keep what the guest listed."""
        at = self._fleet.wall()
        self._update(lambda state: replace(state, file_systems=found, file_systems_at=at))

    def agent(self, health: AgentHealth) -> None:
        """Show the agent's health."""
        seen = replace(health, seen_at=self._fleet.wall())
        self._update(lambda state: replace(state, agent=seen))

    def frozen(self, state: FreezeState | None, *, foreign: bool) -> None:
        """Show the state of the file systems, since now if it is another."""
        at = self._fleet.wall()

        def change(old: VmState) -> VmState:
            same = (old.freeze.state, old.freeze.foreign) == (state, foreign)
            since = old.freeze.since if same else at
            return old.with_freeze(FreezeInfo(state, since, foreign))

        self._update(change)

    def run_state(self, state: RunState) -> None:
        """Show the run state."""
        self._update(lambda old: replace(old, run_state=state))

    def port(self, *, is_open: bool) -> None:
        """Show the port where it tells more than what was known."""
        at = self._fleet.wall()

        def change(old: VmState) -> VmState:
            closed = old.agent.state is AgentState.CLOSED
            if is_open is not closed:
                return old
            word = AgentState.OPEN if is_open else AgentState.CLOSED
            agent = replace(
                old.agent, state=word, how=AgentHow.PORT, rtt_s=None, detail=None, seen_at=at
            )
            return replace(old, agent=agent)

        self._update(change)

    def ended(self, outcome: Outcome | ThawOutcome) -> None:
        """Show that nothing is in flight any more."""
        last = outcome if isinstance(outcome, Outcome) else None
        self._update(lambda old: replace(old, progress=None, last=last or old.last))

    def _update(self, change: Callable[[VmState], VmState]) -> None:
        self._fleet.update(self._vm.id, change)


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
    ) -> None:
        self._fleet = fleet
        self._links = links
        self._read_only = read_only
        self._holder = holder or HolderClient()
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
        reporter = FleetReporter(self._fleet, vm, on_event)
        with self._lock:
            running = self._active.get(vm.id)
            if running is None:
                self._active[vm.id] = operation
        if running is not None:
            outcome = refused(Refusal.BUSY, f"a {running.what} of this VM is in flight already")
            self._refuse(operation, reporter, outcome)
            return operation

        def work() -> Outcome:
            link = self._links.of(vm)
            freezer = Freezer(
                link, request, reporter, wishes, self._holder, read_only=self._read_only
            )
            return freezer.run()

        self._submit(self._freezes, operation, reporter, work)
        return operation

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
        reporter = FleetReporter(self._fleet, vm, on_event)
        ours = self._is_ours(vm)

        def work() -> ThawOutcome:
            link = self._links.of(vm)
            return Thawer(
                link, reporter, wishes, foreign=foreign, ours=ours, read_only=self._read_only
            ).run()

        self._submit(self._thaws, operation, reporter, work)
        return operation

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
        """Whether what may be frozen there is what this process froze and could not thaw."""
        try:
            return self._fleet.get(vm.id).left_frozen
        except KeyError:
            return False

    def _submit(
        self,
        executor: ThreadPoolExecutor,
        operation: Operation,
        reporter: FleetReporter,
        work: Callable[[], Outcome | ThawOutcome],
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

    def _end(
        self, operation: Operation, reporter: FleetReporter, outcome: Outcome | ThawOutcome
    ) -> None:
        reporter.ended(outcome)
        with self._lock:
            if self._active.get(operation.vm.id) is operation:
                del self._active[operation.vm.id]
        operation.settle(outcome)

    def _crashed(
        self, operation: Operation, reporter: FleetReporter, error: Exception
    ) -> Outcome | ThawOutcome:
        """A bug of ours ended the operation: the guest may be frozen, and somebody must know."""
        step = thaw_command(operation.vm)
        reason = f"frostwatch failed in the middle of it: {printable(repr(error), 300)}"
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


def _waited(operation: Operation, deadline: float) -> bool:
    return operation.wait(max(0.0, deadline - time.monotonic())) is not None
