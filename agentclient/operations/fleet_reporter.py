"""Passes an operation's events to the fleet, the VM's log, the journal, and a listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from agentclient.fleet.store import Fleet
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.freeze_texts import revised
from agentclient.journal.entry import Entry
from agentclient.model.events import Ended, Event, EventKind, OnEvent
from agentclient.model.meaning import (
    rescue_with_meaning,
    thaw_with_meaning,
    with_freeze,
    with_meaning,
)
from agentclient.model.outcome import FileSystem, Outcome, ThawOutcome
from agentclient.model.rescue import RescueOutcome
from agentclient.model.snapshot import AgentHealth, FreezeInfo, Progress, VmState
from agentclient.model.states import AgentState, FreezeState, KnownBy, Level, RunState
from agentclient.model.text import printable
from agentclient.model.timeline import Sample, Timeline
from agentclient.model.vm import Vm
from agentclient.operations.reporter_interface import EndingT
from agentclient.operations.timeline_recorder import TimelineRecorder

_VERDICTS: Final = frozenset({EventKind.VERDICT, EventKind.REVISED})


class FleetReporter:
    """Passes an operation's events to the fleet, the journal and a listener (see `Reporter`).

    Args:
        fleet: what is known about all VMs.
        vm: the VM.
        on_event: is called with each event.
        entry: the operation's window in the journal; None without a journal.
        beside: another operation is in flight on the VM, whose progress and state stay shown.
        again: the command that asks for the same once more; None for a freeze's.
        recorder: records when each thing of a freeze happens; None for what is no freeze.
    """

    def __init__(
        self,
        fleet: Fleet,
        vm: Vm,
        on_event: OnEvent | None,
        entry: Entry | None = None,
        *,
        beside: bool = False,
        again: str | None = None,
        recorder: TimelineRecorder | None = None,
    ) -> None:
        self._fleet = fleet
        self._vm = vm
        self._on_event = on_event
        self._entry = entry
        self._logged = ""
        self._beside = beside
        self._again = again
        self._recorder = recorder
        self._kept_writes: tuple[Sample, ...] = ()

    def event(self, report: ReportEvent) -> None:
        """Log an event, and pass it to the journal and the listener."""
        # All that there are now: to record one that can't be recorded would bring the next.
        for notice in [] if self._entry is None else list(iter(self._entry.notice, None)):
            self._pass_on(ReportEvent(EventKind.NOTE, Level.WARNING, notice))
        self._pass_on(report)

    def with_meaning(self, outcome: EndingT, *, final: bool = True) -> EndingT:
        """Return an outcome with what it means, and the next step.

        Args:
            outcome: of a freeze, a thaw or a rung.
            final: False for a verdict, whose thaw is still to come.
        """
        provable = self._entry is not None and self._entry.kept
        ending: Outcome | ThawOutcome | RescueOutcome = outcome
        if isinstance(ending, Outcome):
            ending = with_meaning(
                ending, self._vm, final=final, provable=provable, again=self._again
            )
        elif isinstance(ending, ThawOutcome):
            ending = thaw_with_meaning(ending, self._vm, provable=provable)
        else:
            ending = rescue_with_meaning(ending)
        return cast(EndingT, ending)

    def _meant(self, report: ReportEvent) -> ReportEvent:
        """Return an event with the meaning of its outcome, and the next step if there is one."""
        if isinstance(report.details, Ended):
            ending = self.with_meaning(report.details.outcome, final=report.kind not in _VERDICTS)
            return report._replace(text=_with_step(report.text, ending), details=Ended(ending))
        return report

    def _pass_on(self, report: ReportEvent) -> None:
        report = self._meant(report)
        if self._recorder is not None:
            self._recorder.on_event(report)
        text = printable(report.text, 1000)
        if text != self._logged:  # a verdict that is the outcome as well, a status asked again
            self._fleet.log(self._vm.id, report.level, text)
            self._logged = text
        event = Event(
            self._vm.id, self._fleet.wall(), report.kind, report.level, text, report.details
        )
        if self._entry is not None:
            if report.kind is EventKind.OUTCOME:  # a window that is over has all of its figures
                self._keep_writes()
            self._entry.event(event)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - a listener must not end a freeze (P4, P8)
            self._fleet.log(self._vm.id, Level.ERROR, f"a listener failed: {error!r}")

    def progress(self, progress: Progress | None) -> None:
        """Show the operation's progress; log it when it takes longer than usual."""
        if self._beside:
            return
        timeline = self._timeline(progress)
        self._update(
            lambda state: state._replace(progress=progress, timeline=timeline or state.timeline)
        )
        if self._entry is None or progress is None:
            return
        late = self._entry.late(progress)
        if late is not None:
            self.event(late)

    def _timeline(self, progress: Progress | None) -> Timeline | None:
        """Return what is known of the freeze's times by now; None of what is no freeze."""
        if self._recorder is None:
            return None
        if progress is not None:
            self._recorder.on_progress(progress, self._entry.usual if self._entry else None)
        return self._recorder.timeline

    def file_systems(self, found: tuple[FileSystem, ...]) -> None:
        """Store the file systems that the guest listed."""
        at = self._fleet.wall()
        self._update(lambda state: state._replace(file_systems=found, file_systems_at=at))

    def agent(self, health: AgentHealth) -> None:
        """Show the agent's health."""
        seen = health._replace(seen_at=self._fleet.wall())
        self._update(lambda state: state._replace(agent=seen))

    def frozen(self, state: FreezeState | None, *, foreign: bool) -> None:
        """Show the state of the file systems; if it has changed, it counts from now."""
        if self._beside:
            return
        at = self._fleet.wall()

        def change(old: VmState) -> VmState:
            same = (old.freeze.state, old.freeze.foreign) == (state, foreign)
            since = old.freeze.since if same else at
            return with_freeze(old, FreezeInfo(state, since, foreign))

        self._update(change)

    def run_state(self, state: RunState) -> None:
        """Show the run state."""
        self._update(lambda old: old._replace(run_state=state))

    def port(self, *, is_open: bool) -> None:
        """Show the port's state where it adds to what is known of the agent."""
        at = self._fleet.wall()

        def change(old: VmState) -> VmState:
            closed = old.agent.state is AgentState.CLOSED
            if is_open is not closed:
                return old
            word = AgentState.OPEN if is_open else AgentState.CLOSED
            agent = old.agent._replace(
                state=word, how=KnownBy.PORT, rtt_s=None, detail=None, seen_at=at
            )
            return old._replace(agent=agent)

        self._update(change)

    def ended(self, outcome: EndingT) -> EndingT:
        """Show that nothing is in flight any more; return the outcome with its meaning."""
        outcome = self.with_meaning(outcome)
        if self._beside:
            return outcome
        last = outcome if isinstance(outcome, Outcome) else None
        timeline = self._recorder.end() if self._recorder is not None else None
        self._keep_writes()

        def change(old: VmState) -> VmState:
            # Unless it is the window of a copy that goes on, it comes after all copies.
            newest = old.job_is_newest and last is None
            shown = old.timeline if last is None else timeline and timeline.briefer()
            ended = old._replace(progress=None, last=last or old.last, job_is_newest=newest)
            return ended._replace(timeline=shown)

        self._update(change)
        return outcome

    def revise(self, before: Outcome, after: Outcome) -> Outcome:
        """Replace the outcome of a freeze that has ended, unless another freeze has one by now.

        Args:
            before: the outcome that was told.
            after: the one that holds.
        """
        after = self.with_meaning(after._replace(meaning=None, next=None))
        self.event(revised(after))
        self._update(lambda old: old._replace(last=after) if old.last == before else old)
        return after

    def _keep_writes(self) -> None:
        """Write what the guest wrote meanwhile into the journal, unless that stands there."""
        if self._recorder is None or self._entry is None:
            return
        writes = self._recorder.timeline.writes
        if writes != self._kept_writes:
            self._kept_writes = writes
            self._entry.wrote(writes)

    def _update(self, change: Callable[[VmState], VmState]) -> None:
        self._fleet.update(self._vm.id, change)


def _with_step(text: str, ending: Outcome | ThawOutcome | RescueOutcome) -> str:
    """Return an event's sentence with the next step, if a person has to take it at once."""
    if isinstance(ending, Outcome):
        urgent = not ending.settled or ending.refusal is not None
    else:
        urgent = not ending.ok
    return f"{text}. NEXT: {ending.next}" if urgent and ending.next else text
