"""The bounded freeze as a pure state machine (protocol §4, promise P3).

In: replies, looks at the monitor, ticks, the operator's instructions. Out: requests to write,
things to tell, one `Outcome`. It has no clock and no thread, so that an hour is tested in
microseconds.

    pending ──reply──▶ verifying ──evidence──▶ held ──hold ends──▶ released ──thawed──▶ done
       │  ▲                                      │                    ▲
       │  └─ only another port moved             └─ port closed: at risk; thawed: broken
       ├──port closed──▶ draining ──────────────verdict───────────────┤
       ├──error──▶ checking ─────────────────────verdict──────────────┤
       └──schedule over, cancelled──▶ timeout ───verdict──────────────┘

*Released* is where the thaw procedure (`agentclient.freeze.thaw_machine`) takes over; until it has
ended, a reply that comes after all still revises the verdict (`agentclient.freeze.judgement`).
"""

from __future__ import annotations

from typing import Final

from agentclient.freeze import freeze_texts as texts
from agentclient.freeze.effects import Effect, NewTicket, ReportEvent, Resync, Send
from agentclient.freeze.freeze_plan import FreezePlan, FreezeStage
from agentclient.freeze.freeze_schedule import FreezeSchedule, watch_every_s
from agentclient.freeze.judgement import Judgement
from agentclient.freeze.port_watch import CHANGE_TEXT, GUEST_ENDED, Change, PortWatch
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.freeze.window import Window
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause
from agentclient.protocol.qga_commands import FREEZE, FREEZE_LIST, STATUS
from agentclient.protocol.qga_events import (
    SENTINEL_ERROR,
    Dropped,
    Failure,
    PassedOver,
    Reply,
    Synced,
    WireEvent,
)
from agentclient.protocol.qga_replies import file_systems_counted, freeze_state

_OVER: Final = (FreezeStage.RELEASED, FreezeStage.DONE)
_CONCLUDED: Final = (FreezeStage.HELD, *_OVER)


