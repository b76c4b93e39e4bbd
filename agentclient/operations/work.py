"""What the worker threads of `agentclient.operations.manager` do: one call for each kind of work.

Apart from it, because all the machines, drivers and rungs behind these calls take longer to import
than anything else here: who only looks does without them (`Operations.prepare`).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Final

from agentclient.access.guest_link import Links
from agentclient.fleet.recovery import held_now
from agentclient.fleet.store import Fleet
from agentclient.freeze.effects import Tell
from agentclient.freeze.verdict import refused
from agentclient.holder.client import HolderClient
from agentclient.journal.entry import Entry, begin_freeze, begin_rescue, begin_thaw
from agentclient.journal.history import Past, past
from agentclient.journal.left import is_ours
from agentclient.journal.writer import Journal
from agentclient.model.errors import FrostwatchError
from agentclient.model.events import EventKind, OnEvent
from agentclient.model.next_command import thaw_command
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.rescue import Found, RescueOutcome, RescueTimes, Rung, Step
from agentclient.model.snapshot import HeldBy, Progress, VmState
from agentclient.model.states import Level, OutcomeKind, Phase, Refusal
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from agentclient.operations.control import Control
from agentclient.operations.descriptors import TooFew
from agentclient.operations.freeze import Freezer
from agentclient.operations.preflight import held_elsewhere
from agentclient.operations.reporter import FleetReporter
from agentclient.operations.rescue.agent_rungs import Rescuer, survey
from agentclient.operations.rescue.ladder import Offer
from agentclient.operations.thaw import Thawer

NOT_BEGUN: Final = "stopped while it waited for its turn: not begun, and nothing was sent"
MORE_THREADS: Final = (
    "raise the limit of threads (ulimit -u, systemd's TasksMax=), or do fewer at once"
)
MORE_DESCRIPTORS: Final = (
    "raise the limit of open files (ulimit -n, systemd's LimitNOFILE=), or do fewer at once"
)


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work on one VM, which somebody has just asked for.

    Attributes:
        reporter: is told what happens.
        control: what the operator asks meanwhile.
        entry: its window in the journal; None where none is kept.
    """

    vm: Vm
    reporter: FleetReporter
    control: Control
    entry: Entry | None

    def note(self, text: str) -> None:
        """Write a sentence into the VM's log and journal, among what happens."""
        self.reporter.tell(Tell(EventKind.NOTE, Level.INFO, text))


