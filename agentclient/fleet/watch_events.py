"""What happened to a VM between two of its states, one event each: for a log or an alert. Pure."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from agentclient.model.durations import in_words
from agentclient.model.json_contract import SCHEMA, JsonObject, rfc3339
from agentclient.model.others import ChannelClient, WritesSeen
from agentclient.model.others_freeze import GRADE_WORDS, MONITOR, Grade, graded_of
from agentclient.model.others_past import OthersEnded, OthersResult, ended_since
from agentclient.model.others_step import others_step
from agentclient.model.snapshot import VmState
from agentclient.model.states import (
    AgentState,
    Cause,
    FreezeState,
    KnownBy,
    Level,
    OthersState,
    RunState,
)
from agentclient.model.vm import Vm, VmId


class WatchEventKind(StrEnum):
    """The closed list of what is told (documented in docs/json.md)."""

    VM_FOUND = "vm-found"
    VM_GONE = "vm-gone"
    AGENT_ALIVE = "agent-alive"
    AGENT_GONE = "agent-gone"
    AGENT_SILENT = "agent-silent"
    OTHERS_PENDING = "others-pending"
    OTHERS_ANSWERED = "others-answered"
    OTHERS_LOST = "others-lost"
    OTHERS_FROZEN = "others-frozen"
    OTHERS_THAWED = "others-thawed"
    FROZEN = "frozen"  # by a frostwatch
    THAWED = "thawed"
    LEFT_FROZEN = "left-frozen"


class WatchEvent(NamedTuple):
    """One thing that happened to one VM.

    Attributes:
        vm: the VM.
        at: when it was seen (wall clock).
        kind: what happened.
        level: how much it matters.
        text: one sentence for a person.
        by: who did it; None if that isn't known.
        since: since when it is so, or was; None if that isn't known.
        grade: how sure it is that it is a freeze; None where that is no question.
        how: how it is known.
        cause: why a command is lost; None if none is.
    """

    vm: VmId
    at: datetime
    kind: WatchEventKind
    level: Level
    text: str
    by: ChannelClient | None = None
    since: datetime | None = None
    grade: Grade | None = None
    how: str = "the agent"
    cause: Cause | None = None


_SOURCE: Final = "its source"
_REPLACED: Final = "the VM has ended: another process runs it now"
_NOT_ALIVE: Final = frozenset(
    {WatchEventKind.AGENT_GONE, WatchEventKind.AGENT_SILENT, WatchEventKind.VM_GONE}
)
_ENDED: Final = frozenset({RunState.GONE, RunState.SHUTDOWN})


def events_between(old: VmState | None, new: VmState, at: datetime) -> list[WatchEvent]:
    """Return what happened to a VM between two of its states.

    Args:
        old: the state before; None if the VM is new.
        new: its state now.
        at: the wall clock.
    """
    if old is not None and _was_replaced(old.vm, new.vm):
        ended = _event(old, at, WatchEventKind.VM_GONE, Level.WARNING, _REPLACED)._replace(
            how=_SOURCE
        )
        gone = [] if _has_ended(old) else [ended]
        return [*gone, *events_between(None, new, at)]
    if old is None:
        found = _event(new, at, WatchEventKind.VM_FOUND, Level.INFO, "found")._replace(how=_SOURCE)
        return [found, *events_between(VmState(new.vm, new.run_state), new, at)]
    return [
        *_ends(old, new, at),
        *_agent(old, new, at),
        *_others(old, new, at),
        *_freezes(old, new, at),
    ]


class WatchLog:
    """What happened to all VMs, from one of their states to the next."""

    def __init__(self) -> None:
        self._known: dict[VmId, VmState] = {}
        self._alive: set[VmId] = set()

    def take(self, state: VmState, at: datetime) -> list[WatchEvent]:
        """Return what happened to a VM since its last state.

        Args:
            state: its state now.
            at: the wall clock.
        """
        found = events_between(self._known.get(state.id), state, at)
        self._known[state.id] = state
        return [event for event in found if self._is_new(event)]

    def forget(self, vm_id: VmId) -> None:
        """Forget a VM that its source does not list any more."""
        self._known.pop(vm_id, None)
        self._alive.discard(vm_id)

    def _is_new(self, event: WatchEvent) -> bool:
        """Return whether an event is news: that an agent answers is none if it did before.

        While others hold its channel it is not asked, which says nothing about it.
        """
        if event.kind is WatchEventKind.AGENT_ALIVE:
            news = event.vm not in self._alive
            self._alive.add(event.vm)
            return news
        if event.kind in _NOT_ALIVE:
            self._alive.discard(event.vm)
        return True


def watch_event_object(event: WatchEvent) -> JsonObject:
    """Return an event: one line of ``frostwatch watch --json``."""
    by = event.by
    return {
        "schema": SCHEMA,
        "time": rfc3339(event.at),
        "vm": str(event.vm),
        "event": event.kind.value,
        "level": event.level.value,
        "text": event.text,
        "by": None
        if by is None
        else {"program": by.program, "pid": by.pid, "user": by.user, "task": by.task},
        "since": rfc3339(event.since),
        "grade": event.grade.value if event.grade else None,
        "how": event.how,
        "cause": event.cause.value if event.cause else None,
    }


def _event(
    state: VmState, at: datetime, kind: WatchEventKind, level: Level, text: str
) -> WatchEvent:
    return WatchEvent(state.id, at, kind, level, text)


def _was_replaced(old: Vm, new: Vm) -> bool:
    """Return whether it is another start of the VM, of which no end was seen."""
    return None not in (old.process, new.process) and old.process != new.process


def _ends(old: VmState, new: VmState, at: datetime) -> list[WatchEvent]:
    was, now = _has_ended(old), _has_ended(new)
    if was == now:
        return []
    how = MONITOR if old.present is new.present else _SOURCE
    if not now:
        return [
            _event(new, at, WatchEventKind.VM_FOUND, Level.INFO, "runs again")._replace(how=how)
        ]
    text = f"the VM has ended ({new.run_state})" if new.present else "its source lists it no more"
    return [_event(new, at, WatchEventKind.VM_GONE, Level.WARNING, text)._replace(how=how)]


def _has_ended(state: VmState) -> bool:
    return not state.present or state.run_state in _ENDED


def _agent(old: VmState, new: VmState, at: datetime) -> list[WatchEvent]:
    before, after = old.agent.state, new.agent.state
    if before is after:
        return []
    how = new.agent.how.value
    if after is AgentState.ALIVE and before is not AgentState.BUSY:
        text = f"the agent answers (version {new.agent.version or 'unknown'})"
        return [_event(new, at, WatchEventKind.AGENT_ALIVE, Level.INFO, text)._replace(how=how)]
    if after is AgentState.CLOSED:
        text = "no agent runs: its port has closed"
        return [_event(new, at, WatchEventKind.AGENT_GONE, Level.WARNING, text)._replace(how=how)]
    if after is AgentState.SILENT and new.agent.how is KnownBy.DEADLINE:
        text = "the agent did not answer in time"
        return [_event(new, at, WatchEventKind.AGENT_SILENT, Level.WARNING, text)._replace(how=how)]
    return []


def _others(old: VmState, new: VmState, at: datetime) -> list[WatchEvent]:
    """Return what others have met, who hold or held the channel."""
    ended, others = new.others_last, new.others
    over = ended_since(old.others_last, ended)
    found = [_over(new, at, one) for one in over if one.result is not OthersResult.THAWED]
    # The next one of theirs may be pending by the time that anybody looks.
    was_pending = old.others is not None and old.others.state is OthersState.PENDING
    was_pending = was_pending and ended == old.others_last
    if others is not None and others.state is OthersState.PENDING and not was_pending:
        likely = "" if others.certain else ", as far as can be told"
        word = GRADE_WORDS[graded_of(others.by, new.vm.locked_by, others.writes).grade]
        text = f"{_who(others.by)}: a command of theirs ({word}) waits for its answer{likely}"
        event = _event(new, at, WatchEventKind.OTHERS_PENDING, Level.INFO, text)
        found.append(_by_others(event, new, others.by, others.since, others.writes))
    return found


def _over(new: VmState, at: datetime, ended: OthersEnded) -> WatchEvent:
    """Return that a command of others is over."""
    who, level, kind = _who(ended.by), Level.WARNING, WatchEventKind.OTHERS_LOST
    match ended.result:
        case OthersResult.LOST:
            gone = new.others is None or new.others.has_left
            waits = "; they have left" if gone else ", and they wait on"
            text = f"{who}: their command is lost ({ended.cause}){waits}"
            if new.others is not None and (step := others_step(new.others, new.vm)) is not None:
                text += f". NEXT: {step}"
        case OthersResult.LEFT:
            text = f"{who} left with a command pending, which may run yet"
        case _:
            kind, level = WatchEventKind.OTHERS_ANSWERED, Level.INFO
            text = f"{who}: their command was answered after {in_words(ended.seconds)}"
    event = _event(new, at, kind, level, text)._replace(cause=ended.cause)
    return _by_others(event, new, ended.by, ended.since, ended.writes)


def _by_others(
    event: WatchEvent,
    state: VmState,
    by: ChannelClient | None,
    since: datetime,
    writes: WritesSeen | None,
) -> WatchEvent:
    sure = graded_of(by, state.vm.locked_by, writes)
    return event._replace(by=by, since=since, grade=sure.grade, how=sure.how)


def _who(by: ChannelClient | None) -> str:
    return "somebody" if by is None else str(by)


def _freezes(old: VmState, new: VmState, at: datetime) -> list[WatchEvent]:
    """Return the freezes and thaws that became known."""
    if new.left_by is not None and old.left_by is None:
        since = new.left_by.at
        text = str(new.left_by)
        kind, how = WatchEventKind.LEFT_FROZEN, "the journal and the agent"
        return [_event(new, at, kind, Level.ERROR, text)._replace(since=since, how=how)]
    was, now = _frozen(old), _frozen(new)
    if was is now:
        return []
    if now is not None:
        return [_froze(new, at, foreign=now)]
    if new.freeze.state is not FreezeState.THAWED:
        return []  # not known any more: nobody has told that it was thawed
    kind = WatchEventKind.OTHERS_THAWED if was else WatchEventKind.THAWED
    froze = old.freeze.since
    text = "thawed" if froze is None else f"thawed, {in_words(_seconds(froze, at))} after that"
    grade, by = (Grade.CERTAIN, old.freeze.by) if was else (None, None)
    return [_event(new, at, kind, Level.GOOD, text)._replace(since=froze, grade=grade, by=by)]


def _froze(new: VmState, at: datetime, *, foreign: bool) -> WatchEvent:
    since = new.freeze.since
    if foreign:
        by = new.freeze.by
        text = f"found frozen: by {by}, as it seems" if by else "found frozen, by somebody else"
        kind = WatchEventKind.OTHERS_FROZEN
        return _event(new, at, kind, Level.WARNING, text)._replace(
            by=by, since=since, grade=Grade.CERTAIN
        )
    held = new.held_by
    text = str(held) if held is not None else "frozen"
    how = "the journal" if held is not None else "the agent"
    return _event(new, at, WatchEventKind.FROZEN, Level.INFO, text)._replace(since=since, how=how)


def _frozen(state: VmState) -> bool | None:
    """Return whether a guest is frozen by others (True) or by a frostwatch (False); else None."""
    if state.freeze.state is not FreezeState.FROZEN or state.left_by is not None:
        return None
    return state.freeze.foreign


def _seconds(since: datetime, at: datetime) -> float:
    return max(0.0, (at - since).total_seconds())
