"""Takes over a window that its console has left: this process is its console from then on.

The holder goes on to hold it, and thaws at its end in any case, also if this process ends: whoever
is attached is told how it stands, may hold it for longer, and may have it thawed.
"""

from __future__ import annotations

import time
from typing import Final

from agentclient.access.host.process import process_of
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.freeze.verdict import refused
from agentclient.holder.armed_guest import State
from agentclient.holder.messages import Body, HolderMessage, HolderRequest
from agentclient.holder.other_holder import HeldWindow, NotAsked, OtherHolder, reach, window_of
from agentclient.holder.thaw_message import report_of
from agentclient.model.durations import in_words
from agentclient.model.events import Ended, EventKind, HoldExtended
from agentclient.model.instruction import Extension, Instruction, Instructions
from agentclient.model.next_step import step_while_held
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import HeldBy, Progress
from agentclient.model.states import FreezeState, Level, OperationKind, OutcomeKind, Phase, Refusal
from agentclient.operations.context import OperationContext
from agentclient.operations.operation import WITHDRAWN, Operation
from agentclient.operations.ownership import held_by

_LOOK_S: Final = 1.0
# A holder that says nothing for so many seconds after the window's end is asked.
_SILENT_S: Final = 3.0
_THAWS: Final = (Instruction.CANCEL, Instruction.END_HOLD, Instruction.GIVE_UP)