class Works:
    """Does one piece of work after the other, or many at once; each call blocks its thread.

    Args:
        fleet: where progress and outcomes are written.
        links: how VMs are reached.
        read_only: nothing may be sent to a guest.
        holder: stands by for the case that we die; None for one of our own.
        journal: where each of them is written down; None for nowhere.
    """

    def __init__(
        self,
        fleet: Fleet,
        links: Links,
        *,
        read_only: bool,
        holder: HolderClient | None,
        journal: Journal | None,
    ) -> None:
        self._fleet = fleet
        self._links = links
        self._read_only = read_only
        self._journal = journal
        self._holder = holder or HolderClient()

    def close(self) -> None:
        """Leave what is armed still to the holder."""
        self._holder.close()

    # -- what is asked for -----------------------------------------------------------------

    def freeze_task(
        self, vm: Vm, control: Control, request: FreezeRequest, on_event: OnEvent | None
    ) -> Task:
        """Write down that a freeze was asked for."""
        return self._task(vm, control, begin_freeze(self._journal, vm, request), on_event)

    def thaw_task(
        self, vm: Vm, control: Control, on_event: OnEvent | None, *, foreign: bool
    ) -> Task:
        """Write down that a thaw was asked for."""
        entry = begin_thaw(self._journal, vm, foreign=foreign)
        return self._task(vm, control, entry, on_event)

    def rescue_task(
        self,
        vm: Vm,
        control: Control,
        step: Step,
        on_event: OnEvent | None,
        *,
        person: bool,
        beside: bool,
    ) -> Task:
        """Write down that a rung of a rescue was asked for.

        Args:
            vm: the VM.
            control: what the operator asks meanwhile.
            step: the rung.
            on_event: is called with each event.
            person: a person has decided it.
            beside: something else is in flight on the VM: what it shows is left as it is.
        """
        entry = begin_rescue(self._journal, vm, step, person=person)
        reporter = FleetReporter(self._fleet, vm, on_event, entry, beside=beside)
        return Task(vm, reporter, control, entry)

    def _task(
        self, vm: Vm, control: Control, entry: Entry | None, on_event: OnEvent | None
    ) -> Task:
        return Task(vm, FleetReporter(self._fleet, vm, on_event, entry), control, entry)

    # -- what waits ------------------------------------------------------------------------

    def queued(self, task: Task, most: int) -> None:
        """Show that a freeze waits for its turn; mostly that is over at once."""
        waits = f"its turn: {most} at once"
        task.reporter.progress(Progress("freeze", Phase.QUEUED, waits, time.monotonic()))

    def withdrawn(self, task: Task) -> Outcome:
        """Tell that a freeze was taken out of the queue before it had begun."""
        outcome = refused(Refusal.CANCELLED, NOT_BEGUN)
        for kind in (EventKind.VERDICT, EventKind.OUTCOME):
            task.reporter.tell(Tell(kind, Level.WARNING, outcome.reason, {"outcome": outcome}))
        return outcome

    # -- what is done ----------------------------------------------------------------------

    def freeze(self, task: Task, request: FreezeRequest) -> Outcome:
        """Freeze, watch, hold and thaw."""
        held = self._held_by(task.vm)
        if held is not None:
            return self._refused(task, held_elsewhere(held, task.vm))
        return Freezer(
            self._links.of(task.vm),
            request,
            task.reporter,
            task.control,
            self._holder,
            read_only=self._read_only,
            entry=task.entry,
        ).run()

    def thaw(self, task: Task, *, foreign: bool) -> ThawOutcome:
        """Thaw."""
        held = self._held_by(task.vm)
        thawer = Thawer(
            self._links.of(task.vm),
            task.reporter,
            task.control,
            foreign=foreign,
            ours=self._is_ours(task.vm),
            read_only=self._read_only,
        )
        if held is not None and not held.is_waited_for(os.getpid()):
            return thawer.held_elsewhere(held)
        return thawer.run()

    def rescue(
        self,
        task: Task,
        step: Step,
        *,
        person: bool,
        times: RescueTimes | None,
        beside: str | None = None,
    ) -> RescueOutcome:
        """Take one rung of the ladder.

        Args:
            task: what was asked for.
            step: the rung.
            person: a person has decided it.
            times: the bounds.
            beside: what else is in flight on this VM, and goes on.
        """
        return Rescuer(
            self._links.of(task.vm),
            step,
            self._state(task.vm),
            task.reporter,
            task.control,
            person=person,
            ours=self._is_ours(task.vm),
            times=times,
            read_only=self._read_only,
            beside=beside,
        ).run()

    def ladder(
        self, vm: Vm, *, serial: str | None, tried: frozenset[Rung], in_flight: str | None
    ) -> tuple[Offer, ...]:
        """Look at a VM's monitor, and return the rungs of its ladder."""
        return survey(
            self._links.of(vm),
            self._state(vm),
            serial=serial,
            tried=tried,
            read_only=self._read_only,
            in_flight=in_flight,
        )

    def past(self, vm: Vm, limit: int) -> Past | None:
        """Return what the journal knows of a VM; None where none is kept.

        Raises:
            FrostwatchError: it can't be read.
        """
        found = past(self._journal, vm, limit)
        if found is None and self._journal is not None:
            raise FrostwatchError(self._journal.problem or "it does not answer")
        return found

    def _state(self, vm: Vm) -> VmState:
        try:
            return self._fleet.get(vm.id)
        except KeyError:
            return VmState(vm)

    def _held_by(self, vm: Vm) -> HeldBy | None:
        """Return which other frostwatch is at work on a VM, as of now; None if none is."""
        held = self._state(vm).held_by
        if held is None or held.window is None or self._journal is None:
            return held
        return held_now(self._journal, vm)

    def _is_ours(self, vm: Vm) -> bool:
        """Whether what may be frozen there is what we, or a dead frostwatch, could not thaw."""
        return self._state(vm).left_frozen or is_ours(self._journal, vm)

    # -- what is not done ------------------------------------------------------------------

    def refuse_freeze(self, task: Task, running: str) -> Outcome:
        """Tell that a freeze is not sent, since something else is in flight on its VM."""
        reason = f"a {running} of this VM is in flight already"
        return self._refused(task, refused(Refusal.BUSY, reason))

    def _refused(self, task: Task, outcome: Outcome) -> Outcome:
        """Tell that a freeze is not sent."""
        text = f"refused: {outcome.refusal}: {outcome.reason}"
        for kind in (EventKind.VERDICT, EventKind.OUTCOME):
            task.reporter.tell(Tell(kind, Level.WARNING, text, {"outcome": outcome}))
        return task.reporter.with_meaning(outcome)

    def refuse_rescue(self, task: Task, step: Step, running: str) -> RescueOutcome:
        """Tell that a rung is not taken, since something else is in flight on its VM."""
        reason = f"not taken: a {running} of this VM is in flight; stop it first"
        return _ended_rescue(task, step, Found.REFUSED, reason, None)

    def not_begun(
        self, task: Task, what: str, step: Step | None, error: Exception
    ) -> Outcome | ThawOutcome | RescueOutcome:
        """Tell that nothing was done, for want of a thread or descriptors; what stands, stands."""
        more = MORE_DESCRIPTORS if isinstance(error, OSError | TooFew) else MORE_THREADS
        reason = f"not begun: {printable(str(error), 200)}; nothing was sent"
        if step is not None:
            return _ended_rescue(task, step, Found.FAILED, reason, more)
        if what != "freeze":
            command = thaw_command(task.vm, foreign=False)
            return _failed_thaw(task, reason, f"{more}; then {command}")
        outcome = refused(Refusal.NOT_BEGUN, reason, more)
        return _failed_freeze(task, outcome, EventKind.VERDICT, EventKind.OUTCOME)

    def crashed(
        self, task: Task, what: str, step: Step | None, error: Exception
    ) -> Outcome | ThawOutcome | RescueOutcome:
        """A bug of ours ended the work: the guest may be frozen, and somebody must know."""
        command = thaw_command(task.vm, foreign=False)
        reason = f"frostwatch failed in the middle of it: {printable(repr(error), 300)}"
        if step is not None:
            return _ended_rescue(task, step, Found.FAILED, reason, command)
        if what != "freeze":
            return _failed_thaw(task, reason, command)
        outcome = Outcome(OutcomeKind.FAILED, reason, next=command)
        return _failed_freeze(task, outcome, EventKind.OUTCOME)


