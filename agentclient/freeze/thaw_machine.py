"""The thaw procedure as a pure state machine (protocol §8.4, promise P4).

One sync with a fresh id and the thaw, written together: on a channel that is ours they may stand
behind a freeze that is still pending, and run right after it (§3.6). Then:

- unanswered: another sync after 1, 2, 4 … 30 s;
- a later sync answered without the thaw's reply: the thaw was lost with its agent, send it again;
- the port opened again, or an agent was restarted: sync and thaw again;
- an error: a failing thaw hook gives one although everything is thawed (§3.8), so ask the status;
- acknowledged: ask the status; still frozen: thaw again, a few times;
- the channel broke: connect again and again, since the guest may be frozen as long as its end is
  not proven (`agentclient.access.presence`); nothing is known to be ours on a new channel;
- the bound ran out: give up, and say what a person should do.
"""

from __future__ import annotations

from typing import Final

from agentclient.freeze import thaw_texts as texts
from agentclient.freeze.effects import Effect, NewTicket, ReportEvent, Resync, Send
from agentclient.freeze.port_watch import Change, PortWatch
from agentclient.freeze.thaw_plan import ThawPlan, ThawReport, ThawStage
from agentclient.freeze.thaw_schedule import ThawSchedule
from agentclient.model.events import AnsweredWithError, EventKind, ThawAnswered, ThawEnded
from agentclient.model.instruction import Instruction, Instructions
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, FreezeState, Level, RunState
from agentclient.protocol.qga_commands import STATUS, THAW
from agentclient.protocol.qga_events import Failure, PassedOver, Reply, Synced, WireEvent
from agentclient.protocol.qga_replies import file_systems_counted, freeze_state

MOST_THAWS_WHILE_FROZEN: Final = 3
WATCH_S: Final = 0.25


