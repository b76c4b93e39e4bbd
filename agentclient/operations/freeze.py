"""One bounded freeze of one VM, from its preparation to its thaw; blocking, for a worker thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Self

from agentclient.access.agent_session import AgentSession
from agentclient.access.call_session import NotSent
from agentclient.access.guest_access import CHANNEL_WAIT_S
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.freeze_plan import FreezePlan
from agentclient.freeze.procedure import FreezeProcedure
from agentclient.freeze.thaw_machine import WATCH_S
from agentclient.freeze.verdict import ended_by_a_bug, refused
from agentclient.holder.called_standby import stand_by
from agentclient.holder.client import NoHolder
from agentclient.holder.guest_standby import AskedFor, ChannelEnd, GuestStandby
from agentclient.journal.rows import Reference
from agentclient.model.errors import BadInput
from agentclient.model.events import Ended, EventKind
from agentclient.model.instruction import Asked
from agentclient.model.next_command import freeze_command, thaw_command
from agentclient.model.outcome import NotFrozen, Outcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.snapshot import Progress
from agentclient.model.states import (
    Cause,
    FreezeState,
    Level,
    OperationKind,
    OutcomeKind,
    Phase,
    Refusal,
)
from agentclient.model.text import printable
from agentclient.operations.context import OperationContext
from agentclient.operations.driver import Driver
from agentclient.operations.freeze_end import keep, thaw_after_a_bug, unsettled
from agentclient.operations.group_member import GroupMember
from agentclient.operations.operation import WITHDRAWN
from agentclient.operations.ownership import held_by
from agentclient.operations.preflight import Preflight, Prepared
from agentclient.operations.refusals import (
    cancelled,
    held_elsewhere,
    no_holder,
    no_long_hold,
    no_remote_hold,
)
from agentclient.operations.thaw import thaw_where_it_went
from agentclient.protocol.qga_commands import FREEZE, FREEZE_LIST


class FreezeOperation(GroupMember):
    """One freeze of one VM.

    Args:
        context: its collaborators.
        request: the mount points, the hold and the bounds.

    Attributes:
        verdict: the verdict on it when its window opened; None before.
        hold_ends_at: when its window ends on its own (monotonic seconds); None before it opened.
    """

    kind = OperationKind.FREEZE

    def __init__(self, context: OperationContext, request: FreezeRequest) -> None:
        super().__init__(context)
        self._access = context.access
        self._reporter = context.reporter
        self._request = request
        self._uuid: str | None = None
        self.verdict: Outcome | None = None
        self.hold_ends_at: float | None = None
        self._opened = threading.Event()  # its window; or it has ended

    # -- for the caller --------------------------------------------------------------

    @contextmanager
    def frozen(self, *, unverified: bool = False) -> Iterator[Self]:
        """Wait until the guest is frozen and verified; thaw it after the block, whatever happens.

        After the block ``wait().certified`` tells whether the window held.

        Args:
            unverified: accept also a freeze of which some evidence is missing.

        Raises:
            NotFrozen: it was not frozen, or not verified; it was thawed, or the events say why not.
            BadInput: the request has no hold, so that the window would end at once.
        """
        schedule = self._request.schedule
        try:
            if not schedule.hold_s:
                raise BadInput(f"{self.vm.id}: a window needs a hold (Schedule.hold_s)")
            self.wait_opened()
        except BaseException:
            self.cancel()  # an interrupted caller does not wait for an agent that may hang
            raise
        try:
            verdict = self.verdict if self.verdict is not None else self._result.result()
            if self.done or not (unverified or verdict.kind is OutcomeKind.VERIFIED):
                raise NotFrozen(self.vm.id, verdict)
            yield self
        finally:
            self.end_hold()
            self.wait(schedule.thaw_timeout_s)

    def wait_opened(self, timeout_s: float | None = None) -> bool:
        """Wait until its window is open, or it has ended; return whether one of both is so.

        Args:
            timeout_s: how long to wait, in seconds; None for as long as its own bounds.
        """
        return self._opened.wait(timeout_s)

    def settle(self, outcome: Outcome) -> None:
        """Set the outcome."""
        super().settle(outcome)
        self._opened.set()

    # -- ways not to begin ------------------------------------------------------------------

    def waits_for_its_turn(self, most: int) -> None:
        """Show that it waits for its turn."""
        waits = f"its turn: {most} at once"
        self._reporter.progress(Progress(self.kind, Phase.QUEUED, waits, time.monotonic()))

    def waits_no_more(self) -> None:
        """Show that it does not wait for its turn any more."""
        self._reporter.progress(None)

    def busy(self, running: OperationKind) -> Outcome:
        """Report that it is not sent, since another operation is in flight on its VM."""
        reason = f"a {running} of this VM is in flight already"
        return self._refused(refused(Refusal.BUSY, reason))

    def withdrawn(self) -> Outcome:
        """Report that it was taken out of the queue before it began."""
        return self._told(refused(Refusal.CANCELLED, WITHDRAWN), WITHDRAWN)

    def _announce(self) -> None:
        """Report nothing: whether another frostwatch works on the guest is checked first."""

    def _read_only(self, why: str) -> Outcome:
        self._preparing()
        return self._told(refused(Refusal.READ_ONLY, why))

    def _not_begun(self, reason: str, step: str) -> Outcome:
        outcome = refused(Refusal.NOT_BEGUN, reason, step)
        return self._failed(outcome, EventKind.VERDICT, EventKind.OUTCOME)

    def _crashed(self, reason: str, step: str) -> Outcome:
        return self._failed(Outcome(OutcomeKind.FAILED, reason, next=step), EventKind.OUTCOME)

    def _failed(self, outcome: Outcome, *kinds: EventKind) -> Outcome:
        """Report, as events of these kinds, that it has failed, and the next step."""
        for kind in kinds:
            report_event = ReportEvent(kind, Level.ERROR, outcome.reason, Ended(outcome))
            self._reporter.event(report_event)
        return self._reporter.with_meaning(outcome)

    def _refused(self, outcome: Outcome) -> Outcome:
        return self._reporter.with_meaning(
            self._told(outcome, f"refused: {outcome.refusal}: {outcome.reason}")
        )

    # -- the work ----------------------------------------------------------------------

    def _run(self) -> Outcome:
        """Freeze, watch, hold, thaw; return the outcome."""
        if (held := held_by(self.context)) is not None:
            return self._refused(held_elsewhere(held, self.vm))
        if (far := no_remote_hold(self._request, self.vm)) is not None:
            return self._refused(far)
        self._preparing()
        if not self._access.channel_lock.acquire(timeout=CHANNEL_WAIT_S):
            outcome = refused(Refusal.BUSY, "frostwatch itself is talking to this agent")
            return self._told(outcome)
        try:
            prepared = self._prepare()
            if isinstance(prepared, Outcome):
                return self._told(prepared)
            with closing(prepared.session):
                too_long = no_long_hold(self._request, prepared.coverage)
                return self._guarded(prepared) if too_long is None else self._told(too_long)
        finally:
            self._access.channel_lock.release()

    def _preparing(self) -> None:
        text = "preparing: run state, port, agent, file systems"
        self._reporter.event(ReportEvent(EventKind.PREPARING, Level.INFO, text))
        self._reporter.progress(Progress(self.kind, Phase.PREPARING, "the agent", self.began_at))

    def _guarded(self, prepared: Prepared) -> Outcome:
        """Freeze, with a holder that thaws if this process dies in the middle of it (P4)."""
        session, schedule = prepared.session, self._schedule
        self._uuid = self._access.uuid()
        window = self._armed(session)
        assert self.context.holder is not None, "nothing is frozen without somebody who stands by"
        cancellation = self.context.control.cancellation
        standby = stand_by(
            self.context.holder,
            self._access.thaw_recipe(),
            schedule.thaw_timeout_s,
            window,
            self._reporter.event,
            cancelled=lambda: cancellation.is_set,
        )
        outcome: Outcome | None = None
        try:
            standby.on_asked = self._asked
            standby.guard(session)
            standby.intend(bound_s=schedule.total_s, hold_s=schedule.hold_s)
            # A group that has failed sends no more freezes.
            if cancellation.is_set:
                return self._told(cancelled())
            standby.sent = True
            outcome = self._freeze(prepared, standby)
            return outcome
        except NoHolder as error:
            return self._told(cancelled() if cancellation.is_set else no_holder(error))
        finally:
            if standby.sent and (outcome is None or not outcome.settled):
                self._leave(standby, session)  # what may be frozen is handed over, not abandoned
            standby.thawed = outcome.thawed if outcome is not None else None
            standby.end()

    @property
    def _schedule(self) -> Schedule:
        """The schedule of its timeouts; a call has the whole time, and no probes after it."""
        schedule = self._request.schedule
        if self._access.capabilities.ordered:
            return schedule
        return replace(schedule, first_timeout_s=schedule.total_s, probes=0)

    def _armed(self, session: AgentSession) -> Reference | None:
        """Record that the freeze is about to be sent; report if that can't be recorded."""
        if self.context.entry is None:
            return None
        process = self._access.serving_process(session)
        window = self.context.entry.armed(process, self._uuid)
        agent = self.context.state.agent.version
        self.context.entry.made_with(agent=agent, qemu=self._access.qemu_version)
        if self.context.entry.unrecorded is not None:
            self._reporter.event(
                ReportEvent(EventKind.NOTE, Level.WARNING, self.context.entry.unrecorded)
            )
        return window

    def _prepare(self) -> Prepared | Outcome:
        schedule = self._request.schedule
        return Preflight(self.context, self._request.mounts, schedule.total_s).run()

    def _told(self, outcome: Outcome, text: str | None = None) -> Outcome:
        """Report the outcome of a freeze that has no window."""
        word = f"{outcome.kind}: {outcome.refusal}" if outcome.refusal else str(outcome.kind)
        text = text or f"{word}: {outcome.reason}"
        for kind in (EventKind.VERDICT, EventKind.OUTCOME):
            self._reporter.event(ReportEvent(kind, Level.WARNING, text, Ended(outcome)))
        return outcome

    def _freeze(self, prepared: Prepared, standby: GuestStandby) -> Outcome:
        session = prepared.session
        driver = Driver(
            self._access,
            session,
            self.context.control,
            self._reporter,
            standby,
            before_thaw=standby.thaws,
        )
        try:
            return self._drive(driver, prepared, standby)
        except NotSent as error:
            standby.sent = False
            reason = f"{error}; the freeze was not sent"
            step = f"wait for its turn, then: {freeze_command(self._access.vm)}"
            return self._told(refused(Refusal.BUSY, reason, step))
        except Exception as error:  # noqa: BLE001 - whatever failed here, nobody stays frozen (P4)
            reason = f"frostwatch failed in the middle of it: {printable(repr(error), 300)}"
            self._reporter.event(ReportEvent(EventKind.NOTE, Level.ERROR, f"{reason}; thawing"))
        try:
            timeout_s = self._request.schedule.thaw_timeout_s
            report = thaw_after_a_bug(self.context, driver, prepared, timeout_s)
        except Exception as error:  # noqa: BLE001 - as above: then somebody else has to
            text = f"its thaw failed as well: {printable(repr(error), 300)}"
            report = unsettled(self._access.vm, text)
        if not report.settled:
            handed_over_to = self._leave(standby, session)
            report = replace(report, holder=handed_over_to)
        self._reporter.frozen(FreezeState.THAWED if report.settled else None, foreign=False)
        return self._told(ended_by_a_bug(reason, report, time.monotonic() - self.began_at))

    def _leave(self, standby: GuestStandby, session: AgentSession) -> int | None:
        """Hand a guest that may be frozen to the holder; report an error if there is none."""
        tried = standby.hand_over_tried
        handed_over_to = standby.hand_over(session)
        if handed_over_to is None and not tried:
            command = thaw_command(self._access.vm, foreign=False)
            text = f"NOBODY STANDS BY to thaw the guest. NEXT: {command}"
            self._reporter.event(ReportEvent(EventKind.NOTE, Level.ERROR, text))
        return handed_over_to

    def _drive(self, driver: Driver, prepared: Prepared, standby: GuestStandby) -> Outcome:
        now, session = time.monotonic(), prepared.session
        procedure = self._procedure(prepared, now)
        session.allow(FREEZE_LIST if self._request.mounts else FREEZE, self._schedule.total_s)
        driver.perform(procedure.start(now))
        while procedure.outcome is None:
            self._reporter.progress(procedure.progress(time.monotonic()))
            self._reporter.frozen(procedure.state, foreign=False)
            self._stand_by(procedure, standby, session)
            driver.turn(procedure, lambda: self._taken(driver, procedure, standby))
            if procedure.unsettled is not None:
                handed_over_to = self._leave(standby, session)
                report = replace(procedure.unsettled, holder=handed_over_to)
                driver.perform(procedure.on_handed_over(time.monotonic(), report))
            if procedure.wants_target:
                self._follow(driver, procedure)
            if procedure.wants_keep:
                driver.perform(procedure.on_kept(time.monotonic(), keep(self.context, standby)))
        self._reporter.frozen(procedure.state, foreign=False)
        return procedure.outcome

    def _procedure(self, prepared: Prepared, now: float) -> FreezeProcedure:
        plan = FreezePlan(
            schedule=self._schedule,
            baseline=prepared.baseline,
            mounts=self._request.mounts,
            strict=self._request.strict,
            coverage=prepared.coverage,
            covered_at=prepared.covered_at,
        )
        vm, ticket, follows = self._access.vm, prepared.session.ticket, self._uuid is not None
        procedure = FreezeProcedure(vm, plan, ticket, now, can_hand_over=True, follows=follows)
        procedure.group_error = lambda: self.context.control.group_error
        return procedure

    def _stand_by(
        self, procedure: FreezeProcedure, standby: GuestStandby, session: AgentSession
    ) -> None:
        """Tell the holder when the hold ends, so that it can take over then."""
        standby.retry_guard(session)
        if procedure.freeze.window is not None:
            self.hold_ends_at = procedure.freeze.window.ends_at
            latest_at = procedure.freeze.window.since + self._schedule.maximum_hold_s
            standby.hold(self.hold_ends_at, latest_at)
            verdict = procedure.freeze.judgement.verdict
            if verdict is not None and self.verdict is None:
                self.verdict = self._reporter.with_meaning(verdict, final=False)
                if self._request.keep:
                    self.keep()
            self._opened.set()

    def _asked(self, asked: AskedFor) -> None:
        """Take what another process asks for; in the thread that hears the holder."""
        self.context.control.add(Asked(asked.by, asked.longer_s))

    def _taken(self, driver: Driver, procedure: FreezeProcedure, standby: GuestStandby) -> bool:
        """Return whether the channel ended because the holder has taken the guest over."""
        if standby.why_ended() is not ChannelEnd.TAKEN:
            return False
        self._await_holder(driver, procedure, standby)
        return True

    def _follow(self, driver: Driver, procedure: FreezeProcedure) -> None:
        """Thaw a guest that has migrated where it runs now, if that is on this host."""
        migrated = procedure.freeze.watch.cause is Cause.MIGRATED
        timeout_s = self._request.schedule.thaw_timeout_s
        report = thaw_where_it_went(self.context, self._uuid, timeout_s, awaited=migrated)
        driver.perform(procedure.on_target_searched(time.monotonic(), report))

    def _await_holder(
        self, driver: Driver, procedure: FreezeProcedure, standby: GuestStandby
    ) -> None:
        """Wait for the result of the holder's thaw, unless the holder dies during it."""
        until = procedure.freeze.schedule.ends_at + 2 * self._request.schedule.thaw_timeout_s
        report, why = None, standby.taken or "it was told to"
        while report is None and not self.context.control.gave_up and time.monotonic() < until:
            report = standby.wait(WATCH_S)
            if report is None and standby.taken is None:
                text = "the holder has gone in the middle of its thaw"
                driver.perform(procedure.on_stream_ended(time.monotonic(), text, gone=None))
                return
        if report is None:
            reason = "the holder has not said what came of its thaw: THE GUEST MAY STILL BE FROZEN"
            report = unsettled(self._access.vm, reason)
        over = standby.over
        driver.perform(procedure.on_taken_over(time.monotonic(), why, report, over=over))
