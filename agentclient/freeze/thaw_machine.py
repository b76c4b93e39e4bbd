"""The thaw procedure as a pure state machine (protocol §8.4, promise P4).

One sync with a fresh id and the thaw, written together: on a channel that is ours they may stand
behind a freeze that is still pending, and run right after it (§3.6). Then:

- unanswered: another sync after 1, 2, 4 … 30 s;
- a later sync answered without the thaw's reply: the thaw died with an agent, send it again;
- the port opened again, or an agent was restarted: sync and thaw again;
- an error: a failing thaw hook gives one although everything is thawed (§3.8), so ask the status;
- acknowledged: ask the status; still frozen: thaw again, a few times;
- the channel broke: connect again and again, since the guest may be frozen as long as its end is
  not proven (`agentclient.access.presence`); nothing is known to be ours on a new channel;
- the bound ran out: give up, and say what a person should do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentclient.freeze.coverage import count
from agentclient.freeze.effects import Effect, NewTicket, Resync, Send, Tell
from agentclient.freeze.port_watch import RELEASED_BY, Change, PortWatch
from agentclient.model.durations import in_words
from agentclient.model.events import EventKind
from agentclient.model.request import Extension, Instruction
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, FreezeState, Level, RunState, Stuck
from agentclient.protocol.qga_events import Failure, PassedOver, Reply, Synced, WireEvent
from agentclient.protocol.qga_replies import STATUS, file_systems_counted, freeze_state

THAW: Final = "guest-fsfreeze-thaw"
FIRST_RETRY_S: Final = 1.0
LAST_CHANCE_S: Final = 0.8
LONGEST_RETRY_S: Final = 30.0
MOST_THAWS_WHILE_FROZEN: Final = 3
WATCH_S: Final = 0.25
# After a try to connect that failed, or a channel that broke anew: the first wait, and the longest.
FIRST_RECONNECT_S: Final = 0.1
LONGEST_RECONNECT_S: Final = 1.0
GONE: Final = "the VM has gone: nothing is frozen any more"


@dataclass(frozen=True, slots=True)
class ThawReport:
    """What the thaw procedure found, for the final outcome.

    Attributes:
        before: the status that an agent gave before the thaw, None if none did.
        count: how many file systems the acknowledged thaws counted; None if none was answered.
        error: the thaw's error text, where the agent answered with one.
        settled: nothing is frozen any more, as far as evidence goes.
        reason: one sentence about how that is known, or why it isn't.
        next: what a person should do now; None if nothing.
        repeated: a thaw before died with its agent or its channel and may have run: the count may
            be short of it.
        sent: a thaw was sent; only where none was, no count means that nothing had to be thawed.
        stuck: why it isn't settled; None if it is.
        holder: the process that goes on in our place; None if there is none.
    """

    before: FreezeState | None
    count: int | None
    error: str | None
    settled: bool
    reason: str
    next: str | None
    repeated: bool = False
    stuck: Stuck | None = None
    sent: bool = False
    holder: int | None = None

    @property
    def thawed(self) -> int | None:
        """How many file systems were thawed; None if that isn't known."""
        return 0 if self.count is None and self.settled and not self.sent else self.count


@dataclass(frozen=True, slots=True)
class ThawPlan:
    """How a guest is to be thawed.

    Attributes:
        vm: the VM's id, for the command that a person is told.
        timeout_s: the bound, counted from when the agent is free to run the thaw.
        patience_s: how much longer a pending freeze before it may take.
        owned: a sync was answered on this channel; before that nothing else may be written.
        clean: the channel is owned and nothing is outstanding on it.
        connected: there is a channel; else one must be opened first.
        ask: thaw only if the agent says frozen, since the thaw hook would run unpaired
            otherwise (protocol §3.8): after a reset, or where nobody said that it must be done.
        allowed: what is found frozen may be thawed: it is ours, or a person decided (P4).
        after_reset: the guest was reset, so that nothing can be frozen any more.
        dead: the VM has gone or shut down: there is nothing to thaw.
        command: what a person runs to thaw it after all; empty: by its id.
        freeze_succeeded: the freeze before it was answered, and not with an error. Else its hook
            may have failed, so that an agent that says thawed may still owe the hook of a thaw
            (protocol §3.8).
    """

    vm: str
    timeout_s: float
    patience_s: float = 0.0
    owned: bool = True
    clean: bool = False
    connected: bool = True
    ask: bool = False
    allowed: bool = True
    after_reset: bool = False
    dead: bool = False
    command: str = ""
    freeze_succeeded: bool = True


