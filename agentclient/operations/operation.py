"""One operation on one VM: what all kinds have in common, seen by who asked and by its worker."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import ClassVar, Final, Generic

from agentclient.freeze.effects import Tell
from agentclient.model.events import EventKind
from agentclient.model.next_command import thaw_command
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import Instruction
from agentclient.model.rescue import RescueOutcome
from agentclient.model.states import Level, OperationKind
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from agentclient.operations.context import OperationContext
from agentclient.operations.descriptors import TooFewDescriptors
from agentclient.operations.reporting import EndingT

WITHDRAWN: Final = "stopped while it waited for its turn: not begun, and nothing was sent"
MORE_THREADS: Final = (
    "raise the limit of threads (ulimit -u, systemd's TasksMax=), or do fewer at once"
)
MORE_DESCRIPTORS: Final = (
    "raise the limit of open files (ulimit -n, systemd's LimitNOFILE=), or do fewer at once"
)


class Operation(ABC, Generic[EndingT]):
    """One freeze or thaw of one VM, or one rung of its rescue; thread-safe.

    Who asked for it has the methods up to `wait`. The others are for
    `agentclient.operations.manager`, which begins it, and for its worker thread.

    Args:
        context: what it works with.

    Attributes:
        kind: what it does.
        began_at: when it was asked for, then when it began (seconds of the monotonic clock).
    """

    kind: ClassVar[OperationKind]

    def __init__(self, context: OperationContext) -> None:
        self.context = context
        self.began_at = time.monotonic()
        self._result: Future[EndingT] = Future()
        self._place: Callable[[], int] = lambda: 0
        self._withdraw: Callable[[], object] = lambda: None

    # -- for who asked for it --------------------------------------------------------------

    @property
    def vm(self) -> Vm:
        """The VM as it was when the operation was asked for."""
        return self.context.vm

    @property
    def place(self) -> int:
        """Which one it is of those that wait for their turn; 0 once it has begun."""
        return 0 if self.done else self._place()

    def note(self, text: str) -> None:
        """Write a sentence into the VM's log and journal, among what happens."""
        self.context.reporter.tell(Tell(EventKind.NOTE, Level.INFO, text))

    def cancel(self) -> None:
        """Stop waiting, and thaw as soon as the agent answers; doing it again changes nothing.

        What waits for its turn is never begun.
        """
        self.context.control.add(Instruction.CANCEL)
        self._withdraw()

    def end_hold(self) -> None:
        """The window has served its purpose: thaw now."""
        self.context.control.add(Instruction.END_HOLD)

    def extend_hold(self, seconds: float) -> None:
        """Hold the window for so many seconds more, up to the maximum."""
        self.context.control.extend(seconds)

    def fail_together(self, why: str) -> None:
        """Its group was not frozen together: whatever becomes of it, it is not certified."""
        self.context.control.apart = why

    def give_up(self) -> None:
        """Leave within a second, and say loudly what is left to do."""
        self.context.control.add(Instruction.GIVE_UP)
        self._withdraw()

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._result.done()

    def wait(self, timeout_s: float | None = None) -> EndingT | None:
        """Return the outcome.

        Args:
            timeout_s: how long to wait, in seconds; None until it is done.

        Returns:
            None if it is still running.
        """
        try:
            return self._result.result(timeout_s)
        except FutureTimeout:
            return None

    # -- for who begins it, and its worker -------------------------------------------------

    @property
    def passes_the_agent(self) -> bool:
        """Whether it needs no agent, and can be done while another operation hangs there."""
        return False

    def run(self) -> EndingT:
        """Do it, and return what came of it; blocking. Raises nothing of this project's."""
        self.began_at = time.monotonic()
        self._announce()
        why_not = self.context.why_read_only
        return self._run() if why_not is None else self._read_only(why_not)

    def queued_by(self, place: Callable[[], int], withdraw: Callable[[], object]) -> None:
        """Say who knows its place, and takes it out of the queue."""
        self._place, self._withdraw = place, withdraw

    def waits_for_its_turn(self, most: int) -> None:
        """Show that it waits for its turn: so many run at once."""

    def waits_no_more(self) -> None:
        """Show that it does not wait for its turn any more, and was not begun."""

    def open(self) -> None:
        """Open what wakes its worker.

        Raises:
            OSError: the process has no descriptor left for it.
        """
        self.context.control.open()

    def settle(self, outcome: EndingT) -> None:
        """Set the outcome."""
        self._result.set_result(outcome)
        self.context.control.close()

    def end(self, outcome: EndingT) -> EndingT:
        """Show that it is in flight no more; return the outcome with its meaning."""
        return self.context.reporter.ended(outcome)

    @abstractmethod
    def busy(self, running: OperationKind) -> EndingT:
        """Tell that it is not done, since another operation is in flight on its VM."""

    @abstractmethod
    def withdrawn(self) -> EndingT:
        """Tell that it was taken out of the queue before it had begun."""

    def not_begun(self, error: Exception) -> EndingT:
        """Tell that nothing was done, for want of a thread or descriptors; what stands, stands."""
        more = MORE_DESCRIPTORS if isinstance(error, OSError | TooFewDescriptors) else MORE_THREADS
        return self._not_begun(f"not begun: {printable(str(error), 200)}; nothing was sent", more)

    def crashed(self, error: Exception) -> EndingT:
        """Tell that a bug of ours ended it: the guest may be frozen, and somebody must know."""
        reason = f"frostwatch failed in the middle of it: {printable(repr(error), 300)}"
        return self._crashed(reason, thaw_command(self.vm, foreign=False))

    @abstractmethod
    def _announce(self) -> None:
        """Tell what is about to be done."""

    @abstractmethod
    def _read_only(self, why: str) -> EndingT:
        """Tell that it is not done, since nothing may be sent, and why that is so."""

    @abstractmethod
    def _run(self) -> EndingT:
        """Do it."""

    @abstractmethod
    def _not_begun(self, reason: str, step: str) -> EndingT:
        """Tell that nothing was done."""

    @abstractmethod
    def _crashed(self, reason: str, step: str) -> EndingT:
        """Tell that it ended in the middle."""


AnyOperation = Operation[Outcome] | Operation[ThawOutcome] | Operation[RescueOutcome]
