"""A thaw of one VM without a freeze of ours in flight; blocking, for a worker thread."""

from __future__ import annotations

import os
import time
from typing import Final

from agentclient.access.agent_session import AgentSession
from agentclient.access.guest_access import CHANNEL_WAIT_S
from agentclient.access.stream import ConnectFailed
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.port_watch import RELEASED_BY, PortWatch
from agentclient.freeze.thaw_machine import ThawMachine
from agentclient.freeze.thaw_plan import ThawPlan, ThawReport
from agentclient.holder.other_holder import NotAsked
from agentclient.model.durations import in_words
from agentclient.model.events import Ended, EventKind
from agentclient.model.next_command import thaw_command
from agentclient.model.next_step import step_while_held
from agentclient.model.outcome import ThawOutcome
from agentclient.model.policy import DEFAULT_POLICY
from agentclient.model.snapshot import HeldBy, MonitorView, Progress
from agentclient.model.states import FreezeState, Level, OperationKind, Phase, RunState, Stuck
from agentclient.model.text import printable
from agentclient.operations.context import OperationContext
from agentclient.operations.driver import Driver
from agentclient.operations.elsewhere import looked_at, thaw_through_holder
from agentclient.operations.operation import WITHDRAWN, Operation
from agentclient.operations.ownership import held_by, is_provably_ours
from agentclient.operations.refusals import GONE

_LOOK_AGAIN_S: Final = 0.25
# Seconds until a migration's target is listed and its monitor answers.
TARGET_S: Final = 5.0
TARGET_AGAIN_S: Final = 0.25