def _failed_freeze(task: Task, outcome: Outcome, *kinds: EventKind) -> Outcome:
    """Tell that a freeze has failed, and what is to be done now, as events of these kinds."""
    for kind in kinds:
        task.reporter.tell(Tell(kind, Level.ERROR, outcome.reason, {"outcome": outcome}))
    return task.reporter.with_meaning(outcome)


def _failed_thaw(task: Task, reason: str, step: str) -> ThawOutcome:
    """Tell that a thaw was not done, and what is to be done now."""
    outcome = ThawOutcome(task.vm.id, None, None, False, reason, 0.0, step)
    task.reporter.tell(Tell(EventKind.OUTCOME, Level.ERROR, reason, {"thaw": outcome}))
    return task.reporter.with_meaning(outcome)


def _ended_rescue(
    task: Task, step: Step, found: Found, reason: str, command: str | None
) -> RescueOutcome:
    """Tell the end of a rung that was not taken, or that a bug of ours ended."""
    outcome = RescueOutcome(
        task.vm.id, step.rung, step.means, found, None, None, reason, 0.0, command
    )
    text = f"{step.rung}: {reason}"
    task.reporter.tell(Tell(EventKind.OUTCOME, Level.WARNING, text, {"rescue": outcome}))
    return task.reporter.with_meaning(outcome)
