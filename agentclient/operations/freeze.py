"""One bounded freeze of one VM, from its preparation to its thaw; blocking, for a worker thread."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from agentclient.access.agent_session import Conversation
from agentclient.access.guest_link import CHANNEL_WAIT_S, Link
from agentclient.access.presence import server_of
from agentclient.access.self_check import uuid_of
from agentclient.access.stream import Channel
from agentclient.freeze.effects import Tell
from agentclient.freeze.freeze_machine import FreezePlan
from agentclient.freeze.port_watch import PortWatch
from agentclient.freeze.procedure import FreezeProcedure
from agentclient.freeze.thaw_machine import WATCH_S, ThawMachine
from agentclient.freeze.thaw_plan import ThawPlan, ThawReport
from agentclient.freeze.verdict import refused
from agentclient.freeze.window import WINDOWS_S
from agentclient.holder.care import Care
from agentclient.holder.client import Fate, HolderClient, NoHolder
from agentclient.journal.entry import Entry
from agentclient.journal.rows import Reference
from agentclient.model.durations import in_words
from agentclient.model.events import EventKind
from agentclient.model.next_command import thaw_command
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest
from agentclient.model.snapshot import Progress
from agentclient.model.states import Cause, FreezeState, Level, OutcomeKind, Phase, Refusal, Stuck
from agentclient.model.text import printable
from agentclient.operations.control import Control
from agentclient.operations.driver import Driver
from agentclient.operations.preflight import Preflight, Prepared, Reporter, cancelled
from agentclient.operations.thaw import Thawer, drive_thaw

# A migration's target may take a moment until it is listed, and its monitor answers.
TARGET_S: Final = 5.0
TARGET_AGAIN_S: Final = 0.25


class Freezer:
    """One freeze of one VM.

    Args:
        link: the VM.
        request: what is asked for.
        reporter: is told what happens.
        control: what the operator asks meanwhile.
        holder: stands by for the case that we die.
        read_only: nothing may be sent.
        entry: the freeze's window in the journal; None where none is kept.
    """

    def __init__(
        self,
        link: Link,
        request: FreezeRequest,
        reporter: Reporter,
        control: Control,
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
        self._control = control
        self._read_only = read_only
        self._began_at = time.monotonic()
        self._uuid: str | None = None

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
            if self._too_long(prepared):
                prepared.conversation.close()
                return self._told(_no_long_hold(self._request.schedule.hold_s))
            return self._guarded(prepared)
        finally:
            self._link.channel_lock.release()

    def _too_long(self, prepared: Prepared) -> bool:
        """Whether the guest can't be held for so long, and nobody has said that it shall be."""
        windows = prepared.coverage is not None and prepared.coverage.windows
        long = self._request.schedule.hold_s > WINDOWS_S
        return windows and long and not self._request.long_hold

    def _guarded(self, prepared: Prepared) -> Outcome:
        """Freeze, with somebody who thaws if we die in the middle of it (P4)."""
        conversation, schedule = prepared.conversation, self._request.schedule
        self._uuid = uuid_of(self._link.monitor)
        window = self._armed(conversation.channel)
        timeout_s = schedule.thaw_timeout_s
        care = Care(self._holder, self._link.trusted, timeout_s, window, self._reporter.tell)
        outcome: Outcome | None = None
        try:
            conversation.divert(care.begin(conversation.channel))
            care.intend(bound_s=schedule.total_s, hold_s=schedule.hold_s)
            if self._control.cancellation.is_set:  # a group that has failed sends no more freezes
                return self._told(cancelled())
            care.sent = True
            outcome = self._freeze(prepared, care)
            return outcome
        except NoHolder as error:
            return self._told(_no_holder(error))
        finally:
            if care.sent and (outcome is None or not outcome.settled):
                self._leave(care, conversation)  # what may be frozen is handed over, not let go
            care.end()
            conversation.close()

    def _armed(self, channel: Channel) -> Reference | None:
        """Have it written down that the freeze is about to be sent; tell if it is not."""
        if self._entry is None:
            return None
        window = self._entry.armed(server_of(channel).process)
        if self._entry.unrecorded is not None:
            self._reporter.tell(Tell(EventKind.NOTE, Level.WARNING, self._entry.unrecorded))
        return window

    def _prepare(self) -> Prepared | Outcome:
        return Preflight(
            self._link,
            mounts=self._request.mounts,
            read_only=self._read_only,
            reporter=self._reporter,
            cancellation=self._control.cancellation,
            patience_s=self._request.schedule.total_s,
        ).run()

    def _told(self, outcome: Outcome) -> Outcome:
        word = f"{outcome.kind}: {outcome.refusal}" if outcome.refusal else str(outcome.kind)
        text = f"{word}: {outcome.reason}"
        for kind in (EventKind.VERDICT, EventKind.OUTCOME):
            self._reporter.tell(Tell(kind, Level.WARNING, text, {"outcome": outcome}))
        return outcome

    def _freeze(self, prepared: Prepared, care: Care) -> Outcome:
        conversation = prepared.conversation
        driver = Driver(
            self._link,
            conversation,
            self._control,
            self._reporter,
            care,
            before_thaw=care.thaws,
        )
        try:
            return self._drive(driver, prepared, care)
        except Exception as error:  # noqa: BLE001 - whatever failed here, nobody stays frozen (P4)
            reason = f"frostwatch failed in the middle of it: {printable(repr(error), 300)}"
            self._reporter.tell(Tell(EventKind.NOTE, Level.ERROR, f"{reason}; thawing"))
        try:
            report = self._rescue(driver, prepared)
        except Exception as error:  # noqa: BLE001 - as above: then somebody else has to
            text = f"its thaw failed as well: {printable(repr(error), 300)}"
            report = self._unsettled(text)
        if not report.settled:
            left_to = self._leave(care, conversation)
            report = replace(report, holder=left_to)
        self._reporter.frozen(FreezeState.THAWED if report.settled else None, foreign=False)
        return self._told(self._failed(reason, report))

    def _leave(self, care: Care, conversation: Conversation) -> int | None:
        """Hand over what is not settled; say it loudly where nobody is there to take it."""
        tried = care.tried_to_leave
        left_to = care.leave(conversation.channel)
        if left_to is None and not tried:
            command = thaw_command(self._link.vm, foreign=False)
            text = f"NOBODY STANDS BY to thaw the guest. NEXT: {command}"
            self._reporter.tell(Tell(EventKind.NOTE, Level.ERROR, text))
        return left_to

    def _drive(self, driver: Driver, prepared: Prepared, care: Care) -> Outcome:
        now, conversation = time.monotonic(), prepared.conversation
        plan = FreezePlan(
            schedule=self._request.schedule,
            baseline=prepared.baseline,
            mounts=self._request.mounts,
            strict=self._request.strict,
            coverage=prepared.coverage,
            covered_at=prepared.covered_at,
        )
        procedure = FreezeProcedure(
            self._link.vm,
            plan,
            conversation.ticket,
            now,
            hands_over=True,
            follows=self._uuid is not None,
        )
        driver.perform(procedure.start(now))
        while procedure.outcome is None:
            self._reporter.progress(procedure.progress(time.monotonic()))
            self._reporter.frozen(procedure.state, foreign=False)
            self._stand_by(procedure, care, conversation)
            self._take(driver, procedure, care)
            if procedure.unsettled is not None:
                left_to = self._leave(care, conversation)
                report = replace(procedure.unsettled, holder=left_to)
                driver.perform(procedure.on_left(time.monotonic(), report))
            if procedure.wants_target:
                self._follow(driver, procedure)
        self._reporter.frozen(procedure.state, foreign=False)
        return procedure.outcome

    def _stand_by(self, procedure: FreezeProcedure, care: Care, conversation: Conversation) -> None:
        """Tell the holder when the hold ends, for it to take over at the right time."""
        armed = care.mend(conversation.channel)
        if armed is not None:
            conversation.divert(armed)
        if procedure.freeze.window is not None:
            care.hold(procedure.freeze.window.ends_at)

    def _take(self, driver: Driver, procedure: FreezeProcedure, care: Care) -> None:
        """Wait for one round, and hand over what it brought, in the order of its coming."""
        happened = driver.round(
            procedure.wakes_at, procedure.watch_every_s, look_now=procedure.wants_look
        )
        procedure.freeze.apart = self._control.apart
        for event in happened.heard:
            driver.perform(procedure.on_reply(time.monotonic(), event))
        now = time.monotonic()
        if happened.flood is not None:
            driver.perform(procedure.on_flood(now, happened.flood))
        if happened.ended is not None and care.fate() is Fate.TAKEN:
            # Before anything else is concluded: what was written since may be by its thaw.
            self._await_holder(driver, procedure, care)
            return
        if happened.view is not None:
            driver.perform(procedure.on_look(now, happened.view))
        if happened.ended is not None:
            gone = happened.view.gone if happened.view is not None else None
            driver.perform(procedure.on_stream_ended(now, happened.ended, gone=gone))
        for instruction in happened.instructions:
            driver.perform(procedure.on_instruction(now, instruction))
        if procedure.wants_connection(now):
            tried = driver.reconnect()
            now = time.monotonic()
            driver.perform(
                procedure.on_connected(now)
                if tried.connected
                else procedure.on_connect_failed(now, tried.why, gone=tried.gone)
            )
        driver.perform(procedure.on_tick(now))

    def _follow(self, driver: Driver, procedure: FreezeProcedure) -> None:
        """It has left its process: thaw it where it runs now, if that is on this host."""
        target = self._link.successor(self._uuid)
        until = time.monotonic() + TARGET_S
        migrated = procedure.freeze.watch.cause is Cause.MIGRATED
        while target is None and migrated and time.monotonic() < until:
            time.sleep(TARGET_AGAIN_S)
            target = self._link.successor(self._uuid)
        report = None
        if target is not None:
            self._reporter.tell(Tell(EventKind.NOTE, Level.WARNING, f"{target.where}: thawing"))
            thaw = Thawer(
                target,
                self._reporter,
                self._control,
                foreign=False,
                ours=True,
                timeout_s=self._request.schedule.thaw_timeout_s,
                told_as=EventKind.NOTE,
            ).run()
            report = ThawReport(
                before=None,
                count=thaw.thawed,
                error=None,
                settled=thaw.ok,
                reason=f"it has migrated: {target.where}; {thaw.reason}",
                next=thaw_command(target.vm, foreign=True),
                stuck=None if thaw.ok else thaw.stuck or Stuck.MIGRATED,
                sent=True,
            )
        driver.perform(procedure.on_followed(time.monotonic(), report))

    def _await_holder(self, driver: Driver, procedure: FreezeProcedure, care: Care) -> None:
        """The holder talks to the guest now: its thaw is ours, unless it dies with it."""
        until = procedure.freeze.ends_at + 2 * self._request.schedule.thaw_timeout_s
        report, why = None, care.taken or "it was told to"
        while report is None and not self._control.gave_up and time.monotonic() < until:
            report = care.wait(WATCH_S)
            if report is None and care.taken is None:
                text = "the holder has gone in the middle of its thaw"
                driver.perform(procedure.on_stream_ended(time.monotonic(), text, gone=None))
                return
        if report is None:
            reason = "the holder has not said what came of its thaw: THE GUEST MAY STILL BE FROZEN"
            report = self._unsettled(reason)
        over = care.over
        driver.perform(procedure.on_taken_over(time.monotonic(), why, report, over=over))

    def _rescue(self, driver: Driver, prepared: Prepared) -> ThawReport:
        """A bug of ours ended the freeze's watching: thaw all the same."""
        now = time.monotonic()
        timeout_s = self._request.schedule.thaw_timeout_s
        plan = ThawPlan(
            str(self._link.vm.id),
            timeout_s,
            connected=driver.connected,
            command=thaw_command(self._link.vm, foreign=False),
        )
        machine = ThawMachine(
            plan, PortWatch(prepared.baseline, now), prepared.conversation.ticket, now
        )
        return drive_thaw(driver, machine)

    def _unsettled(self, reason: str) -> ThawReport:
        command = thaw_command(self._link.vm, foreign=False)
        return ThawReport(None, None, None, False, reason, command, stuck=Stuck.SILENT)

    def _failed(self, reason: str, report: ThawReport) -> Outcome:
        return Outcome(
            OutcomeKind.FAILED,
            f"{reason}; {report.reason}",
            thawed=report.thawed,
            seconds=round(time.monotonic() - self._began_at, 3),
            next=report.next,
            stuck=report.stuck,
            holder=report.holder,
            settled=report.settled,
        )


def _no_long_hold(hold_s: float) -> Outcome:
    reason = (
        f"it is a Windows guest: its shadow copy lets writes go after {WINDOWS_S:g} s, so that a "
        f"hold of {in_words(hold_s)} would end broken; the freeze was not sent"
    )
    step = f"with --hold {WINDOWS_S:g}s, or with --yes if that is meant"
    return refused(Refusal.NOT_BEGUN, reason, step)


def _no_holder(error: NoHolder) -> Outcome:
    reason = f"nobody would thaw the guest if frostwatch died: {error}"
    return refused(Refusal.HOLDER, reason)
