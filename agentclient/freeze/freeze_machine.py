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
ended, a reply that comes after all still revises the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentclient.freeze.certificate import conclude, learned
from agentclient.freeze.coverage import Coverage
from agentclient.freeze.effects import Effect, NewTicket, Resync, Send, Tell
from agentclient.freeze.evidence import Facts
from agentclient.freeze.port_watch import CHANGE_TEXT, DEATHS, RELEASED_BY, Change, PortWatch
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.freeze.verdict import (
    LEVELS,
    based_on,
    judge_cancelled,
    judge_error,
    judge_late,
    judge_lost,
    judge_nothing,
    judge_reply,
    judge_timeout,
)
from agentclient.freeze.window import LOST, WINDOWS_S, Window
from agentclient.model.durations import in_words
from agentclient.model.events import EventKind
from agentclient.model.outcome import Outcome
from agentclient.model.request import Schedule
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import ENDS, Cause, FreezeState, Level, OutcomeKind, Phase, Stuck
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

# How long the channel is read for a last reply once the port was seen closed; and as long again
from agentclient.protocol.qga_replies import file_systems_counted, freeze_state

# How long the channel is read for a last reply once the port was seen closed; and as long again
# where a new agent has opened it already, so that it can be asked what it knows.
DRAIN_S: Final = 0.3
# The agent has just answered: a status that takes longer is evidence that is missing.
VERIFY_S: Final = 5.0
# A guest that talks nonsense without end must not fill the log (P7).
MOST_NOISES: Final = 20
WATCH_S: Final = 0.25
WATCH_CLOSELY_S: Final = 0.05
# An agent that is restarted at once closes its port for some 0.1 s. Where QEMU does not count that
# (before 7.2, and without an id of the port), only looks as close as this see it.
WATCH_UNCOUNTED_S: Final = 0.03


class State(StrEnum):
    """Where the machine is."""

    PENDING = "pending"
    DRAINING = "draining"
    CHECKING = "checking"
    VERIFYING = "verifying"
    HELD = "held"
    RELEASED = "released"
    DONE = "done"


_PHASES: Final = {
    State.PENDING: Phase.PENDING,
    State.DRAINING: Phase.DRAINING,
    State.CHECKING: Phase.VERIFYING,
    State.VERIFYING: Phase.VERIFYING,
    State.HELD: Phase.HELD,
    State.RELEASED: Phase.THAWING,
    State.DONE: Phase.DONE,
}
_WAITING_FOR: Final = {
    State.PENDING: "the agent's answer to the freeze",
    State.DRAINING: "a last answer in the channel",
    State.CHECKING: "the agent's status",
    State.VERIFYING: "the agent's status",
    State.HELD: "the end of the hold",
    State.RELEASED: "the thaw",
    State.DONE: "nothing",
}


@dataclass(frozen=True, slots=True)
class FreezePlan:
    """What is to be frozen, and what was seen just before.

    Attributes:
        baseline: the monitor as it was before the freeze was sent.
        mounts: the mount points to freeze; empty for everything.
        coverage: what should freeze, None if the guest could not tell.
        covered_at: when that was asked (seconds of the monotonic clock).
    """

    schedule: Schedule
    baseline: MonitorView
    mounts: tuple[str, ...] = ()
    strict: bool = False
    coverage: Coverage | None = None
    covered_at: float = 0.0


