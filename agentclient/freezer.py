"""One bounded freeze of one VM, from its preparation to its thaw; blocking, for a worker thread."""

from __future__ import annotations

import time
from functools import partial

from agentclient.commands import thaw_command
from agentclient.driver import Driver
from agentclient.events import EventKind
from agentclient.freeze import FreezePlan
from agentclient.holder.client import Fate, Guard, HolderClient, NoHolder
from agentclient.journal.entry import Entry
from agentclient.journal.rows import Reference
from agentclient.links import CHANNEL_WAIT_S, Link
from agentclient.moves import Tell
from agentclient.preflight import Preflight, Prepared, Reporter, cancelled
from agentclient.procedure import FreezeProcedure
from agentclient.results import FreezeRequest
from agentclient.text import printable
from agentclient.thaw import WATCH_S, ThawMachine, ThawPlan, ThawReport
from agentclient.thawer import drive_thaw
from agentclient.verdict import refused
from agentclient.vm import Level, Outcome, OutcomeKind, Phase, Progress, Refusal
from agentclient.watch import PortWatch
from agentclient.wishes import Wish, Wishes


class Freezer:
    """One freeze of one VM.

    Args:
        link: the VM.
        request: what is asked for.
        reporter: is told what happens.
        wishes: what the operator asks meanwhile.
        holder: stands by for the case that we die.
        read_only: nothing may be sent.
        entry: the freeze's window in the journal; None where none is kept.
    """

    def __init__(
        self,
        link: Link,
        request: FreezeRequest,
        reporter: Reporter,
        wishes: Wishes,
        holder: HolderClient,
        *,
        read_only: bool = False,
        entry: Entry | None = None,
    ) -> None:
        self._link = link
        self._holder = holder
        self._entry = entry
        self._request = request
        self._reporter = reporter
        self._wishes = wishes
        self._read_only = read_only
        self._began_at = time.monotonic()
        self._told_hold_ends_at: float | None = None

    def run(self) -> Outcome:
        """Freeze, watch, hold, thaw; return the outcome. Raises nothing of this project's."""
        self._reporter.tell(
            Tell(EventKind.PREPARING, Level.INFO, "preparing: run state, port, agent, file systems")
        )
        self._reporter.progress(Progress("freeze", Phase.PREPARING, "the agent", self._began_at))
        if not self._link.channel_lock.acquire(timeout=CHANNEL_WAIT_S):
            outcome = refused(Refusal.BUSY, "frostwatch itself is talking to this agent")
            return self._told(outcome)
        try:
            prepared = self._prepare()
            if isinstance(prepared, Outcome):
                return self._told(prepared)
            return self._guarded(prepared)
        finally:
            self._link.channel_lock.release()

    def _guarded(self, prepared: Prepared) -> Outcome:
        """Freeze, with somebody who thaws if we die in the middle of it (P4)."""
        conversation, schedule = prepared.conversation, self._request.schedule
        window = self._armed()
        try:
            guard = self._holder.arm(
                self._link.trusted, conversation.channel, schedule.thaw_timeout_s, window
            )
        except NoHolder as error:
            conversation.close()
            return self._told(_no_holder(error))
        conversation.divert(guard.channel)
        keep = False
        try:
            self._holder.intend(guard, bound_s=schedule.total_s, hold_s=schedule.hold_s)
            if self._wishes.cancellation.is_set:  # a group that has failed sends no more freezes
                return self._told(cancelled())
            outcome = self._freeze(prepared, guard)
            keep = self._wishes.gave_up and not outcome.settled
            return outcome
        except NoHolder as error:
            return self._told(_no_holder(error))
        finally:
            if keep:  # who leaves in a hurry leaves the guest to the holder
                self._holder.hand_over(guard)
            else:
                self._holder.disarm(guard)

    def _armed(self) -> Reference | None:
        """Have it written down that the freeze is about to be sent; tell if it is not."""
        if self._entry is None:
            return None
        window = self._entry.armed()
        if self._entry.unrecorded is not None:
            self._reporter.tell(Tell(EventKind.NOTE, Level.WARNING, self._entry.unrecorded))
        return window

    def _prepare(self) -> Prepared | Outcome:
        return Preflight(
            self._link,
            mounts=self._request.mounts,
            read_only=self._read_only,
            reporter=self._reporter,
            cancellation=self._wishes.cancellation,
        ).run()

    def _told(self, outcome: Outcome) -> Outcome:
        word = f"{outcome.kind}: {outcome.refusal}" if outcome.refusal else str(outcome.kind)
        text = f"{word}: {outcome.reason}"
        for kind in (EventKind.VERDICT, EventKind.OUTCOME):
            self._reporter.tell(Tell(kind, Level.WARNING, text, {"outcome": outcome}))
        return outcome

    def _freeze(self, prepared: Prepared, guard: Guard) -> Outcome:
        driver = Driver(
            self._link,
            prepared.conversation,
            self._wishes,
            self._reporter,
            guard,
            before_thaw=partial(self._holder.thaws, guard),
        )
        try:
            return self._drive(driver, prepared, guard)
        except Exception as error:  # noqa: BLE001 - whatever failed here, nobody stays frozen (P4)
            return self._rescue(driver, prepared, error)

    def _drive(self, driver: Driver, prepared: Prepared, guard: Guard) -> Outcome:
        now = time.monotonic()
        plan = FreezePlan(
            schedule=self._request.schedule,
            baseline=prepared.baseline,
            mounts=self._request.mounts,
            strict=self._request.strict,
            coverage=prepared.coverage,
            covered_at=prepared.covered_at,
        )
        procedure = FreezeProcedure(self._link.vm, plan, prepared.conversation.ticket, now)
        driver.perform(procedure.start(now))
        while procedure.outcome is None:
            self._reporter.progress(procedure.progress(time.monotonic()))
            self._reporter.frozen(procedure.state, foreign=False)
            self._tell_holder(procedure, guard)
            self._take(driver, procedure, guard)
        self._reporter.frozen(procedure.state, foreign=False)
        return procedure.outcome

    def _tell_holder(self, procedure: FreezeProcedure, guard: Guard) -> None:
        """Tell the holder when the hold ends, for it to take over at the right time."""
        window = procedure.freeze.window
        if window is not None and window.ends_at != self._told_hold_ends_at:
            self._told_hold_ends_at = window.ends_at
            self._holder.hold(guard, max(0.0, window.ends_at - time.monotonic()))

    def _take(self, driver: Driver, procedure: FreezeProcedure, guard: Guard) -> None:
        """Wait for one round, and hand over what it brought, in the order of its coming."""
        freeze = procedure.freeze
        happened = driver.round(
            procedure.wakes_at, freeze.watch_every_s, look_now=freeze.wants_look
        )
        for event in happened.heard:
            driver.perform(procedure.heard(time.monotonic(), event))
        now = time.monotonic()
        if happened.flood is not None:
            driver.perform(procedure.flooded(now, happened.flood))
        if happened.ended is not None and guard.fate() is Fate.TAKEN:
            # Before anything else is concluded: what was written since may be by its thaw.
            self._await_holder(driver, procedure, guard)
            return
        if happened.view is not None:
            driver.perform(procedure.saw(now, happened.view))
        if happened.ended is not None:
            gone = happened.view.gone if happened.view is not None else None
            driver.perform(procedure.stream_ended(now, happened.ended, gone=gone))
        for wish in happened.wishes:
            if wish is Wish.EXTEND:
                driver.perform(procedure.extend(self._wishes.take_extension()))
            else:
                driver.perform(procedure.grant(now, wish))
        if procedure.wants_connection(now):
            tried = driver.reconnect()
            now = time.monotonic()
            driver.perform(
                procedure.connected(now)
                if tried.connected
                else procedure.not_connected(now, tried.why, gone=tried.gone)
            )
        driver.perform(procedure.tick(now))

    def _await_holder(self, driver: Driver, procedure: FreezeProcedure, guard: Guard) -> None:
        """The holder talks to the guest now: its thaw is ours."""
        until = procedure.freeze.ends_at + 2 * self._request.schedule.thaw_timeout_s
        report = None
        while report is None and not self._wishes.gave_up and time.monotonic() < until:
            report = guard.wait(WATCH_S)
        if report is None:
            reason = "the holder has not said what came of its thaw: THE GUEST MAY STILL BE FROZEN"
            report = ThawReport(
                None, None, None, False, reason, thaw_command(self._link.vm, foreign=False)
            )
        why = guard.taken or "it was told to"
        driver.perform(procedure.taken_over(time.monotonic(), why, report, over=guard.over))

    def _rescue(self, driver: Driver, prepared: Prepared, error: Exception) -> Outcome:
        """A bug of ours ended the freeze's watching: thaw all the same, and say so."""
        reason = f"frostwatch failed in the middle of it: {printable(repr(error), 300)}"
        self._reporter.tell(Tell(EventKind.NOTE, Level.ERROR, f"{reason}; thawing"))
        now = time.monotonic()
        timeout_s = self._request.schedule.thaw_timeout_s
        watch = PortWatch(prepared.baseline, now)
        plan = ThawPlan(
            str(self._link.vm.id),
            timeout_s,
            connected=driver.connected,
            command=thaw_command(self._link.vm, foreign=False),
        )
        machine = ThawMachine(plan, watch, prepared.conversation.ticket, now)
        report = drive_thaw(driver, machine, watch)
        outcome = Outcome(
            OutcomeKind.FAILED,
            f"{reason}; {report.reason}",
            thawed=report.thawed,
            seconds=round(time.monotonic() - self._began_at, 3),
            next=report.next,
            stuck=report.stuck,
            settled=report.settled,
        )
        return self._told(outcome)


def _no_holder(error: NoHolder) -> Outcome:
    reason = f"nobody would thaw the guest if frostwatch died: {error}"
    return refused(Refusal.HOLDER, reason)