class ThawOperation(Operation[ThawOutcome]):
    """One thaw of one VM.

    Args:
        context: its collaborators.
        foreign: a person has decided to thaw also a foreign freeze.
        ours: the freeze is provably ours; None to look that up when the thaw begins.
        ask: thaw only if the agent says frozen: on a thawed guest the thaw's hook would run
            without its freeze (protocol §3.8).
        timeout_s: its bound, in seconds; None for the VM's policy.
        told_as: the kind of event of its end; another than OUTCOME if it is a part of another
            operation.
    """

    kind = OperationKind.THAW

    def __init__(
        self,
        context: OperationContext,
        *,
        foreign: bool = False,
        ours: bool | None = None,
        ask: bool = True,
        timeout_s: float | None = None,
        told_as: EventKind = EventKind.OUTCOME,
    ) -> None:
        super().__init__(context)
        self._access = context.access
        self._reporter = context.reporter
        self._foreign = foreign
        self._ours = ours is True
        self._look_up = ours is None
        self._ask = ask
        policy = context.vm.policy or DEFAULT_POLICY
        self._timeout_s = policy.thaw_timeout_s if timeout_s is None else timeout_s
        self._told_as = told_as
        self._asked: HeldBy | None = None  # who has thawed it, as was asked
        self._asked_count: int | None = None

    # -- ways not to begin ------------------------------------------------------------------

    def busy(self, running: OperationKind) -> ThawOutcome:
        """Report that it is not sent, since another operation is in flight on its VM."""
        return self._refuse(f"a {running} of this VM is in flight already", None)

    def withdrawn(self) -> ThawOutcome:
        """Report that it was taken out of the queue before it began."""
        return self._refuse(WITHDRAWN, None)

    def _announce(self) -> None:
        """Report nothing: each wait is reported when it begins."""

    def _read_only(self, why: str) -> ThawOutcome:
        return self._refuse(why, None)

    def _not_begun(self, reason: str, step: str) -> ThawOutcome:
        return self._failed(reason, f"{step}; then {thaw_command(self.vm, foreign=False)}")

    def _crashed(self, reason: str, step: str) -> ThawOutcome:
        return self._failed(reason, step)

    def _failed(self, reason: str, step: str) -> ThawOutcome:
        outcome = ThawOutcome(self.vm.id, None, None, False, reason, 0.0, step)
        self._reporter.event(ReportEvent(EventKind.OUTCOME, Level.ERROR, reason, Ended(outcome)))
        return self._reporter.with_meaning(outcome)

    # -- the work ----------------------------------------------------------------------

    def _run(self) -> ThawOutcome:
        """Thaw, or refuse; return the outcome."""
        if self._look_up:
            held = held_by(self.context)
            self._ours = is_provably_ours(self.context)
            held = looked_at(held, self.vm) if held is not None else None
            if held is not None and not held.is_waited_for(os.getpid()):
                ended = self._asked_for(held)
                if ended is not None:
                    return ended
        if self._is_another():
            return self._refuse(GONE, "look for it in the list")
        if self.vm.out_of_reach is not None:
            return self._refuse(printable(self.vm.out_of_reach, 300), None)
        if not self._access.has_agent:
            return self._refuse("no agent channel is configured", "add one, and install the agent")
        if not self._access.channel_lock.acquire(timeout=CHANNEL_WAIT_S):
            return self._refuse("frostwatch itself is talking to this agent", "try again")
        try:
            connected = self._connect()
            return connected if isinstance(connected, ThawOutcome) else self._thaw(*connected)
        finally:
            self._access.channel_lock.release()

    def _is_another(self) -> bool:
        """Return whether another VM is in the place of the one that was meant."""
        if self._told_as is EventKind.OUTCOME:
            return self._access.is_another(self._access.vm)
        # As a part of a longer operation: a relay of its sockets may have been restarted meanwhile.
        return self._access.is_gone() is True

    def _connect(self) -> tuple[AgentSession, MonitorView] | ThawOutcome:
        """Wait for a free channel, and connect; never queue behind another client (P5)."""
        deadline = self.began_at + self._timeout_s
        self._progress("a free channel")
        while True:
            view = self._access.observe()
            refusal = self._refuse_by_look(view)
            if refusal is not None:
                return refusal
            if not view.client:
                break
            if time.monotonic() > deadline or self.context.control.cancellation.is_set:
                return self._busy()
            holders = self._access.holders()
            held = holders.frostwatch if holders is not None else None
            if held is not None and not held.is_waited_for(os.getpid()):
                return self._held_elsewhere(held)
            time.sleep(_LOOK_AGAIN_S)
        try:
            return self._access.open_agent(), view
        except ConnectFailed as error:
            reason = f"the agent's channel can't be opened: {error}"
            return self._refuse(reason, thaw_command(self._access.vm, foreign=self._foreign))

    def _asked_for(self, held: HeldBy) -> ThawOutcome | None:
        """Have another frostwatch thaw it, if that was decided; None: go on, and ask the guest."""
        left_to_holder = held.kept and self._ours_to_end(held)
        if not (left_to_holder or self._foreign):
            return self._held_elsewhere(held)
        until = self.began_at + self._timeout_s
        try:
            report, count = thaw_through_holder(self.context, held, until, self._progress)
        except NotAsked as error:
            if held_by(self.context) is None:  # its holder has ended, and thaws nothing any more
                self._ours = is_provably_ours(self.context)
                return None
            reason = f"another frostwatch is at work on it: {held}; {error}"
            return self._refuse(reason, step_while_held(held, self._access.vm, asked=True))
        self._asked, self._asked_count = held, count
        if report is None:
            return None
        state = FreezeState.THAWED if report.settled else None
        self._reporter.frozen(state, foreign=False)
        reason = f"thawed by the holder of {held.who}, which was asked: {report.reason}"
        told = self._outcome(state, report.count, reason, report.next, stuck=report.stuck)
        return self._told(told)

    def _ours_to_end(self, held: HeldBy) -> bool:
        """Return whether the journal knows a window that was left, and nobody has attached."""
        known = held.window is not None and self.context.journal is not None
        return known and held.attached is None

    def _held_elsewhere(self, held: HeldBy) -> ThawOutcome:
        """Refuse to thaw while another frostwatch works on the guest: it thaws by itself."""
        reason = f"another frostwatch is at work on it: {held}"
        return self._refuse(reason, step_while_held(held, self._access.vm))

    def _busy(self) -> ThawOutcome:
        """Refuse since another client keeps the channel; name it, and the next step."""
        holders = self._access.holders()
        who = holders.words if holders is not None else None
        reason = f"another client has held the agent's channel for {self._elapsed()}"
        step = f"find out what that client does there; once it has left: {self._command()}"
        return self._refuse(f"{reason}: {who}" if who else reason, step)

    def _command(self) -> str:
        return thaw_command(self._access.vm, foreign=not self._ours)

    def _refuse_by_look(self, view: MonitorView) -> ThawOutcome | None:
        if view.gone:
            return self._told(self._outcome(FreezeState.THAWED, 0, "the VM does not run"))
        if view.run_state is RunState.MIGRATED:
            return self._elsewhere()
        if view.run_state in (RunState.PAUSED, RunState.IO_ERROR, RunState.SUSPENDED):
            step = RELEASED_BY[view.run_state]
            return self._refuse(f"the VM is {view.run_state}: its agent can't answer", step)
        return None

    def _elsewhere(self) -> ThawOutcome:
        """Thaw a guest that has migrated where it runs now, if that is on this host."""
        target = self._access.successor(self._access.uuid())
        if target is None:
            reason = "the VM has migrated away (QEMU does not tell where to)"
            return self._told(self._outcome(None, None, reason, stuck=Stuck.MIGRATED))
        thaw = ThawOperation(
            self.context.at(target),
            foreign=self._foreign,
            ours=self._ours,
            ask=self._ask,
            timeout_s=self._timeout_s,
            told_as=EventKind.NOTE,
        ).run()
        reason = f"it has migrated: {target.where}; {thaw.reason}"
        return self._told(thaw._replace(vm=self._access.vm.id, reason=reason))

    def _thaw(self, session: AgentSession, view: MonitorView) -> ThawOutcome:
        driver = Driver(self._access, session, self.context.control, self._reporter)
        now = time.monotonic()
        plan = ThawPlan(
            vm=str(self._access.vm.id),
            timeout_s=max(1.0, self.began_at + self._timeout_s - now),
            owned=False,
            ask=self._ask,
            allowed=self._foreign or self._ours,
            command=self._command(),
        )
        machine = ThawMachine(plan, PortWatch(view, now), session.ticket, now)
        try:
            report = driver.thaw(
                machine, lambda: self._progress(machine.waiting_for, machine.ends_at)
            )
        finally:
            driver.close()
        return self._concluded(machine, report)

    def _concluded(self, machine: ThawMachine, report: ThawReport) -> ThawOutcome:
        state = FreezeState.THAWED if report.settled else None
        if machine.refused:
            state = FreezeState.FROZEN
        self._reporter.frozen(state, foreign=machine.refused)
        if self._asked is not None and report.settled and not report.count:
            reason = f"thawed by {self._asked.who}, who was asked; {report.reason}"
            return self._told(self._outcome(state, self._asked_count, reason))
        return self._told(
            self._outcome(
                state,
                report.thawed,
                report.reason,
                report.next,
                refused=machine.refused,
                stuck=None if machine.refused else report.stuck,
            )
        )

    def _refuse(self, reason: str, step: str | None) -> ThawOutcome:
        return self._told(self._outcome(None, None, reason, step, refused=True))

    def _outcome(
        self,
        state: FreezeState | None,
        thawed: int | None,
        reason: str,
        step: str | None = None,
        *,
        refused: bool = False,
        stuck: Stuck | None = None,
    ) -> ThawOutcome:
        seconds = round(time.monotonic() - self.began_at, 3)
        return ThawOutcome(self._access.vm.id, state, thawed, refused, reason, seconds, step, stuck)

    def _told(self, outcome: ThawOutcome) -> ThawOutcome:
        level = Level.GOOD if outcome.ok else Level.ERROR
        text = f"thaw: {outcome.reason}"
        self._reporter.event(ReportEvent(self._told_as, level, text, Ended(outcome)))
        return outcome

    def _progress(self, waiting_for: str, ends_at: float | None = None) -> None:
        self._reporter.progress(
            Progress(
                "thaw",
                Phase.THAWING,
                waiting_for,
                self.began_at,
                ends_at=ends_at or self.began_at + self._timeout_s,
            )
        )

    def _elapsed(self) -> str:
        return in_words(time.monotonic() - self.began_at)