class FreezeMachine:
    """One freeze, from its sending to its outcome.

    Args:
        plan: what is to be done.
        new_ticket: numbers for the requests.
        now: seconds of the monotonic clock.

    Attributes:
        stage: where it is. From *released* on a thaw must follow: the freeze may have run (P4).
        schedule: its times.
        watch: what changed at the agent's port, and with the VM.
        window: the window that is held, or was; None if there is none.
        judgement: the verdict, and what it rests on.
        heard_at: when the agent last answered anything; None if it has not.
    """

    def __init__(self, plan: FreezePlan, new_ticket: NewTicket, now: float) -> None:
        self._plan = plan
        self._ticket = new_ticket
        self.watch = PortWatch(plan.baseline, now)
        self.window: Window | None = None
        self.stage = FreezeStage.PENDING
        self.schedule = FreezeSchedule(plan.schedule, now)
        self.judgement = Judgement(plan, self.watch, self.schedule)
        self._seen = self.judgement.seen
        self.heard_at: float | None = None
        self._hold_s = plan.schedule.hold_s
        self._freeze = 0
        self._status_ticket = 0
        self._sync_ticket = 0
        self._probes: set[int] = set()
        self._looked = False
        self._dropped = 0
        self._flooded = False

    @property
    def wakes_at(self) -> float:
        """When `on_tick` has something to do at the latest."""
        if self.stage is FreezeStage.PENDING:
            return self.schedule.step_ends_at
        return self._held.wakes_at if self._held is not None else self.schedule.until

    @property
    def watch_every_s(self) -> float:
        """How often the monitor should be looked at."""
        return watch_every_s(self.stage, uncounted=self.watch.uncounted)

    @property
    def wants_look(self) -> bool:
        """Whether a conclusion waits for nothing but a look at the monitor."""
        if self._held is not None:
            return self._held.wants_look
        return self.stage is FreezeStage.VERIFYING and not self._looked

    # -- what the driver tells ------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Send the freeze."""
        plan = self._plan
        self._freeze = self._ticket()
        command = FREEZE_LIST if plan.mounts else FREEZE
        arguments = {"mountpoints": list(plan.mounts)} if plan.mounts else None
        self.schedule.on_sent(now)
        return [Send(self._freeze, command, arguments), texts.sent(plan.schedule)]

    def on_reply(self, now: float, event: WireEvent) -> list[Effect]:
        """Take what came from the agent."""
        if isinstance(event, Dropped):
            return self._noted(event)
        self.heard_at = now
        if self._held is not None:
            return self._after(now, self._held, self._held.on_reply(event))
        match event:
            case Reply(ticket, value) if ticket == self._freeze:
                return self._replied(now, file_systems_counted(value), None)
            case Failure(ticket, error_class, desc) if ticket == self._freeze:
                return self._replied(now, None, f"{error_class}: {desc}")
            case PassedOver(ticket) if ticket == self._freeze:
                self._seen.passed_over = True
            case Reply(ticket, value) if ticket == self._status_ticket:
                return self._status_answered(now, value)
            case Failure(ticket, _, _) | PassedOver(ticket) if ticket == self._status_ticket:
                return self._status_answered(now, None)
            case Reply(ticket, value) if ticket in self._probes:
                return self._probe_answered(now, value)
            case Synced(ticket) if ticket == self._sync_ticket and self._seen.passed_over:
                if self.stage in (FreezeStage.PENDING, FreezeStage.DRAINING):
                    return [self._ask_status(FreezeStage.DRAINING, now)]
        return []

    def on_look(self, now: float, view: MonitorView) -> list[Effect]:
        """Take one look at the monitor."""
        changes = self.watch.on_look(now, view)
        self._seen.on_look(view.written_bytes)
        effects: list[Effect] = [texts.port_changed(change, self.watch, now) for change in changes]
        if self._held is not None:
            return self._after(now, self._held, effects + self._held.on_changes(now, changes))
        for change in changes:
            effects += self._changed(now, change)
        if self.stage is FreezeStage.VERIFYING and view.port_open is not None:
            self._looked = True
            if not self._status_ticket:
                effects += self._answered(now)
        return effects

    def on_tick(self, now: float) -> list[Effect]:
        """Take the time."""
        if now < self.wakes_at:
            return []
        match self.stage:
            case FreezeStage.PENDING:
                return self._next_step(now)
            case FreezeStage.DRAINING:
                return self._drained(now)
            case FreezeStage.CHECKING:
                return self._lost(now, "no status was answered after the error")
            case FreezeStage.VERIFYING:
                return self._answered(now)
            case FreezeStage.HELD if self._held is not None:
                return self._after(now, self._held, self._held.on_tick(now))
            case _:
                return []

    def cancel(self, now: float) -> list[Effect]:
        """Stop waiting: thaw as soon as the agent answers, since a freeze can't be called back."""
        if self.judgement.cancelled or self.stage in _OVER:
            return []
        self.judgement.cancelled = True
        if self.stage is FreezeStage.HELD:
            return [texts.cancelled(None), *self.end_hold(now)]
        if self._seen.replied:
            return [texts.cancelled(None), *self._answered(now)]
        self._release()
        return [texts.cancelled(max(0.0, self.schedule.ends_at - now))]

    def end_hold(self, now: float) -> list[Effect]:
        """Thaw now: the window has served its purpose. Before the verdict, hold no window."""
        self._hold_s = 0.0
        held = self._held
        return [] if held is None else self._after(now, held, held.end(now))

    def extend_hold(self, seconds: float) -> list[Effect]:
        """Hold the window for so many seconds more, but for no longer than a window may be held."""
        most_s = self._plan.schedule.maximum_hold_s
        more_s = 0.0 if self._held is None else self._held.extend(seconds, most_s)
        if seconds < 0:
            return []  # who bounds it tells why
        return [texts.extended(more_s, most_s)]

    def break_window(self, now: float, why: str) -> list[Effect]:
        """Take that the window is over before its time: no copy that was made in it is whole."""
        if self._held is None:
            return []
        self._held.break_now(why)
        return self._after(now, self._held, [])

    def abandon_hold(self) -> None:
        """Thaw without a last look at the monitor: the operator gives up."""
        if self.stage is FreezeStage.HELD:
            self._release()

    def on_flood(self, now: float, text: str) -> list[Effect]:
        """Take that nothing but noise comes: no answer is waited for, and a thaw is due at once."""
        if self._flooded or self.stage in _OVER:
            return []
        self._flooded = True
        how = f"the agent's channel is flooded: {text}"
        if self.stage is FreezeStage.HELD:
            return [texts.flooded(how), *self.end_hold(now)]
        if self._seen.succeeded:
            return [texts.flooded(how), *self._answered(now)]
        self.watch.on_cause(Cause.CHANNEL_BROKEN)
        return [texts.flooded(how), *self._lost(now, how)]

    def on_stream_ended(self, now: float, text: str, cause: Cause) -> list[Effect]:
        """Take that the channel broke: nothing more will come through it."""
        self._seen.passed_over = self._seen.passed_over or not self._seen.replied
        self.watch.on_cause(cause)
        self.watch.ever_closed = True
        if self.stage in _OVER:
            return []
        if self._held is not None:
            return self.break_window(now, texts.broke(text, cause, held=True))
        return self._lost(now, texts.broke(text, cause))

    def on_thawed(
        self, now: float, report: ThawReport, *, taken: bool = False, group_error: str | None = None
    ) -> list[Effect]:
        """Take the thaw's report, and conclude the outcome; see `Judgement.on_thawed`."""
        report_events = self.judgement.on_thawed(
            now, report, self.window, taken=taken, group_error=group_error
        )
        self.stage = FreezeStage.DONE
        return [*report_events]

    # -- pending --------------------------------------------------------------------------

    def _next_step(self, now: float) -> list[Effect]:
        schedule = self.schedule
        if not schedule.next_step():
            return self._concluded(now, self.judgement.on_timeout(now))
        left_s = max(0.0, schedule.ends_at - now)
        step = texts.step(schedule.step, self._plan.schedule, left_s, self.watch)
        return [self._probe(), step]

    def _probe(self) -> Send:
        ticket = self._ticket()
        self._probes.add(ticket)
        return Send(ticket, STATUS)

    def _noted(self, event: Dropped) -> list[Effect]:
        if event.text == SENTINEL_ERROR:
            return []
        self._dropped += 1
        report_event = texts.dropped(event, self._dropped)
        if report_event is None:
            return []
        if event.violation and self.stage is FreezeStage.PENDING and not self._probes:
            # It may have been the freeze's own answer: an agent that talks can be asked at once.
            return [report_event, self._probe()]
        return [report_event]

    def _replied(self, now: float, frozen: int | None, error: str | None) -> list[Effect]:
        self._seen.on_reply(now, frozen, error)
        report_event = texts.replied(frozen) if error is None else texts.failed(error)
        if self.stage in _OVER:
            return [report_event, self.judgement.on_late_answer(now)]  # the thaw is due as before
        if error is not None:
            return [report_event, self._ask_status(FreezeStage.CHECKING, now)]
        if not frozen or self.watch.ever_closed:
            return [report_event, *self._answered(now)]
        self._looked = not self.watch.visible
        return [report_event, self._ask_status(FreezeStage.VERIFYING, now)]

    def _ask_status(self, stage: FreezeStage, now: float) -> Send:
        self.stage = stage
        self.schedule.wait(now, stage)
        self._status_ticket = self._ticket()
        return Send(self._status_ticket, STATUS)

    def _probe_answered(self, now: float, value: object) -> list[Effect]:
        state = freeze_state(value)
        report_event = texts.status(state)
        if self.stage is not FreezeStage.PENDING or not self._seen.passed_over:
            return [report_event]
        # The probe stood behind the freeze and was answered without it (protocol §4).
        self._seen.on_status(now, state)
        return [report_event, *self._lost(now, "a later command was answered, the freeze was not")]

    # -- the port -------------------------------------------------------------------------

    def _changed(self, now: float, change: Change) -> list[Effect]:
        if change in (Change.BLOCKED, Change.RELEASED) or self.stage in _CONCLUDED:
            return []
        if change in GUEST_ENDED:
            return self._lost(now, CHANGE_TEXT[change])
        match self.stage:
            case FreezeStage.PENDING | FreezeStage.CHECKING if change is not Change.OPENED:
                return self._drain(now)
            case FreezeStage.DRAINING if change in (Change.OPENED, Change.RESTARTED):
                # A new agent is there: it will answer the sync, so it is worth a little more time.
                self.schedule.drain_once_more(now)
            case FreezeStage.VERIFYING if self.watch.ever_closed:
                return self._answered(now)
        return []

    def _drain(self, now: float) -> list[Effect]:
        self.stage = FreezeStage.DRAINING
        self.schedule.wait(now, self.stage)
        self._sync_ticket = self._ticket()
        return [Resync(self._sync_ticket), texts.draining()]

    def _drained(self, now: float) -> list[Effect]:
        asleep = self.watch.blocked and not self.watch.open
        if (asleep or not self.watch.ever_closed) and not self._seen.passed_over:
            # Suspended: the true reply may come after the wake-up (§1.13). Or another port of the
            # same device moved: the sync stays queued behind the freeze, and proves it either way.
            self.stage = FreezeStage.PENDING
            self.schedule.wait_no_more()
            return []
        return self._lost(now, "the port closed and no answer was left in the channel")

    # -- verdicts -------------------------------------------------------------------------

    def _status_answered(self, now: float, value: object) -> list[Effect]:
        self._status_ticket = 0
        self._seen.on_status(now, freeze_state(value))
        effects: list[Effect] = [texts.status(self._seen.status)]
        match self.stage:
            case FreezeStage.DRAINING:
                self.watch.on_new_agent()
                effects += self._lost(now, "a new agent answers, the freeze was not answered")
            case FreezeStage.CHECKING:
                effects += self._lost(now, "an error")
            case FreezeStage.VERIFYING if self._looked:
                effects += self._answered(now)
        return effects

    def _answered(self, now: float) -> list[Effect]:
        return self._concluded(now, self.judgement.on_answered(now))

    def _lost(self, now: float, how: str) -> list[Effect]:
        return self._concluded(now, self.judgement.on_lost(now, how))

    def _concluded(self, now: float, report_event: ReportEvent) -> list[Effect]:
        """Go on from a verdict: hold the window, or thaw."""
        if self._flooded or not self.judgement.holdable():
            self._release()
            return [report_event]
        return [report_event, *self._hold(now)]

    # -- held -----------------------------------------------------------------------------

    def _hold(self, now: float) -> list[Effect]:
        replied_at = self._seen.replied_at
        self.window = Window(
            now if replied_at is None else replied_at,
            self._hold_s,
            self.watch,
            self._ticket,
            written_before=self._seen.written_before,
            whole=not self._plan.mounts,
            windows=self._plan.windows,
        )
        if self._hold_s <= 0:
            self._release()
            return []
        self.stage = FreezeStage.HELD
        return [*texts.held(self._hold_s, self._plan)]

    @property
    def _held(self) -> Window | None:
        """The window while it is held."""
        return self.window if self.stage is FreezeStage.HELD else None

    def _after(self, now: float, window: Window, effects: list[Effect]) -> list[Effect]:
        """Take what the window has concluded, with the effects that it asks for."""
        if window.broken is not None:
            effects += self.judgement.on_broken(now, window.broken)
        if window.over:
            self._release()
        return effects

    def _release(self) -> None:
        self.stage = FreezeStage.RELEASED
        self.schedule.wait_no_more()
