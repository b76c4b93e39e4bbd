"""Passes a job's events to the fleet, the VM's log, and a listener."""

from __future__ import annotations

from collections.abc import Iterable

from agentclient.fleet.store import Fleet
from agentclient.model.events import (
    Details,
    Event,
    EventKind,
    JobEnded,
    JobProgressed,
    OnEvent,
    StageBegan,
)
from agentclient.model.job import (
    JobOutcome,
    JobProgress,
    JobResult,
    JobStage,
    LeftOut,
    UnendedCopy,
    WhyLeftOut,
)
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from agentclient.model.text import printable
from agentclient.model.vm import Vm

LONGEST = 1000


class JobReporter:
    """Reports what a job does on one VM.

    Args:
        fleet: what is known about all VMs.
        vm: the VM.
        on_event: is called with each event; None for nobody.
    """

    def __init__(self, fleet: Fleet, vm: Vm, on_event: OnEvent | None) -> None:
        self._fleet = fleet
        self._vm = vm
        self._on_event = on_event

    def stage(self, stage: JobStage, text: str) -> None:
        """Report that the job has come to a stage.

        Args:
            stage: the stage.
            text: one sentence about it.
        """
        self._fleet.update(self._vm.id, lambda state: _at_stage(state, stage, text))
        self.tell(EventKind.STAGE, Level.INFO, text, StageBegan(stage))

    def note(self, level: Level, text: str) -> None:
        """Report anything else of meaning."""
        self.tell(EventKind.NOTE, level, text)

    def left_out(self, disks: Iterable[LeftOut]) -> None:
        """Report which disks a copy of all lacks."""
        for disk, why in disks:
            name = printable(disk, 60)
            if why is WhyLeftOut.REMOVABLE:
                text = f"the medium in {name} is left out, though the guest can write to it"
                self.note(Level.WARNING, f"{text}: it is copied if --disk names it")
            elif why is WhyLeftOut.READ_ONLY:
                self.note(Level.INFO, f"the disk {name} is left out: the guest can't write to it")

    def progress(self, progress: JobProgress, *, listeners: bool = True) -> None:
        """Show how far the job is.

        Args:
            progress: how far it is.
            listeners: pass it to the listener as an event as well; it is never in the log.
        """
        self._fleet.update(self._vm.id, lambda state: state._replace(job=progress))
        if listeners:
            self._listen(EventKind.PROGRESS, Level.DEBUG, progress.text, JobProgressed(progress))

    def ended(self, outcome: JobOutcome) -> None:
        """Report how the job ended."""

        def change(state: VmState) -> VmState:
            return state._replace(job=None, last_job=outcome, job_is_newest=True)

        self._fleet.update(self._vm.id, change)
        level = Level.GOOD if outcome.ok else Level.ERROR
        if outcome.result in (JobResult.CANCELLED, JobResult.REFUSED):
            level = Level.WARNING
        text = outcome.reason if outcome.next is None else f"{outcome.reason}. NEXT: {outcome.next}"
        self.tell(EventKind.JOB, level, text, JobEnded(outcome))

    def goes_on(self, copy: UnendedCopy) -> None:
        """Show that QEMU goes on with a copy that should have ended."""
        self._fleet.update(self._vm.id, lambda state: state._replace(unended=copy))

    def ended_late(self, before: JobOutcome, after: JobOutcome) -> None:
        """Report that a copy has ended with which QEMU went on.

        Args:
            before: what was known of it until now.
            after: how it ended after all.
        """

        def change(state: VmState) -> VmState:
            last = after if state.last_job == before else state.last_job
            return state._replace(unended=None, last_job=last)

        self._fleet.update(self._vm.id, change)
        left = f"; LEFT BEHIND: {'; '.join(after.left)}" if after.left else ""
        self.note(Level.ERROR if left else Level.GOOD, f"{after.reason}{left}")

    def tell(
        self, kind: EventKind, level: Level, text: str, details: Details | None = None
    ) -> None:
        """Write an event into the VM's log, and pass it to the listener."""
        text = printable(text, LONGEST)
        self._fleet.log(self._vm.id, level, text)
        self._listen(kind, level, text, details)

    def _listen(self, kind: EventKind, level: Level, text: str, details: Details | None) -> None:
        if self._on_event is None:
            return
        event = Event(
            self._vm.id, self._fleet.wall(), kind, level, printable(text, LONGEST), details
        )
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - a listener must not end a job (P8)
            self._fleet.log(self._vm.id, Level.ERROR, f"a listener failed: {error!r}")


def _at_stage(state: VmState, stage: JobStage, text: str) -> VmState:
    if state.job is None:
        return state
    return state._replace(job=state.job._replace(stage=stage, text=text))