def thaw_where_it_went(
    context: OperationContext, uuid: str | None, timeout_s: float, *, awaited: bool
) -> ThawReport | None:
    """Thaw a guest where it runs now; blocking.

    Args:
        context: the context of its freeze.
        uuid: the VM's UUID; None if that isn't known: then the guest is not found.
        timeout_s: the bound of the thaw, in seconds.
        awaited: it is known to have migrated: search for it repeatedly, for a while.

    Returns:
        The thaw's report; None if the guest is not found on this host.
    """
    target = context.access.successor(uuid)
    until = time.monotonic() + TARGET_S
    while target is None and awaited and time.monotonic() < until:
        time.sleep(TARGET_AGAIN_S)
        target = context.access.successor(uuid)
    if target is None:
        return None
    note = ReportEvent(EventKind.NOTE, Level.WARNING, f"{target.where}: thawing")
    context.reporter.event(note)
    thaw = ThawOperation(
        context.at(target), ours=True, timeout_s=timeout_s, told_as=EventKind.NOTE
    ).run()
    return ThawReport(
        before=None,
        count=thaw.thawed,
        error=None,
        settled=thaw.ok,
        reason=f"it has migrated: {target.where}; {thaw.reason}",
        next=thaw_command(target.vm, foreign=True),
        stuck=None if thaw.ok else thaw.stuck or Stuck.MIGRATED,
        sent=True,
    )