class FreezeMachine:
    """One freeze, from its sending to its outcome.

    Args:
        plan: what is to be done.
        new_ticket: numbers for the requests.
        now: seconds of the monotonic clock.
    """

    def __init__(self, plan: FreezePlan, new_ticket: NewTicket, now: float) -> None:
        self._plan = plan
        self._ticket = new_ticket
        self.watch = PortWatch(plan.baseline, now)
        self.window: Window | None = None
        self.state = State.PENDING
        self.verdict: Outcome | None = None
        self.outcome: Outcome | None = None
        self.cancelled = False
        self.frozen: int | None = None
        self.started_at = now
        self.heard_at: float | None = None
        self.step = 1
        self.step_ends_at = now + plan.schedule.first_timeout_s
        self._hold_s = plan.schedule.hold_s
        self._freeze = 0
        self._status_ticket = 0
        self._sync_ticket = 0
        self._probes: set[int] = set()
        self._until = float("inf")
        self._looked = False
        self._status: FreezeState | None = None
        self._status_at: float | None = None
        self._replied_at: float | None = None
        self._written_before: int | None = None
        self._error: str | None = None
        self._passed = False
        self.apart: str | None = None
        self._noises = 0
        self._flooded = False

    # -- what the driver asks -------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the freeze's own reply may still come."""
        return self._replied_at is None and not self._passed

    @property
    def succeeded(self) -> bool:
        """Whether the agent has answered that it froze: then its status tells what is to be done.

        After a failed hook it says thawed, before a thaw and after it (protocol §3.8).
        """
        return self._replied_at is not None and self._error is None

    @property
    def ends_at(self) -> float:
        """When the bounded wait ends at the latest."""
        return self.started_at + self._plan.schedule.total_s

    @property
    def wakes_at(self) -> float:
        """When `on_tick` has something to do at the latest."""
        if self.state is State.PENDING:
            return self.step_ends_at
        if self.state is State.HELD and self.window is not None:
            return self.window.wakes_at
        return self._until

    @property
    def watch_every_s(self) -> float:
        """How often the monitor should be looked at."""
        if self.watches_by_looks:
            return WATCH_UNCOUNTED_S
        close = self.state in (State.DRAINING, State.VERIFYING)
        return WATCH_CLOSELY_S if close else WATCH_S

    @property
    def watches_by_looks(self) -> bool:
        """Whether a restart of the agent would be seen by looks alone, and is to be seen."""
        waiting = self.state in (State.PENDING, State.VERIFYING, State.HELD)
        return waiting and self.watch.uncounted

    @property
    def wants_look(self) -> bool:
        """Whether a conclusion waits for nothing but a look at the monitor."""
        if self.state is State.HELD and self.window is not None:
            return self.window.wants_look
        return self.state is State.VERIFYING and not self._looked

    @property
    def needs_thaw(self) -> bool:
        """Whether the freeze may have run, so that the thaw procedure must follow (P4)."""
        return self.state is State.RELEASED

    @property
    def phase(self) -> Phase:
        """Where the freeze is, in the words of the screen."""
        if self.state is State.HELD and self.window is not None and self.window.at_risk:
            return Phase.AT_RISK
        if self.state is State.PENDING and self.watch.blocked:
            return Phase.BLOCKED
        return _PHASES[self.state]

    @property
    def waiting_for(self) -> str:
        """One clause that says what is waited for."""
        if self.state is State.PENDING and self.watch.blocked:
            state = self.watch.run_state
            return f"the VM is {state}: {RELEASED_BY[state]}"
        return _WAITING_FOR[self.state]

    # -- what the driver tells ------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Send the freeze."""
        plan = self._plan
        self._freeze = self._ticket()
        command = FREEZE_LIST if plan.mounts else FREEZE
        arguments = {"mountpoints": list(plan.mounts)} if plan.mounts else None
        self.started_at = now
        self.step_ends_at = now + plan.schedule.first_timeout_s
        text = (
            f"freeze sent: waiting up to {in_words(plan.schedule.total_s)} in "
            f"{plan.schedule.steps} steps, the first {in_words(plan.schedule.first_timeout_s)}"
        )
        return [
            Send(self._freeze, command, arguments),
            Tell(EventKind.SENT, Level.INFO, text, {"total_s": plan.schedule.total_s}),
        ]

    def on_reply(self, now: float, event: WireEvent) -> list[Effect]:
        """Take what came from the agent."""
        if isinstance(event, Dropped):
            return self._noise(event)
        self.heard_at = now
        if self.state is State.HELD and self.window is not None:
            return self._held(now, self.window.on_reply(event))
        match event:
            case Reply(ticket, value) if ticket == self._freeze:
                return self._replied(now, value)
            case Failure(ticket, error_class, desc) if ticket == self._freeze:
                return self._failed(now, f"{error_class}: {desc}")
            case PassedOver(ticket) if ticket == self._freeze:
                self._passed = True
            case Reply(ticket, value) if ticket == self._status_ticket:
                return self._status_answered(now, value)
            case Failure(ticket, _, _) | PassedOver(ticket) if ticket == self._status_ticket:
                return self._status_answered(now, None)
            case Reply(ticket, value) if ticket in self._probes:
                return self._probe_answered(now, value)
            case Synced(ticket) if ticket == self._sync_ticket:
                return self._synced(now)
        return []

    def on_look(self, now: float, view: MonitorView) -> list[Effect]:
        """Take one look at the monitor."""
        changes = self.watch.on_look(now, view)
        if self._replied_at is not None and self._written_before is None:
            # The driver hands over what it has read before it looks: this look began after the
            # answer. An older one would count what was flushed before the guest was frozen.
            self._written_before = view.written_bytes
        effects: list[Effect] = [self._tell(now, change) for change in changes]
        if self.state is State.HELD and self.window is not None:
            return self._held(now, effects + self.window.on_changes(now, changes))
        for change in changes:
            effects += self._changed(now, change)
        if self.state is State.VERIFYING and view.port_open is not None:
            self._looked = True
            if not self._status_ticket:
                effects += self._conclude(now, judge_reply(self._facts(now)))
        return effects

    def on_tick(self, now: float) -> list[Effect]:
        """Take the time."""
        if now < self.wakes_at:
            return []
        match self.state:
            case State.PENDING:
                return self._next_step(now)
            case State.DRAINING:
                return self._drained(now)
            case State.CHECKING:
                return self._lost(now, "no status was answered after the error")
            case State.VERIFYING:
                return self._conclude(now, judge_reply(self._facts(now)))
            case State.HELD if self.window is not None:
                return self._held(now, self.window.on_tick(now))
            case _:
                return []

    def cancel(self, now: float) -> list[Effect]:
        """Stop waiting, and thaw as soon as the agent answers; a freeze can't be called back."""
        if self.cancelled or self.state in (State.RELEASED, State.DONE):
            return []
        self.cancelled = True
        text = "cancelled: thawing now"
        if self.state is State.HELD:
            return [Tell(EventKind.CANCELLED, Level.WARNING, text), *self.end_hold(now)]
        if self._replied_at is not None:
            tell = Tell(EventKind.CANCELLED, Level.WARNING, text)
            return [tell, *self._conclude(now, judge_reply(self._facts(now)))]
        self._release()
        left = in_words(round(max(0.0, self.ends_at - now)))
        text = (
            "cancelled: a thaw is queued behind the freeze, and runs as soon as the agent can; "
            f"it is waited for as long as before, {left} at the most"
        )
        return [Tell(EventKind.CANCELLED, Level.WARNING, text)]

    def end_hold(self, now: float) -> list[Effect]:
        """Thaw now: the window has served its purpose. Before the verdict it shortens the hold."""
        self._hold_s = 0.0
        if self.window is None or self.state is not State.HELD:
            return []
        return self._held(now, self.window.end(now))

    def extend_hold(self, seconds: float) -> list[Effect]:
        """Hold the window for longer, as long as a window may be held at the most."""
        most_s = self._plan.schedule.maximum_hold_s
        more_s = 0.0
        if self.window is not None and self.state is State.HELD:
            more_s = self.window.extend(seconds, most_s)
        if seconds < 0:
            return []  # who bounds it tells why
        if not more_s:
            text = f"the hold is not extended: it is over, or at its most, {in_words(most_s)}"
            return [Tell(EventKind.NOTE, Level.WARNING, text)]
        text = f"the hold is extended by {in_words(more_s)}"
        return [Tell(EventKind.NOTE, Level.WARNING, text, {"extended_s": more_s})]

    def cut_short(self, now: float, why: str) -> list[Effect]:
        """Somebody else has ended the window before its time: a copy made in it is not whole."""
        if self.window is None or self.state is not State.HELD:
            return []
        self.window.break_now(f"the hold was cut short: {why}")
        return self._held(now, [])

    def abandon_hold(self) -> None:
        """Thaw without a last look: somebody is in a hurry."""
        if self.state is State.HELD:
            self._release()

    def on_flood(self, now: float, text: str) -> list[Effect]:
        """Nothing but noise comes: no answer can be waited for, and a thaw is due at once."""
        if self._flooded or self.state in (State.RELEASED, State.DONE):
            return []
        self._flooded = True
        how = f"the agent's channel is flooded: {text}"
        tell = Tell(EventKind.NOTE, Level.ERROR, how)
        if self.state is State.HELD:
            return [tell, *self.end_hold(now)]
        if self._error is None and self._replied_at is not None:
            return [tell, *self._conclude(now, judge_reply(self._facts(now)))]
        self.watch.explain(Cause.CHANNEL_BROKEN)
        return [tell, *self._lost(now, how)]

    def on_stream_ended(self, now: float, text: str) -> list[Effect]:
        """The channel broke: nothing more will come through it."""
        self._passed = self._passed or self._replied_at is None
        self.watch.explain(Cause.CHANNEL_BROKEN)
        self.watch.ever_closed = True
        if self.state in (State.RELEASED, State.DONE):
            return []
        if self.state is State.HELD and self.window is not None:
            self.window.break_now(f"the channel broke while the freeze was held: {text}")
            return self._held(now, [])
        return self._lost(now, f"the channel broke: {text}")

    def on_thawed(self, now: float, report: ThawReport, *, taken: bool = False) -> list[Effect]:
        """Take the thaw's result, and conclude.

        Args:
            now: seconds of the monotonic clock.
            report: the result.
            taken: it was the holder's thaw: nobody has watched the window to its end, so that it
                can't be certified.
        """
        effects: list[Effect] = []
        if self.verdict is None:
            never = self._passed or self.watch.ever_closed
            effects += self._conclude(now, judge_cancelled(self._facts(now), never=never))
        assert self.verdict is not None
        vague, known = (Cause.CHANNEL_BROKEN, Cause.VM_GONE), (Cause.VM_GONE, Cause.MIGRATED)
        if self.verdict.cause in vague and self.watch.cause in known:
            self.verdict = self.verdict._replace(cause=self.watch.cause)  # why is known by now
        better = learned(self.verdict, report)
        if better is not self.verdict:
            effects += self._revised(now, better)
        seconds = now - self.started_at
        outcome = conclude(self.verdict, report, self.window, self.watch, seconds)
        if outcome.settled and outcome.cause is None and self.watch.cause in ENDS:
            outcome = outcome._replace(cause=self.watch.cause)  # why no guest writes again
        if not outcome.settled:  # an agent that wakes up may run it yet
            outcome = outcome._replace(queued=self.pending and report.stuck is Stuck.SILENT)
        if self.apart is not None:
            reason = f"{outcome.reason}; its group was not frozen together: {self.apart}"
            outcome = outcome._replace(certified=False, apart=True, reason=reason)
        return effects + self._done(outcome._replace(certified=False) if taken else outcome)

    # -- pending --------------------------------------------------------------------------

    def _next_step(self, now: float) -> list[Effect]:
        schedule = self._plan.schedule
        if self.step >= schedule.steps:
            return self._conclude(now, judge_timeout(self._facts(now), schedule.total_s))
        self.step += 1
        self.step_ends_at += schedule.probe_timeout_s
        left_s = max(0.0, self.ends_at - now)
        text = (
            f"no answer yet: step {self.step} of {schedule.steps}, a status is queued behind the "
            f"freeze; {in_words(round(left_s))} left{self._what_is_seen()}"
        )
        fields = {"step": self.step, "steps": schedule.steps, "left_s": round(left_s, 1)}
        return [self._probe(), Tell(EventKind.STEP, Level.INFO, text, fields)]

    def _probe(self) -> Send:
        ticket = self._ticket()
        self._probes.add(ticket)
        return Send(ticket, STATUS)

    def _what_is_seen(self) -> str:
        words = {True: "; the agent has read it", False: "; the agent has not read it", None: ""}
        written = self.watch.written_bytes
        tail = "" if written is None else f"; {written} bytes written since"
        return words[self.watch.read] + tail

    def _noise(self, event: Dropped) -> list[Effect]:
        if event.text == SENTINEL_ERROR:
            return []
        level = Level.WARNING if event.violation else Level.DEBUG
        self._noises += 1
        if self._noises > MOST_NOISES:
            return []
        more = "; further ones are not told" if self._noises == MOST_NOISES else ""
        tell = Tell(EventKind.NOTE, level, f"dropped from the channel: {event.text}{more}")
        if event.violation and self.state is State.PENDING and not self._probes:
            # It may have been the freeze's own answer: an agent that talks can be asked at once.
            return [tell, self._probe()]
        return [tell]

    def _replied(self, now: float, value: object) -> list[Effect]:
        self._replied_at = now
        self.frozen = file_systems_counted(value)
        said = "no number" if self.frozen is None else self.frozen
        text = f"the agent answered the freeze: {said}"
        fields = {"frozen": self.frozen}
        effects: list[Effect] = [Tell(EventKind.REPLY, Level.INFO, text, fields)]
        if self.state in (State.RELEASED, State.DONE):
            return effects + self._late(now)
        if self.frozen == 0:
            return effects + self._conclude(now, judge_nothing(self._facts(now)))
        if self.frozen is None or self.watch.ever_closed:
            return effects + self._conclude(now, judge_reply(self._facts(now)))
        self._looked = not self.watch.visible
        return [*effects, self._ask_status(State.VERIFYING, now)]

    def _failed(self, now: float, error: str) -> list[Effect]:
        self._replied_at = now
        self._error = error
        text = f"the agent answered the freeze with an error: {error}"
        effects: list[Effect] = [Tell(EventKind.REPLY, Level.ERROR, text, {"error": error})]
        if self.state in (State.RELEASED, State.DONE):
            return effects + self._late(now)
        return [*effects, self._ask_status(State.CHECKING, now)]

    def _ask_status(self, state: State, now: float) -> Send:
        self.state = state
        self._until = now + (DRAIN_S if state is State.DRAINING else VERIFY_S)
        self._status_ticket = self._ticket()
        return Send(self._status_ticket, STATUS)

    def _probe_answered(self, now: float, value: object) -> list[Effect]:
        state = freeze_state(value)
        tell = Tell(EventKind.REPLY, Level.INFO, f"the agent's status: {state or 'unreadable'}")
        if self.state is not State.PENDING or not self._passed:
            return [tell]
        # The probe stood behind the freeze and was answered without it (protocol §4).
        self._status, self._status_at = state, now
        return [tell, *self._lost(now, "a later command was answered, the freeze was not")]

    # -- the port -------------------------------------------------------------------------

    def _tell(self, now: float, change: Change) -> Tell:
        fields = {"change": str(change), "run_state": str(self.watch.run_state)}
        if change is Change.BLOCKED:
            state = self.watch.run_state
            text = f"blocked by the host: the VM is {state}; {RELEASED_BY[state]}"
            return Tell(EventKind.BLOCKED, Level.WARNING, text, fields)
        if change is Change.RELEASED:
            text = f"no more blocked by the host, after {in_words(self.watch.blocked_s(now))}"
            return Tell(EventKind.BLOCKED, Level.INFO, text, fields)
        level = Level.INFO if change in (Change.OPENED, Change.HINT) else Level.WARNING
        return Tell(EventKind.PORT, level, CHANGE_TEXT[change], fields)

    def _changed(self, now: float, change: Change) -> list[Effect]:
        if change in (Change.BLOCKED, Change.RELEASED):
            return []
        match self.state:
            case State.PENDING | State.CHECKING if change is not Change.OPENED:
                return self._suspect(now, change)
            case State.DRAINING if change in DEATHS:
                return self._lost(now, CHANGE_TEXT[change])
            case State.DRAINING if change in (Change.OPENED, Change.RESTARTED):
                # A new agent is there: it will answer the sync, so it is worth a little more time.
                self._until = now + DRAIN_S
            case State.VERIFYING if change in DEATHS:
                return self._lost(now, CHANGE_TEXT[change])
            case State.VERIFYING if self.watch.ever_closed:
                return self._conclude(now, judge_reply(self._facts(now)))
        return []

    def _suspect(self, now: float, change: Change) -> list[Effect]:
        if change in DEATHS:
            return self._lost(now, CHANGE_TEXT[change])
        self.state = State.DRAINING
        self._until = now + DRAIN_S
        text = "reading what the channel still holds before anything is concluded"
        self._sync_ticket = self._ticket()
        return [Resync(self._sync_ticket), Tell(EventKind.DRAINING, Level.INFO, text)]

    def _synced(self, now: float) -> list[Effect]:
        if self.state in (State.PENDING, State.DRAINING) and self._passed:
            return [self._ask_status(State.DRAINING, now)]
        return []

    def _drained(self, now: float) -> list[Effect]:
        asleep = self.watch.blocked and not self.watch.open
        if (asleep or not self.watch.ever_closed) and not self._passed:
            # Suspended: the true reply may come after the wake-up (§1.13). Or another port of the
            # same device moved: the sync stays queued behind the freeze, and proves it either way.
            self.state = State.PENDING
            self._until = float("inf")
            return []
        return self._lost(now, "the port closed and no answer was left in the channel")

    # -- verdicts -------------------------------------------------------------------------

    def _status_answered(self, now: float, value: object) -> list[Effect]:
        self._status_ticket = 0
        self._status, self._status_at = freeze_state(value), now
        text = f"the agent's status: {self._status or 'unreadable'}"
        effects: list[Effect] = [Tell(EventKind.REPLY, Level.INFO, text)]
        match self.state:
            case State.DRAINING:
                self.watch.answered_anew()
                effects += self._lost(now, "a new agent answers, the freeze was not answered")
            case State.CHECKING:
                effects += self._lost(now, "an error")
            case State.VERIFYING if self._looked:
                effects += self._conclude(now, judge_reply(self._facts(now)))
        return effects

    def _lost(self, now: float, how: str) -> list[Effect]:
        facts = self._facts(now)
        if self._error is not None:
            return self._conclude(now, judge_error(facts, self._error))
        if self.watch.device_reset and not self.watch.reset:
            how = f"{how}; {CHANGE_TEXT[Change.DEVICE_RESET]}"
        return self._conclude(now, judge_lost(facts, how))

    def _conclude(self, now: float, verdict: Outcome) -> list[Effect]:
        self.verdict = verdict._replace(seconds=round(now - self.started_at, 3))
        text = f"{verdict.kind}: {verdict.reason}"
        fields = {"outcome": self.verdict}
        effects: list[Effect] = [Tell(EventKind.VERDICT, LEVELS[verdict.kind], text, fields)]
        strict = self._plan.strict and verdict.kind is OutcomeKind.UNVERIFIED
        holdable = verdict.kind in (OutcomeKind.VERIFIED, OutcomeKind.UNVERIFIED) and not strict
        if not holdable or self.cancelled or self._flooded or self.frozen is None:
            self._release()
            return effects
        return effects + self._hold(now)

    def _late(self, now: float) -> list[Effect]:
        """An answer came after the verdict, or after the cancellation."""
        before = self.verdict.kind if self.verdict else None
        late = judge_late(self._facts(now), before, self._error)
        return self._conclude(now, late) if before is None else self._revised(now, late)

    def _revised(self, now: float, revised: Outcome) -> list[Effect]:
        self.verdict = revised._replace(seconds=round(now - self.started_at, 3))
        text = f"revised to {revised.kind}: {revised.reason}"
        fields = {"outcome": self.verdict}
        return [Tell(EventKind.REVISED, LEVELS[revised.kind], text, fields)]

    def _done(self, outcome: Outcome) -> list[Effect]:
        self.state = State.DONE
        self.outcome = outcome
        level = Level.GOOD if outcome.certified else LEVELS[outcome.kind]
        word = "certified" if outcome.certified else str(outcome.kind)
        text = f"outcome: {word}: {outcome.reason}"
        if not outcome.settled:
            level = Level.ERROR
        return [Tell(EventKind.OUTCOME, level, text, {"outcome": outcome})]

    # -- held -----------------------------------------------------------------------------

    def _hold(self, now: float) -> list[Effect]:
        assert self.frozen is not None
        since = now if self._replied_at is None else self._replied_at
        whole = not self._plan.mounts
        windows = self._plan.coverage is not None and self._plan.coverage.windows
        self.window = Window(
            since,
            self._hold_s,
            self.watch,
            self._ticket,
            written_before=self._written_before,
            whole=whole,
            windows=windows,
        )
        if self._hold_s <= 0:
            self._release()
            return []
        self.state = State.HELD
        text = f"held for up to {in_words(self._hold_s)}"
        bridge_s = self._plan.schedule.bridge_s
        if bridge_s:
            own = in_words(self._hold_s - bridge_s)
            text = f"held for {own} once its group is frozen, waited for up to {in_words(bridge_s)}"
        tell = Tell(EventKind.HELD, Level.GOOD, text, {"hold_s": self._hold_s})
        if windows and self._hold_s > WINDOWS_S:
            return [tell, Tell(EventKind.NOTE, Level.WARNING, f"beware: {LOST}")]
        return [tell]

    def _held(self, now: float, effects: list[Effect]) -> list[Effect]:
        """Take over what the window has concluded."""
        assert self.window is not None
        assert self.verdict is not None
        broken = self.window.broken
        if broken is not None and self.verdict.kind is OutcomeKind.VERIFIED:
            effects += self._revised(now, based_on(self._facts(now), OutcomeKind.BROKEN, broken))
        if self.window.over:
            self._release()
        return effects

    def _release(self) -> None:
        self.state = State.RELEASED
        self._until = float("inf")

    def _facts(self, now: float) -> Facts:
        watch = self.watch
        # A port that was not seen since the answer proves nothing about what came before it.
        since = self._replied_at or self.started_at
        seen = watch.seen_at is not None and watch.seen_at >= since
        return Facts(
            now=now,
            replied_at=self._replied_at,
            frozen=self.frozen,
            error=self._error,
            coverage=self._plan.coverage,
            covered_at=self._plan.covered_at,
            status=self._status,
            status_at=self._status_at,
            port_closed=watch.ever_closed if seen or watch.ever_closed else None,
            port_at=watch.seen_at,
            port_uncounted=watch.uncounted,
            port_problem=watch.view.problem or (None if watch.visible else "it has no state"),
            cause=watch.cause,
            read=watch.read,
            strict=self._plan.strict,
            cancelled=self.cancelled,
        )