class ThawMachine:
    """One thaw, from its sending to its acknowledgement or to giving up.

    Args:
        plan: what is to be done.
        watch: the port and the run state; shared with the freeze before it.
        new_ticket: numbers for the requests.
        now: seconds of the monotonic clock.

    Attributes:
        stage: where it is.
        started_at: when it began.
        sent_at: when a thaw was last written; None before that.
        report: what it came to, once it has ended.
        refused: the guest is frozen, not provably by us, and no person has decided to thaw it.
        freeze_succeeded: as in the plan, or as the freeze before it turned out later.
    """

    def __init__(self, plan: ThawPlan, watch: PortWatch, new_ticket: NewTicket, now: float) -> None:
        self._plan = plan
        self._watch = watch
        self._ticket = new_ticket
        self.stage = ThawStage.THAWING
        self.report: ThawReport | None = None
        self.started_at = now
        self._schedule = ThawSchedule(plan.timeout_s, plan.patience_s, now)
        self.sent_at: float | None = None
        self._why_broken = "it is not connected"
        self._reset = plan.after_reset
        self._ask = plan.ask or plan.after_reset
        self.refused = False
        self.freeze_succeeded = plan.freeze_succeeded
        self._thaw = 0
        self._syncs: set[int] = set()
        self._before_ticket = 0
        self._after_ticket = 0
        self._before: FreezeState | None = None
        self._count: int | None = None
        self._repeated = False
        self._error: str | None = None
        self._thaws_while_frozen = 0
        self._waiting = False

    @property
    def done(self) -> bool:
        """Whether it has ended: the report is there."""
        return self.report is not None

    @property
    def watch_every_s(self) -> float:
        """How often the monitor should be looked at."""
        return WATCH_S

    @property
    def wants_look(self) -> bool:
        """Whether a conclusion waits for nothing but a look at the monitor: none does."""
        return False

    @property
    def ends_at(self) -> float:
        """When it is given up."""
        return self._schedule.ends_at

    @property
    def wakes_at(self) -> float:
        """When `on_tick` has something to do at the latest."""
        schedule, connecting = self._schedule, self.stage is ThawStage.RECONNECTING
        return min(schedule.ends_at, schedule.connect_at if connecting else schedule.retry_at)

    def wants_connection(self, now: float) -> bool:
        """Whether a try to connect is due; see `on_connected` and `on_connect_failed`."""
        return self.stage is ThawStage.RECONNECTING and now >= self._schedule.connect_at

    @property
    def waiting_for(self) -> str:
        """One clause that says what is waited for."""
        return texts.waiting_for(
            self.stage,
            self._watch,
            free=self._schedule.agent_is_free,
            why_broken=self._why_broken,
        )

    def start(self, now: float) -> list[Effect]:
        """Send the thaw, or what must come before it."""
        if self._watch.cause is Cause.MIGRATED:
            return self._migrated(now)
        if self._plan.dead:
            return self._end(now, True, texts.GONE, None)
        if self._watch.run_state is RunState.PANICKED:
            return self._panicked(now)
        if not self._plan.connected:
            self.stage = ThawStage.RECONNECTING
            return []
        if not self._plan.owned:
            return self._acquire()
        return self._begin(now, resync=not self._plan.clean)

    def on_reply(self, now: float, event: WireEvent) -> list[Effect]:
        """Take what came from the agent."""
        if self.stage is ThawStage.DONE:
            return []
        asking = self.stage is ThawStage.ASKING
        match event:
            case Reply(ticket, value) if ticket == self._before_ticket:
                return self._status_before(now, value)
            case Reply(ticket, value) if ticket == self._after_ticket:
                return self._status_after(now, value)
            case Reply(ticket, value) if ticket == self._thaw:
                return self._counted(now, value)
            case Failure(ticket, error_class, desc) if ticket == self._thaw:
                return self._errored(now, f"{error_class}: {desc}")
            case PassedOver(ticket) if ticket == self._thaw:
                report_event = ReportEvent(EventKind.NOTE, Level.WARNING, texts.DIED)
                self._repeated = True
                return [report_event, *self._begin(now, resync=False)]
            case PassedOver(ticket) if ticket == self._after_ticket:
                return self._check(now)
            case PassedOver(ticket) if asking and ticket == self._before_ticket:
                return self._begin(now, resync=False)
            case Failure(ticket, _, _) if ticket == self._before_ticket:
                return self._status_before(now, None)
            case Failure(ticket, _, _) if ticket == self._after_ticket:
                return self._status_after(now, None)
            case Synced(ticket) if ticket in self._syncs:
                return self._synced(now)
            case _:
                return []

    def on_look(self, now: float, view: MonitorView) -> list[Effect]:
        """Take one look at the monitor."""
        changes = self._watch.on_look(now, view)
        if self._watch.open is False:  # what no agent has read goes when we leave (§1.8)
            self._schedule.on_agent_free(now)
        return self.on_changes(now, changes)

    def on_changes(self, now: float, changes: list[Change]) -> list[Effect]:
        """Take what a look at the monitor showed, where the freeze before has fed the watch."""
        effects: list[Effect] = []
        for change in changes:
            if self.stage is ThawStage.DONE:
                break
            effects += self._changed(now, change)
        return effects

    def on_tick(self, now: float) -> list[Effect]:
        """Take the time."""
        if self.stage is ThawStage.DONE:
            return []
        if now >= self.ends_at:
            return self._give_up(now)
        if self.stage is ThawStage.RECONNECTING or now < self._schedule.retry_at:
            return []
        self._schedule.on_retried(now)
        if self._watch.open is False or self._watch.blocked:
            return []  # it would only pile up for the next agent
        return [self._resync()]

    def on_flood(self, _now: float, _text: str) -> list[Effect]:
        """Go on: a thaw is sent again by its own schedule, whatever comes."""
        return []

    def on_instruction(self, now: float, instruction: Instructions) -> list[Effect]:
        """Do what the operator asks: to cancel or to give up leaves the agent a moment."""
        if instruction in (Instruction.CANCEL, Instruction.GIVE_UP):
            self._schedule.give_up_soon(now)
        return []

    def on_freeze_settled(self, now: float) -> None:
        """Take that the freeze before it was answered, or never will be: the bound begins."""
        self._schedule.on_agent_free(now)

    def on_stream_ended(
        self, now: float, text: str, *, gone: bool | None, cause: Cause = Cause.CHANNEL_BROKEN
    ) -> list[Effect]:
        """Take that the channel broke: unless the VM has gone, another one is wanted."""
        if self.stage is ThawStage.DONE:
            return []
        if cause is Cause.MIGRATED:
            self._watch.on_cause(cause)
        if self.sent_at is not None:
            # It may have run: sent twice, its hook would run unpaired.
            self._repeated = True
            self._ask = self._ask or self.freeze_succeeded
        return self._disconnected(now, text, gone)

    def on_connected(self, now: float) -> list[Effect]:
        """Take that another channel was opened, and begin anew on that."""
        self._schedule.on_connected(now)
        return self._acquire()

    def on_connect_failed(self, now: float, text: str, *, gone: bool | None) -> list[Effect]:
        """Take that no channel could be opened: that is tried again, unless the VM has gone."""
        return self._disconnected(now, text, gone)

    def _disconnected(self, now: float, text: str, gone: bool | None) -> list[Effect]:
        if gone:
            self._watch.on_gone()
        if self._watch.cause is Cause.MIGRATED:
            return self._migrated(now)
        if gone:
            return self._end(now, True, texts.GONE, None)
        self.stage = ThawStage.RECONNECTING
        self._waiting, self._why_broken = False, text
        self._schedule.on_disconnected(now)
        return []

    # -- sending --------------------------------------------------------------------------

    def _acquire(self) -> list[Effect]:
        self.stage = ThawStage.ACQUIRING
        return [self._resync()]

    def _begin(self, now: float, *, resync: bool) -> list[Effect]:
        """Ask, or thaw, whichever is next; where no agent is there, wait for one."""
        self.stage = ThawStage.ASKING if self._ask else ThawStage.THAWING
        self._waiting = self._watch.open is False
        if self._waiting:
            return []
        effects: list[Effect] = [self._resync()] if resync else []
        return effects + ([self._ask_before()] if self._ask else self._send_thaw(now))

    def _send_thaw(self, now: float) -> list[Effect]:
        self.stage = ThawStage.THAWING
        self._thaw = self._ticket()
        self._waiting = False
        before = [self._ask_before()] if self._before is None else []
        self.sent_at = now
        self._schedule.on_sent(now, repeated=self._repeated)
        report_event = ReportEvent(EventKind.THAW_SENT, Level.INFO, "thaw sent")
        return [*before, Send(self._thaw, THAW), report_event]

    def _ask_before(self) -> Send:
        self._before_ticket = self._ticket()
        return Send(self._before_ticket, STATUS)

    def _resync(self) -> Resync:
        ticket = self._ticket()
        self._syncs.add(ticket)
        return Resync(ticket)

    def _synced(self, now: float) -> list[Effect]:
        self._schedule.on_agent_free(now)
        self._schedule.on_synced()
        if self.stage is not ThawStage.ACQUIRING:
            return []
        return self._begin(now, resync=False)

    # -- answers --------------------------------------------------------------------------

    def _status_before(self, now: float, value: object) -> list[Effect]:
        self._schedule.on_agent_free(now)
        state = freeze_state(value)
        if not self._repeated:  # behind a thaw of ours it does not tell what was before
            self._before = state
        if self.stage is not ThawStage.ASKING:
            return []
        if state is not FreezeState.THAWED and self._plan.allowed:
            return self._send_thaw(now)
        if state is not FreezeState.THAWED:
            self.refused = True
            return self._unsettled(now, texts.not_ours(state))
        return self._end(now, True, texts.nothing_to_thaw(reset=self._reset), None)

    def _counted(self, now: float, value: object) -> list[Effect]:
        self._schedule.on_agent_free(now)
        number = file_systems_counted(value)
        if number is not None:
            self._count = (self._count or 0) + number
        text = f"the agent answered the thaw: {'no number' if number is None else number}"
        return [
            ReportEvent(EventKind.REPLY, Level.INFO, text, ThawAnswered(self._count)),
            *self._check(now),
        ]

    def _errored(self, now: float, error: str) -> list[Effect]:
        self._schedule.on_agent_free(now)
        self._error = error
        text = f"the agent answered the thaw with an error: {error}"
        report_event = ReportEvent(EventKind.REPLY, Level.WARNING, text, AnsweredWithError(error))
        return [report_event, *self._check(now)]

    def _check(self, now: float) -> list[Effect]:
        self.stage = ThawStage.CHECKING
        self._after_ticket = self._ticket()
        self._schedule.on_asked(now)
        return [Send(self._after_ticket, STATUS)]

    def _status_after(self, now: float, value: object) -> list[Effect]:
        state = freeze_state(value)
        if state is FreezeState.THAWED:
            return self._end(now, True, texts.thawed(self._count, self._error), None)
        self._thaws_while_frozen += 1
        if self._thaws_while_frozen >= MOST_THAWS_WHILE_FROZEN:
            return self._unsettled(now, texts.still_frozen(self._thaws_while_frozen, state))
        return self._send_thaw(now)

    # -- the monitor ----------------------------------------------------------------------

    def _changed(self, now: float, change: Change) -> list[Effect]:
        match change:
            case Change.GONE | Change.MIGRATED if self._watch.cause is Cause.MIGRATED:
                return self._migrated(now)
            case Change.GONE | Change.SHUTDOWN:
                return self._end(now, True, texts.GONE, None)
            case Change.PANICKED:
                return self._panicked(now)
            case Change.RESET:
                self._reset = self._ask = True
                self._schedule.on_agent_free(now)
                return []
            case Change.DEVICE_RESET:
                self._ask = True  # after a reset its hook would run unpaired
                return self._agent_anew(now) if self._watch.open else []
            case Change.OPENED | Change.RESTARTED:
                return self._agent_anew(now)
            case Change.RELEASED:
                self._schedule.retry_at_once(now)
                return []
            case _:
                return []

    def _agent_anew(self, now: float) -> list[Effect]:
        if self.stage is ThawStage.RECONNECTING:
            return []  # there is nothing to write to; a new channel begins with a sync
        # What was written may be lost with an agent, or may still run on this one: the answer to a
        # sync tells.
        return self._begin(now, resync=True) if self._waiting else [self._resync()]

    def _migrated(self, now: float) -> list[Effect]:
        step = f"thaw {self._plan.vm} from its new host"
        return self._end(now, False, texts.MIGRATED, step)

    def _panicked(self, now: float) -> list[Effect]:
        return self._end(now, False, texts.PANICKED, f"reset the guest {self._plan.vm}")

    # -- the end --------------------------------------------------------------------------

    def _give_up(self, now: float) -> list[Effect]:
        if self._reset:
            return self._end(now, True, texts.RESET, None)
        seconds = now - self.started_at
        return self._unsettled(now, texts.not_acknowledged(seconds, self.waiting_for))

    def _unsettled(self, now: float, reason: str) -> list[Effect]:
        return self._end(now, False, reason, texts.next_command(self._plan, self._watch))

    def _end(self, now: float, settled: bool, reason: str, step: str | None) -> list[Effect]:
        stuck = None
        if not settled:
            stuck = texts.why_stuck(
                self._watch,
                still_frozen=self._thaws_while_frozen >= MOST_THAWS_WHILE_FROZEN,
                connected=self.stage is not ThawStage.RECONNECTING,
            )
        self.stage = ThawStage.DONE
        found, sent = (self._before, self._count, self._error), self.sent_at is not None
        self.report = ThawReport(*found, settled, reason, step, self._repeated, stuck, sent)
        level = Level.INFO if settled else Level.ERROR
        kind = EventKind.THAWED if settled else EventKind.NOTE
        details = ThawEnded(self._count, round(now - self.started_at, 3))
        return [ReportEvent(kind, level, reason, details)]
