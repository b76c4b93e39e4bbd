"""The base class of all operations: one freeze, thaw or rung of a rescue on one VM."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import ClassVar, Final

from agentclient.freeze.effects import ReportEvent
from agentclient.model.errors import why_no_thread
from agentclient.model.events import EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.next_command import thaw_command
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.rescue import RescueOutcome
from agentclient.model.states import Level, OperationKind
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from agentclient.operations.context import OperationContext
from agentclient.operations.descriptors import TooFewDescriptors
from agentclient.operations.queued_work import QueuedWork
from agentclient.operations.reporter_interface import EndingT

WITHDRAWN: Final = "stopped while it waited for its turn: not begun, and nothing was sent"
MORE_THREADS: Final = (
    "raise the limit of threads (ulimit -u, systemd's TasksMax=), or do fewer at once"
)
MORE_DESCRIPTORS: Final = (
    "raise the limit of open files (ulimit -n, systemd's LimitNOFILE=), or do fewer at once"
)


class Operation(QueuedWork[EndingT], ABC):
    """One freeze or thaw of one VM, or one rung of its rescue; thread-safe.

    The methods up to `give_up` are for the caller who began it. The others are for
    `agentclient.operations.manager` and for its worker thread.

    Args:
        context: its collaborators.

    Attributes:
        kind: freeze, thaw or rescue.
        began_at: when it was requested, later when it began (seconds of the monotonic clock).
    """

    kind: ClassVar[OperationKind]

    def __init__(self, context: OperationContext) -> None:
        super().__init__()
        self.context = context
        self.began_at = time.monotonic()

    # -- for the caller --------------------------------------------------------------

    @property
    def vm(self) -> Vm:
        """The VM as it was when the operation was asked for."""
        return self.context.vm

    def note(self, text: str) -> None:
        """Write a sentence into the VM's log and journal, among the events."""
        self.context.reporter.event(ReportEvent(EventKind.NOTE, Level.INFO, text))

    def cancel(self) -> None:
        """Stop waiting, and thaw as soon as the agent answers; doing it again changes nothing.

        An operation that waits for its turn never begins.
        """
        self.context.control.add(Instruction.CANCEL)
        self._withdraw()

    def end_hold(self) -> None:
        """End the hold: thaw now."""
        self.context.control.add(Instruction.END_HOLD)

    def extend_hold(self, seconds: float) -> None:
        """Prolong the hold by so many seconds, up to the maximum."""
        self.context.control.extend(seconds)

    def keep(self) -> None:
        """Leave the window to its holder, which holds it to its end, and thaws it then.

        The outcome says so. Only a verified window is left so; else nothing changes.
        """
        self.context.control.add(Instruction.KEEP)

    def fail_together(self, why: str) -> None:
        """Note that its group was not frozen together: its outcome is not certified."""
        self.context.control.group_error = why

    def give_up(self) -> None:
        """End within a second, and report what remains to be done as an error."""
        self.context.control.add(Instruction.GIVE_UP)
        self._withdraw()

    # -- for the manager, and the worker thread -------------------------------------------------

    @property
    def bypasses_agent(self) -> bool:
        """Whether it needs no agent, so that it can run while another operation hangs on it."""
        return False

    def run(self) -> EndingT:
        """Run it, and return its outcome; blocking. Raises none of this project's errors."""
        self.began_at = time.monotonic()
        self._announce()
        why_not = self.context.why_read_only
        return self._run() if why_not is None else self._read_only(why_not)

    def waits_for_its_turn(self, most: int) -> None:
        """Show that it waits for its turn; `most` run at once."""

    def waits_no_more(self) -> None:
        """Show that it does not wait for its turn any more, and was not begun."""

    def open(self) -> None:
        """Open the descriptors that wake its worker thread.

        Raises:
            OSError: the process has no descriptor left.
        """
        self.context.control.open()

    def settle(self, outcome: EndingT) -> None:
        """Set the outcome."""
        self._result.set_result(outcome)
        self.context.control.close()

    def end(self, outcome: EndingT) -> EndingT:
        """Show that it is not in flight any more; return the outcome with its meaning."""
        return self.context.reporter.ended(outcome)

    @abstractmethod
    def busy(self, running: OperationKind) -> EndingT:
        """Report that it is not done, since another operation is in flight on its VM."""

    @abstractmethod
    def withdrawn(self) -> EndingT:
        """Report that it was taken out of the queue before it began."""

    def not_begun(self, error: Exception) -> EndingT:
        """Report that nothing was done, for want of a thread or descriptors."""
        more = MORE_DESCRIPTORS if isinstance(error, OSError | TooFewDescriptors) else MORE_THREADS
        return self._not_begun(
            f"not begun: {printable(why_no_thread(error), 200)}; nothing was sent", more
        )

    def crashed(self, error: Exception) -> EndingT:
        """Report that a bug of ours ended it, so that the guest may still be frozen."""
        reason = f"frostwatch failed in the middle of it: {printable(repr(error), 300)}"
        return self._crashed(reason, thaw_command(self.vm, foreign=False))

    @abstractmethod
    def _announce(self) -> None:
        """Report what is about to be done."""

    @abstractmethod
    def _read_only(self, why: str) -> EndingT:
        """Report that it is not done, since nothing may be sent, and why."""

    @abstractmethod
    def _run(self) -> EndingT:
        """Do the operation's work, and return its outcome."""

    @abstractmethod
    def _not_begun(self, reason: str, step: str) -> EndingT:
        """Report that nothing was done."""

    @abstractmethod
    def _crashed(self, reason: str, step: str) -> EndingT:
        """Report that it ended in the middle."""


AnyOperation = Operation[Outcome] | Operation[ThawOutcome] | Operation[RescueOutcome]