class State(StrEnum):
    """Where the machine is."""

    RECONNECTING = "reconnecting"
    ACQUIRING = "acquiring"
    THAWING = "thawing"
    ASKING = "asking"
    CHECKING = "checking"
    DONE = "done"


class ThawMachine:
    """One thaw, from its sending to its acknowledgement or to giving up.

    Args:
        plan: what is to be done.
        watch: the port and the run state; shared with the freeze before it.
        new_ticket: numbers for the requests.
        now: seconds of the monotonic clock.

    Attributes:
        report: what it came to, once it has ended.
        refused: the guest is frozen, not provably by us, and nobody has decided to thaw it.
        freeze_succeeded: as in the plan; whoever drives the freeze before it may learn more.
    """

    def __init__(self, plan: ThawPlan, watch: PortWatch, new_ticket: NewTicket, now: float) -> None:
        self._plan = plan
        self._watch = watch
        self._ticket = new_ticket
        self.state = State.THAWING
        self.report: ThawReport | None = None
        self.started_at = now
        self.ends_at = now + plan.timeout_s + plan.patience_s
        self.sent_at: float | None = None
        self._free = plan.patience_s <= 0
        self._owned = plan.owned and plan.connected
        self._connect_at = now
        self._connect_wait_s = 0.0
        self._why_broken = "it is not connected"
        self._reset = plan.after_reset
        self._ask = plan.ask or plan.after_reset
        self.refused = False
        self.freeze_succeeded = plan.freeze_succeeded
        self._retry_s = FIRST_RETRY_S
        self._retry_at = now + FIRST_RETRY_S
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
    def wakes_at(self) -> float:
        """When `on_tick` has something to do at the latest."""
        connecting = self.state is State.RECONNECTING
        return min(self.ends_at, self._connect_at if connecting else self._retry_at)

    def wants_connection(self, now: float) -> bool:
        """Whether a try to connect is due; see `on_connected` and `on_connect_failed`."""
        return self.state is State.RECONNECTING and now >= self._connect_at

    @property
    def waiting_for(self) -> str:
        """One clause that says what is waited for."""
        if self._watch.blocked:
            return f"the VM is {self._watch.run_state}: {RELEASED_BY[self._watch.run_state]}"
        if self.state is State.RECONNECTING:
            return f"the agent's channel to be had again ({self._why_broken})"
        if self._watch.open is False:
            return "an agent to come back"
        if self.state is State.ACQUIRING:
            return "the agent to answer a sync"
        if not self._free:
            return "the agent to finish the freeze, then the thaw"
        return "the agent's answer to the thaw"

    def start(self, now: float) -> list[Effect]:
        """Send the thaw, or what must come before it."""
        if self._watch.cause is Cause.MIGRATED:
            return self._migrated(now)
        if self._plan.dead:
            return self._end(now, True, GONE, None)
        if self._watch.run_state is RunState.PANICKED:
            return self._panicked(now)
        if not self._plan.connected:
            self.state = State.RECONNECTING
            return []
        if not self._owned:
            return self._acquire()
        return self._begin(now, resync=not self._plan.clean)

    def on_reply(self, now: float, event: WireEvent) -> list[Effect]:
        """Take what came from the agent."""
        if self.state is State.DONE:
            return []
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
                text = "the thaw died with an agent: it is sent again"
                tell = Tell(EventKind.NOTE, Level.WARNING, text)
                self._repeated = True
                return [tell, *self._begin(now, resync=False)]
            case PassedOver(ticket) if ticket == self._after_ticket:
                return self._check(now)
            case PassedOver(ticket) if ticket == self._before_ticket and self.state is State.ASKING:
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
            self._agent_is_free(now)
        return self.on_changes(now, changes)

    def on_changes(self, now: float, changes: list[Change]) -> list[Effect]:
        """Take what a look at the monitor showed, where somebody else feeds the watch."""
        effects: list[Effect] = []
        for change in changes:
            if self.state is State.DONE:
                break
            effects += self._changed(now, change)
        return effects

    def on_tick(self, now: float) -> list[Effect]:
        """Take the time."""
        if self.state is State.DONE:
            return []
        if now >= self.ends_at:
            return self._give_up(now)
        if self.state is State.RECONNECTING or now < self._retry_at:
            return []
        self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)
        self._retry_at = now + self._retry_s
        if self._watch.open is False or self._watch.blocked:
            return []  # it would only pile up for the next agent
        return [self._resync()]

    def on_flood(self, _now: float, _text: str) -> list[Effect]:
        """Nothing but noise comes: the thaw goes on by its own schedule, which needs no answer."""
        return []

    def on_instruction(self, now: float, instruction: Instruction | Extension) -> list[Effect]:
        """Do what the operator asks: whoever cancels or gives up is in a hurry."""
        if instruction in (Instruction.CANCEL, Instruction.GIVE_UP):
            self.abandon(now)
        return []

    def on_freeze_settled(self, now: float) -> None:
        """The freeze before it was answered, or never will be: the bound counts from here."""
        self._agent_is_free(now)

    def abandon(self, now: float) -> None:
        """Somebody is in a hurry: give the agent a moment for its answer, then give up."""
        self._free = True
        self.ends_at = min(self.ends_at, now + LAST_CHANCE_S)

    def on_stream_ended(self, now: float, text: str, *, gone: bool | None) -> list[Effect]:
        """The channel broke: unless the VM has gone, another one is wanted.

        Args:
            now: seconds of the monotonic clock.
            text: why, as far as it is known.
            gone: whether the VM has gone with it.
        """
        if self.state is State.DONE:
            return []
        if self.sent_at is not None:
            # It may have run: sent twice, its hook would run unpaired.
            self._repeated = True
            self._ask = self._ask or self.freeze_succeeded
        return self._disconnected(now, text, gone)

    def on_connected(self, now: float) -> list[Effect]:
        """Another channel was opened: begin anew on that."""
        self._retry_s = FIRST_RETRY_S
        self._retry_at = now + FIRST_RETRY_S
        return self._acquire()

    def on_connect_failed(self, now: float, text: str, *, gone: bool | None) -> list[Effect]:
        """No channel could be opened: it is tried again, unless the VM has gone.

        Args:
            now: seconds of the monotonic clock.
            text: why not, one clause.
            gone: whether the VM has gone.
        """
        return self._disconnected(now, text, gone)

    def _disconnected(self, now: float, text: str, gone: bool | None) -> list[Effect]:
        if gone:
            self._watch.found_gone()
        if self._watch.cause is Cause.MIGRATED:
            return self._migrated(now)
        if gone:
            return self._end(now, True, GONE, None)
        self.state = State.RECONNECTING
        self._owned, self._waiting, self._why_broken = False, False, text
        self._connect_at = now + self._connect_wait_s
        # A socket that takes us and drops us at once is no better than none.
        wait_s = max(2 * self._connect_wait_s, FIRST_RECONNECT_S)
        self._connect_wait_s = min(wait_s, LONGEST_RECONNECT_S)
        return []

    # -- sending --------------------------------------------------------------------------

    def _acquire(self) -> list[Effect]:
        self.state = State.ACQUIRING
        return [self._resync()]

    def _begin(self, now: float, *, resync: bool) -> list[Effect]:
        """Ask, or thaw, whichever is next; where no agent is there, wait for one."""
        self.state = State.ASKING if self._ask else State.THAWING
        self._waiting = self._watch.open is False
        if self._waiting:
            return []
        return self._ask_first(resync=resync) if self._ask else self._send_thaw(now, resync=resync)

    def _send_thaw(self, now: float, *, resync: bool) -> list[Effect]:
        self.state = State.THAWING
        self._thaw = self._ticket()
        self._waiting = False
        effects: list[Effect] = []
        if resync:
            effects.append(self._resync())
        if self._before is None:
            self._before_ticket = self._ticket()
            effects.append(Send(self._before_ticket, STATUS))
        effects.append(Send(self._thaw, THAW))
        effects.append(Tell(EventKind.THAW_SENT, Level.INFO, "thaw sent"))
        self.sent_at = now
        if not self._repeated:  # who answers everything but the thaw is not asked in a hurry
            self._retry_s = FIRST_RETRY_S
        self._retry_at = now + self._retry_s
        return effects

    def _ask_first(self, *, resync: bool) -> list[Effect]:
        self.state = State.ASKING
        self._before_ticket = self._ticket()
        effects: list[Effect] = [self._resync()] if resync else []
        return [*effects, Send(self._before_ticket, STATUS)]

    def _resync(self) -> Resync:
        ticket = self._ticket()
        self._syncs.add(ticket)
        return Resync(ticket)

    def _agent_is_free(self, now: float) -> None:
        if not self._free:
            self._free = True
            self.ends_at = now + self._plan.timeout_s

    def _synced(self, now: float) -> list[Effect]:
        self._agent_is_free(now)
        self._owned = True
        self._connect_wait_s = 0.0
        if self.state is not State.ACQUIRING:
            return []
        return self._begin(now, resync=False)

    # -- answers --------------------------------------------------------------------------

    def _status_before(self, now: float, value: object) -> list[Effect]:
        self._agent_is_free(now)
        state = freeze_state(value)
        if not self._repeated:  # behind a thaw of ours it does not tell what was before
            self._before = state
        if self.state is not State.ASKING:
            return []
        if state is not FreezeState.THAWED and self._plan.allowed:
            return self._send_thaw(now, resync=False)
        if state is not FreezeState.THAWED:
            self.refused = True
            said = "is frozen" if state else "does not tell its state"
            reason = f"the guest {said}, and not provably by us: a person must decide"
            return self._end(now, False, reason, self._next())
        why = "the guest was reset: " if self._reset else ""
        return self._end(now, True, f"{why}nothing to thaw: the agent says thawed", None)

    def _counted(self, now: float, value: object) -> list[Effect]:
        self._agent_is_free(now)
        number = file_systems_counted(value)
        if number is not None:
            self._count = (self._count or 0) + number
        text = f"the agent answered the thaw: {'no number' if number is None else number}"
        fields = {"thawed": self._count}
        return [Tell(EventKind.REPLY, Level.INFO, text, fields), *self._check(now)]

    def _errored(self, now: float, error: str) -> list[Effect]:
        self._agent_is_free(now)
        self._error = error
        text = f"the agent answered the thaw with an error: {error}"
        return [
            Tell(EventKind.REPLY, Level.WARNING, text, {"error": error}),
            *self._check(now),
        ]

    def _check(self, now: float) -> list[Effect]:
        self.state = State.CHECKING
        self._after_ticket = self._ticket()
        self._retry_at = now + FIRST_RETRY_S
        return [Send(self._after_ticket, STATUS)]

    def _status_after(self, now: float, value: object) -> list[Effect]:
        state = freeze_state(value)
        if state is FreezeState.THAWED:
            counted = f"thawed {count(self._count)}" if self._count is not None else "thawed"
            tail = ""
            if self._error:
                tail = f"; the thaw itself was answered with an error: {self._error}"
                tail += "" if self._count is not None else "; how many it thawed is not known"
            return self._end(now, True, f"{counted}, and the agent says thawed{tail}", None)
        self._thaws_while_frozen += 1
        if self._thaws_while_frozen >= MOST_THAWS_WHILE_FROZEN:
            said = state or "nothing that can be read"
            reason = f"after {self._thaws_while_frozen} thaws the agent still says {said}"
            return self._end(now, False, reason, self._next())
        return self._send_thaw(now, resync=False)

    # -- the monitor ----------------------------------------------------------------------

    def _changed(self, now: float, change: Change) -> list[Effect]:
        match change:
            case Change.GONE | Change.MIGRATED if self._watch.cause is Cause.MIGRATED:
                return self._migrated(now)
            case Change.GONE | Change.SHUTDOWN:
                return self._end(now, True, GONE, None)
            case Change.PANICKED:
                return self._panicked(now)
            case Change.RESET:
                self._reset = self._ask = True
                self._agent_is_free(now)
                return []
            case Change.DEVICE_RESET:
                self._ask = True  # after a reset its hook would run unpaired
                return self._agent_anew(now) if self._watch.open else []
            case Change.OPENED | Change.RESTARTED:
                return self._agent_anew(now)
            case Change.RELEASED:
                self._retry_at = now
                return []
            case _:
                return []

    def _agent_anew(self, now: float) -> list[Effect]:
        if self.state is State.RECONNECTING:
            return []  # there is nothing to write to; a new channel begins with a sync
        # What was written may have died with an agent, or may still run on this one: the answer to
        # a sync tells.
        return self._begin(now, resync=True) if self._waiting else [self._resync()]

    def _migrated(self, now: float) -> list[Effect]:
        reason = (
            "the VM has migrated away (QEMU does not tell where to): its file systems may be "
            "frozen where it runs now"
        )
        step = f"thaw {self._plan.vm} from its new host"
        return self._end(now, False, reason, step)

    def _panicked(self, now: float) -> list[Effect]:
        reason = "the guest has panicked: nothing in it can be thawed"
        return self._end(now, False, reason, f"reset the guest {self._plan.vm}")

    # -- the end --------------------------------------------------------------------------

    def _give_up(self, now: float) -> list[Effect]:
        if self._reset:
            reason = "the guest was reset: nothing can be frozen; its agent has not come back"
            return self._end(now, True, reason, None)
        reason = (
            f"the thaw was not acknowledged within {in_words(now - self.started_at)}, waiting for "
            f"{self.waiting_for}: THE GUEST MAY STILL BE FROZEN"
        )
        return self._end(now, False, reason, self._next())

    def _next(self) -> str:
        command = self._plan.command or f"frostwatch thaw --foreign {self._plan.vm}"
        if self._watch.blocked:
            return f"{RELEASED_BY[self._watch.run_state]}, then: {command}"
        if self._watch.open is False:
            return f"start the agent in the guest (or reset the guest), then: {command}"
        return command

    def _stuck(self) -> Stuck:
        """Return why it is not settled."""
        watch = self._watch
        for holds, why in (
            (watch.cause is Cause.MIGRATED, Stuck.MIGRATED),
            (watch.run_state is RunState.PANICKED, Stuck.PANICKED),
            (self._thaws_while_frozen >= MOST_THAWS_WHILE_FROZEN, Stuck.STILL_FROZEN),
            (watch.blocked, Stuck.BLOCKED),
            (watch.open is False, Stuck.NO_AGENT),
            (self.state is State.RECONNECTING, Stuck.CHANNEL),
        ):
            if holds:
                return why
        return Stuck.SILENT

    def _end(self, now: float, settled: bool, reason: str, step: str | None) -> list[Effect]:
        stuck = None if settled else self._stuck()
        self.state = State.DONE
        self.report = ThawReport(
            self._before,
            self._count,
            self._error,
            settled,
            reason,
            step,
            self._repeated,
            stuck,
            sent=self.sent_at is not None,
        )
        level = Level.INFO if settled else Level.ERROR
        kind = EventKind.THAWED if settled else EventKind.NOTE
        fields = {"thawed": self._count, "seconds": round(now - self.started_at, 3)}
        return [Tell(kind, level, reason, fields)]