class AttachOperation(Operation[Outcome]):
    """The window of a guest that its console has left to the holder, in this process's care.

    Args:
        context: its collaborators.
    """

    kind = OperationKind.FREEZE

    def __init__(self, context: OperationContext) -> None:
        super().__init__(context)
        self._reporter = context.reporter
        self._window = HeldWindow(kept=True, ends_at=None, room_s=0.0, attached=None)
        self._held_since = self.began_at
        self._thawing = False
        self._looked_at = self.began_at

    # -- ways not to begin ------------------------------------------------------------------

    def busy(self, running: OperationKind) -> Outcome:
        """Report that it is not done, since another operation is in flight on its VM."""
        return self._refuse(Refusal.BUSY, f"a {running} of this VM is in flight already")

    def withdrawn(self) -> Outcome:
        """Report that it was taken out of the queue before it began."""
        return self._refuse(Refusal.CANCELLED, WITHDRAWN)

    def _announce(self) -> None:
        """Report nothing: what is found is reported."""

    def _read_only(self, why: str) -> Outcome:
        return self._refuse(Refusal.READ_ONLY, why)

    def _not_begun(self, reason: str, step: str) -> Outcome:
        return self._refuse(Refusal.NOT_BEGUN, reason, step)

    def _crashed(self, reason: str, step: str) -> Outcome:
        return self._told(Outcome(OutcomeKind.FAILED, reason, next=step))

    def _refuse(self, refusal: Refusal, reason: str, step: str | None = None) -> Outcome:
        return self._told(refused(refusal, f"not attached: {reason}", step))

    # -- the work ----------------------------------------------------------------------

    def _run(self) -> Outcome:
        """Attach, and stay until the window has ended; return what came of it."""
        held = held_by(self.context)
        if held is None:
            return self._refuse(Refusal.BUSY, "no frostwatch has left it held")
        try:
            holder = reach(held, self.vm)
        except NotAsked as error:
            return self._not_attached(held, error)
        with holder:
            try:
                self._window = window_of(holder.ask(HolderRequest.ATTACH))
            except NotAsked as error:
                return self._not_attached(held, error)
            self._tell_attached(held, holder.pid)
            try:
                return self._stay(holder)
            except NotAsked as error:
                if holder.done is not None:
                    return self._ended(report_of(holder.done))
                return self._lost(holder.pid, error)

    def _not_attached(self, held: HeldBy, error: NotAsked) -> Outcome:
        return self._refuse(Refusal.BUSY, f"{held}; {error}", step_while_held(held, self.vm))

    def _tell_attached(self, held: HeldBy, holder: int) -> None:
        if held.since is not None:
            since = (self.context.state.freeze.since or held.since).timestamp()
            self._held_since = time.monotonic() - max(0.0, time.time() - since)
        text = f"attached to what {held.who} has left to its holder (pid {holder})"
        self._reporter.event(ReportEvent(EventKind.HELD, Level.INFO, f"{text}; {self._left()}"))

    def _left(self) -> str:
        ends_at = self._window.ends_at
        left_s = 0.0 if ends_at is None else max(0.0, ends_at - time.monotonic())
        return f"it is thawed in {in_words(left_s)}"

    def _stay(self, holder: OtherHolder) -> Outcome:
        """Do what the operator asks until the window has ended."""
        while True:
            self._show()
            body = holder.receive(_LOOK_S, self.context.control.fileno())
            if body is not None and body.get("say") == HolderMessage.DONE:
                return self._ended(report_of(body))
            if body is not None:
                self._changed(body)
            elif self._overdue:
                self._look(holder)
            for instruction in self.context.control.take():
                outcome = self._obey(holder, instruction)
                if outcome is not None:
                    return outcome

    @property
    def _overdue(self) -> bool:
        """Whether the window should have ended, and the holder says nothing of its thaw."""
        ends_at = self._window.ends_at
        begins = self.began_at if ends_at is None else ends_at
        return time.monotonic() >= max(begins, self._looked_at) + _SILENT_S

    def _look(self, holder: OtherHolder) -> None:
        """Ask the holder how the window stands: one that is stopped would be waited for for ever.

        Raises:
            NotAsked: it does not answer.
        """
        body = holder.ask(HolderRequest.LOOK)
        self._looked_at = time.monotonic()
        self._window = window_of(body)
        self._thawing = self._thawing or body.get("state") == State.THAWING

    def _show(self) -> None:
        phase = Phase.THAWING if self._thawing else Phase.HELD
        waits = "its holder's thaw" if self._thawing else "the hold's end"
        self._reporter.progress(
            Progress(
                "freeze",
                phase,
                waits,
                self.began_at,
                sent_at=self._held_since,
                held_since=self._held_since,
                hold_ends_at=self._window.ends_at,
            )
        )
        state = FreezeState.THAWING if self._thawing else FreezeState.FROZEN
        self._reporter.frozen(state, foreign=False)

    def _changed(self, body: Body) -> None:
        """Take what another process has changed of the window."""
        before, self._window = self._window, window_of(body)
        if before.ends_at is not None and self._window.ends_at is not None:
            more_s = round(self._window.ends_at - before.ends_at, 1)
            if more_s > _LOOK_S / 2:
                self._extended(more_s)

    def _obey(self, holder: OtherHolder, instruction: Instructions) -> Outcome | None:
        """Do what the operator asks; return the outcome if that ends it here."""
        if isinstance(instruction, Extension):
            self._extend(holder, instruction.seconds)
        elif instruction is Instruction.KEEP:
            return self._left_again(holder.pid)
        elif instruction in _THAWS and not self._thawing:
            holder.ask(HolderRequest.THAW)
            self._thawing = True
            text = "its holder was asked to thaw it now"
            self._reporter.event(ReportEvent(EventKind.CANCELLED, Level.INFO, text))
        if instruction is Instruction.GIVE_UP:
            reason = "its holder was asked to thaw it, and not waited for"
            return self._told(Outcome(OutcomeKind.UNVERIFIED, reason, holder=holder.pid))
        return None

    def _extend(self, holder: OtherHolder, seconds: float) -> None:
        before = self._window.ends_at
        try:
            self._window = window_of(holder.ask(HolderRequest.EXTEND, seconds=seconds))
        except NotAsked as error:
            text = f"the hold is not extended: {error}"
            self._reporter.event(ReportEvent(EventKind.NOTE, Level.WARNING, text))
            return
        self._extended(round((self._window.ends_at or 0.0) - (before or 0.0), 1))

    def _extended(self, more_s: float) -> None:
        text = f"the hold is extended by {in_words(more_s)}"
        self._reporter.event(ReportEvent(EventKind.NOTE, Level.WARNING, text, HoldExtended(more_s)))

    # -- the end -----------------------------------------------------------------------

    def _ended(self, report: ThawReport) -> Outcome:
        """Return what came of the window; that it was frozen until its end, nobody has seen."""
        state = FreezeState.THAWED if report.settled else None
        self._reporter.frozen(state, foreign=False)
        reason = f"left to its holder for a while, when nobody watched it; {report.reason}"
        return self._told(
            Outcome(
                OutcomeKind.UNVERIFIED,
                reason,
                thawed=report.count,
                seconds=round(time.monotonic() - self._held_since, 3),
                next=report.next,
                settled=report.settled,
                stuck=report.stuck,
            )
        )

    def _left_again(self, holder: int) -> Outcome:
        reason = f"left to its holder (pid {holder}) again; {self._left()}"
        return self._told(Outcome(OutcomeKind.UNVERIFIED, reason, holder=holder, kept=True))

    def _lost(self, holder: int, error: NotAsked) -> Outcome:
        """Report that the holder has gone, or is stopped: the journal knows what was left."""
        lives = process_of(holder) is not None  # it is stopped, and thaws when it goes on
        reason = f"{error}: the guest may be frozen"
        return self._told(Outcome(OutcomeKind.UNVERIFIED, reason, holder=holder if lives else None))

    def _told(self, outcome: Outcome) -> Outcome:
        outcome = self._reporter.with_meaning(outcome)
        good = outcome.settled and outcome.refusal is None
        level = Level.INFO if good or outcome.kept else Level.WARNING
        for kind in (EventKind.VERDICT, EventKind.OUTCOME):
            self._reporter.event(ReportEvent(kind, level, outcome.reason, Ended(outcome)))
        return outcome
