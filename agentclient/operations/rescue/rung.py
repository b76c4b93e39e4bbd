"""The functions that all rungs share: looks, waits that can be cancelled, reports, a thaw."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from agentclient.access.host.peer import user_of
from agentclient.access.stream import wait_any
from agentclient.freeze.effects import ReportEvent
from agentclient.model.events import EventKind
from agentclient.model.next_command import rescue_command
from agentclient.model.outcome import ThawOutcome
from agentclient.model.rescue import RescueOutcome, RescueTimes, Rung, RungResult, Step
from agentclient.model.snapshot import MonitorView, Progress
from agentclient.model.states import FreezeState, Level, Phase, RunState
from agentclient.model.vm import Peer, Vm
from agentclient.operations.context import OperationContext
from agentclient.operations.thaw import ThawOperation

LOOK_EVERY_S: Final = 0.25
_NEXT: Final = {
    Rung.CONNECT: Rung.THAW,
    Rung.THAW: Rung.WAIT,
    Rung.WAIT: Rung.SYSRQ,
    Rung.SYSRQ: Rung.RESET,
}


class RungContext:
    """What every rung on one VM needs: its access, its reports, its waits and a thaw.

    Args:
        context: its operation's collaborators.
        step: the rung that was chosen.
        ours: the guest's freeze is provably ours.
        times: its bounds, in seconds.
        beside: a freeze or a thaw of ours is in flight, and keeps the agent's channel.
    """

    def __init__(
        self,
        context: OperationContext,
        step: Step,
        *,
        ours: bool,
        times: RescueTimes,
        beside: bool = False,
    ) -> None:
        self.operation = context
        self.access = context.access
        self.reporter = context.reporter
        self.control = context.control
        self.step = step
        self.ours = ours
        self.times = times
        self.beside = beside
        self.began_at = time.monotonic()

    @property
    def serving_vm(self) -> Vm:
        """The VM with its process, as its source or the server of its sockets."""
        vm = self.access.vm
        process = self.access.process
        if vm.process is not None or process is None:
            return vm
        return vm._replace(process=process, peer=vm.peer or Peer(process, user_of(process)))

    @property
    def cancelled(self) -> bool:
        """Whether the rung was cancelled."""
        return self.control.cancellation.is_set

    def pause(self, seconds: float) -> bool:
        """Wait so many seconds; return False at once if the rung is cancelled."""
        if not self.cancelled:
            wait_any([self.control.cancellation.fileno()], max(0.0, seconds))
        return not self.cancelled

    def look(self) -> MonitorView:
        """Look at the monitor, report the state that it shows, and return the view."""
        view = self.access.observe()
        if view.run_state is not RunState.UNKNOWN:
            self.reporter.run_state(view.run_state)
        if view.port_open is not None:
            self.reporter.port(is_open=view.port_open)
        return view

    def progress(self, waiting_for: str, ends_at: float) -> None:
        """Report what is awaited, and until when at most (time of the monotonic clock)."""
        self.reporter.progress(
            Progress("rescue", Phase.THAWING, waiting_for, self.began_at, ends_at=ends_at)
        )

    def note(self, text: str, level: Level = Level.INFO) -> None:
        """Report a note."""
        self.reporter.event(ReportEvent(EventKind.NOTE, level, text))

    def await_port(self, deadline: float, what: str = "an agent to come back") -> MonitorView:
        """Look until the agent's port is not closed, the VM has gone, or the deadline passes.

        Args:
            deadline: time of the monotonic clock.
            what: what is waited for, as a clause.
        """
        self.progress(what, deadline)
        view = self.look()
        while view.port_open is False and not view.gone and time.monotonic() < deadline:
            if not self.pause(LOOK_EVERY_S):
                break
            view = self.look()
        return view

    def thaw(self, timeout_s: float, *, ask: bool = False) -> ThawOutcome:
        """Send an ordinary thaw, and report its outcome as a note.

        Args:
            timeout_s: its bound, in seconds.
            ask: thaw only if the agent says frozen.
        """
        thaw = ThawOperation(
            self.operation,
            foreign=not ask,
            ours=True,
            ask=ask,
            timeout_s=timeout_s,
            told_as=EventKind.NOTE,
        )
        return thaw.run()

    def after_thaw(self, thaw: ThawOutcome) -> RescueOutcome:
        """Return the rung's outcome that follows from a thaw's."""
        if thaw.ok:
            return self.outcome(
                RungResult.THAWED, thaw.reason, state=FreezeState.THAWED, thawed=thaw.thawed
            )
        if self.cancelled:
            return self.stopped(thaw.reason)
        found = RungResult.REFUSED if thaw.refused else RungResult.SILENT
        if thaw.thawed is not None:
            found = RungResult.ANSWERS
        elif self.look().port_open is False:
            found = RungResult.NO_AGENT
        refused_step = thaw.next if thaw.refused else None
        outcome = self.outcome(found, thaw.reason, state=thaw.state, thawed=thaw.thawed)
        return replace(outcome, next=refused_step or outcome.next)

    def stopped(self, what: str) -> RescueOutcome:
        """Return the outcome of a rung that was cancelled."""
        return self.outcome(RungResult.CANCELLED, f"stopped: {what}")

    def refuse(self, reason: str, step: str | None = None) -> RescueOutcome:
        """Return the outcome of a rung that was not taken."""
        return replace(self.outcome(RungResult.REFUSED, f"not taken: {reason}"), next=step)

    def outcome(
        self,
        found: RungResult,
        reason: str,
        *,
        state: FreezeState | None = None,
        thawed: int | None = None,
    ) -> RescueOutcome:
        """Return the outcome; if the guest may be frozen, with the rung to take next."""
        seconds = round(time.monotonic() - self.began_at, 3)
        vm, step = self.access.vm, self.step
        outcome = RescueOutcome(vm.id, step.rung, step.means, found, state, thawed, reason, seconds)
        return outcome if outcome.ok else replace(outcome, next=self._next(found))

    def _next(self, found: RungResult) -> str | None:
        rung = _NEXT.get(self.step.rung)
        if found in (RungResult.ANSWERS, RungResult.FAILED) and self.step.rung is not Rung.THAW:
            rung = Rung.THAW
        elif found is RungResult.NO_AGENT and self.step.rung is Rung.CONNECT:
            rung = Rung.WAIT
        elif found is RungResult.CANCELLED:
            rung = self.step.rung
        return rescue_command(self.access.vm, rung) if rung is not None else None
