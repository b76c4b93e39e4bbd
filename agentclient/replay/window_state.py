"""Says what one window of the journal tells of its VM at a time. Pure.

Each function takes what was known of the VM before, and returns what is known then. Nothing is
shown as better than the journal has it: before a window has ended, no verdict is shown that its end
took back, and *certified* is shown at its end alone.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from agentclient.journal.window_row import WindowRow
from agentclient.model.errors import BadInput
from agentclient.model.events import EventKind
from agentclient.model.meaning import with_freeze, with_meaning
from agentclient.model.others import ChannelClient, Others
from agentclient.model.others_past import OthersEnded, OthersResult
from agentclient.model.outcome import Outcome
from agentclient.model.request import Schedule
from agentclient.model.snapshot import AgentHealth, FreezeInfo, LeftBy, Progress, VmState
from agentclient.model.states import (
    AgentState,
    Cause,
    FreezeState,
    KnownBy,
    Level,
    OthersState,
    OutcomeKind,
    Phase,
    Refusal,
    WindowKind,
    WindowState,
)
from agentclient.model.timeline import Group, Sample, Timeline
from agentclient.model.vm import Vm
from agentclient.replay.recorded import seconds, state_in, text, word

UNKNOWN_AGENT: Final = AgentHealth(detail="the journal keeps what was seen in its windows alone")
LEFT: Final = "left"
"""The moment from which on the journal tells nothing more of a window that never ended."""
_VERDICTS: Final = (EventKind.VERDICT, EventKind.REVISED)
_OTHERS: Final = {
    OthersResult.LOST: OthersState.LOST,
    OthersResult.LEFT: OthersState.LEFT,
}


class Said(NamedTuple):
    """An event of a window, at its time."""

    at: datetime
    kind: str
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """A window, and when each thing of it happened.

    Attributes:
        row: the window.
        moments: the times of what has happened in it, in their order; `LEFT` is one of them.
        events: what was said in it.
        outcome: the outcome of its freeze, or the last that is known; None if none is.
        mono: returns the seconds of the replay's monotonic clock at a time.
    """

    row: WindowRow
    moments: Mapping[str, datetime]
    events: tuple[Said, ...]
    outcome: Outcome | None
    mono: Callable[[datetime], float]


def state_then(told: Told, at: datetime, before: VmState) -> VmState:
    """Return what is known of a window's VM at a time.

    Args:
        told: the window.
        at: the time; not before the window was asked for.
        before: what was known of the VM before.
    """
    happened = {name for name, when in told.moments.items() if when <= at}
    match told.row.kind:
        case WindowKind.FREEZE:
            return _freeze(told, at, happened, before)
        case WindowKind.OTHERS:
            return _others(told, happened, before)
        case _:
            return _thaw(told, happened, before)


# -- a freeze --------------------------------------------------------------------------------------


def _freeze(told: Told, at: datetime, happened: Container[str], before: VmState) -> VmState:
    state = _answered(told, happened, before)._replace(others=None)
    if LEFT in happened:
        return _left(told, happened, state)
    if "ended" in happened:
        return _frozen_then_ended(told, state)
    info = before.freeze
    for name, word_for_it in _STATES.items():
        if name in happened and (name != "replied" or _froze(told)):
            info = FreezeInfo(word_for_it, told.moments[name])
    # What was known of a freeze before it has no place beside a new one.
    progress = _progress(told, at, happened, state.vm)
    last = None if "sent" in happened else state.last
    shown = _timeline(told, at, happened)
    return state._replace(freeze=info, progress=progress, last=last, left=None, timeline=shown)


def _timeline(told: Told, at: datetime, happened: Container[str]) -> Timeline:
    """Return when each thing of a freeze happened, as far as it had come."""
    begin, now = told.mono(told.moments["asked"]), told.mono(at)
    samples = (Sample(begin + after_s, size) for after_s, size in told.row.writes)
    writes = tuple(one for one in samples if one.at <= now)
    size = (told.row.request or {}).get("group_size")
    key = told.row.group
    group = Group(key, size) if key is not None and isinstance(size, int) else None
    timeline = Timeline(begin, writes=writes, group=group)
    for name in _DRAWN:
        if name in happened:
            timeline = timeline.marked(name, told.mono(told.moments[name]))
    return timeline


_DRAWN: Final = ("sent", "replied", "verdict", "held", "thaw_sent", "thawed", "ended")
_STATES: Final = {
    "sent": FreezeState.FREEZING,
    "replied": FreezeState.FROZEN,
    "held": FreezeState.FROZEN,
    "thaw_sent": FreezeState.THAWING,
    "thawed": FreezeState.THAWED,
}


def _froze(told: Told) -> bool:
    """Return whether the reply said that anything was frozen: an error is a reply as well."""
    outcome = told.outcome
    return "held" in told.moments or bool(outcome is not None and outcome.frozen)


def _answered(told: Told, happened: Container[str], before: VmState) -> VmState:
    """Return the state with what a reply tells of the agent."""
    if "replied" not in happened:
        return before
    seen_at = told.moments["replied"]
    return before._replace(agent=AgentHealth(AgentState.ALIVE, KnownBy.REPLY, seen_at=seen_at))


def _progress(told: Told, at: datetime, happened: Container[str], vm: Vm) -> Progress:
    """Return the freeze in flight at a time."""
    schedule, moments, mono = _schedule(told), told.moments, told.mono
    started_at = mono(moments["asked"])
    phase = _phase(told, at, happened)
    verdict = _verdict(told, at, vm, phase)
    progress = Progress("freeze", phase, _WAITS[phase], started_at, verdict=verdict)
    if "sent" not in happened:
        return progress
    sent_at = mono(moments["sent"])
    steps = schedule.steps if schedule is not None else 0
    step = min(1 + _count(told, EventKind.STEP, at), max(steps, 1))
    progress = progress._replace(sent_at=sent_at, steps=steps, step=step if steps else 0)
    if schedule is not None:
        ends_at = sent_at + schedule.total_s
        so_far = schedule.first_timeout_s + (step - 1) * schedule.probe_timeout_s
        progress = progress._replace(ends_at=ends_at, step_ends_at=sent_at + so_far)
    if phase is Phase.THAWING:  # no answer of the freeze is waited for any more
        progress = progress._replace(ends_at=_thaw_ends_at(told, happened), step_ends_at=None)
    if "replied" in happened:
        progress = progress._replace(heard_at=mono(moments["replied"]))
    if "held" in happened:
        since = mono(moments.get("replied", moments["held"]))
        hold_s = told.row.hold_s
        until = since + hold_s if hold_s is not None else None
        frozen = (told.row.outcome or {}).get("frozen")
        progress = progress._replace(
            held_since=since,
            hold_ends_at=until,
            frozen=frozen if isinstance(frozen, int) else None,
        )
    return progress._replace(cancelled=_count(told, EventKind.CANCELLED, at) > 0)


def _thaw_ends_at(told: Told, happened: Container[str]) -> float | None:
    """Return when the wait for the thaw ends; None if that is not known."""
    timeout_s = seconds((told.row.request or {}).get("thaw_timeout_s"))
    if timeout_s is None or "thaw_sent" not in happened:
        return None
    return told.mono(told.moments["thaw_sent"]) + timeout_s


def _phase(told: Told, at: datetime, happened: Container[str]) -> Phase:
    if "thaw_sent" in happened:
        return Phase.THAWING
    if "held" in happened:
        return Phase.AT_RISK if _count(told, EventKind.AT_RISK, at) else Phase.HELD
    if "sent" not in happened:
        return Phase.PREPARING
    if "verdict" in happened and "held" not in told.moments:
        return Phase.THAWING  # it is not held, so that its thaw follows
    if "replied" in happened:
        return Phase.VERIFYING
    return Phase.DRAINING if _count(told, EventKind.DRAINING, at) else Phase.PENDING


_WAITS: Final = {
    Phase.PREPARING: "what is checked before a freeze is sent",
    Phase.PENDING: "the agent's answer to the freeze",
    Phase.DRAINING: "what the channel still holds",
    Phase.VERIFYING: "what proves the freeze",
    Phase.HELD: "the end of its hold",
    Phase.AT_RISK: "the end of its hold",
    Phase.THAWING: "its thaw",
}


def _verdict(told: Told, at: datetime, vm: Vm, phase: Phase) -> Outcome | None:
    """Return the verdict that stood at a time, before the window's end; None if none is sure.

    The journal keeps the last outcome alone. It is shown from the last verdict on, as long as the
    end did not take that back; nothing of its end is shown before.
    """
    outcome = told.outcome
    verdicts = [one for one in told.events if one.kind in _VERDICTS]
    since = verdicts[-1].at if verdicts else told.moments.get("verdict")
    taken_back = outcome is not None and (
        outcome.kind is OutcomeKind.BROKEN or outcome.not_together
    )
    if outcome is None or since is None or at < since or taken_back:
        return None
    good = outcome.kind is OutcomeKind.VERIFIED
    if good and verdicts and _is_bad(verdicts[-1].level):
        return None
    said = verdicts[-1].text if verdicts else ""
    then = Outcome(
        outcome.kind,
        said.removeprefix(f"{outcome.kind}: ") or "as the journal says; its words are not kept",
        refusal=outcome.refusal,
        cause=outcome.cause,
        frozen=outcome.frozen,
        coverage=outcome.coverage,
        not_covered=outcome.not_covered,
    )
    return with_meaning(then, vm, final=False, thawing=phase is Phase.THAWING)


def _is_bad(level: str) -> bool:
    return level in (Level.WARNING, Level.ERROR)


def _frozen_then_ended(told: Told, state: VmState) -> VmState:
    """Return the state after a freeze's end."""
    outcome, at = told.outcome, told.moments["ended"]
    shown = _timeline(told, at, told.moments)
    state = state._replace(progress=None, left=None, timeline=shown)
    if outcome is None:  # another frostwatch has closed it
        thawed = told.row.settled
        return with_freeze(state, FreezeInfo(FreezeState.THAWED if thawed else None, at))
    if outcome.kind is OutcomeKind.REFUSED:
        foreign = outcome.refusal is Refusal.ALREADY_FROZEN
        info = FreezeInfo(FreezeState.FROZEN if foreign else None, at, foreign)
        return state._replace(last=outcome, freeze=info)
    since = told.moments.get("thawed", at)
    kept = FreezeState.FROZEN if outcome.kept else None
    info = FreezeInfo(FreezeState.THAWED, since) if outcome.settled else FreezeInfo(kept, at)
    return state._replace(last=outcome, freeze=info)


def _left(told: Told, happened: Container[str], state: VmState) -> VmState:
    """Return the state from where on the journal tells nothing more: its process has died."""
    row, state = told.row, state._replace(progress=None)
    if "sent" not in happened and "armed" not in happened:
        return state._replace(freeze=FreezeInfo(None, told.moments[LEFT]))
    at = told.moments.get("replied", told.moments.get("sent", told.moments[LEFT]))
    left = LeftBy(row.window, row.pid, row.user, at)
    return state._replace(freeze=FreezeInfo(FreezeState.FROZEN, at), left=left)


def _schedule(told: Told) -> Schedule | None:
    """Return how long the freeze was waited for; None if that can't be read."""
    asked = told.row.request or {}
    first, probe = seconds(asked.get("first_timeout_s")), seconds(asked.get("probe_timeout_s"))
    probes = asked.get("probes")
    if first is None or probe is None or not isinstance(probes, int):
        return None
    with suppress(BadInput):
        return Schedule(first, probe, probes)
    return None


# -- a thaw, and a rung of a rescue ---------------------------------------------------------------


def _thaw(told: Told, happened: Container[str], before: VmState) -> VmState:
    row = told.row
    if LEFT in happened:
        return before._replace(progress=None)
    if "ended" not in happened:
        rescue = row.kind is WindowKind.RESCUE
        phase = Phase.THAWING if rescue or "thaw_sent" in happened else Phase.PREPARING
        waits = f"rung {text((row.request or {}).get('rung')) or '?'}" if rescue else "its thaw"
        progress = Progress(row.kind.value, phase, waits, told.mono(told.moments["asked"]))
        return before._replace(progress=progress)
    found = row.rescue if row.kind is WindowKind.RESCUE else row.thaw
    state, after = before._replace(progress=None), state_in(found)
    if (found or {}).get("refused") is True or (found or {}).get("found") == "refused":
        return state
    return with_freeze(state, FreezeInfo(after, told.moments["ended"]))


# -- others ----------------------------------------------------------------------------------------


def _others(told: Told, happened: Container[str], before: VmState) -> VmState:
    row, request = told.row, told.row.request or {}
    since, result = told.moments["asked"], word(OthersResult, request.get("result"))
    by = ChannelClient(row.command, row.pid, row.user) if row.pid > 0 else None
    locked, cause = text(request.get("locked_by")), word(Cause, request.get("cause"))
    if "ended" not in happened:
        state = before._replace(vm=before.vm._replace(locked_by=locked))
        if result is OthersResult.THAWED:
            info = FreezeInfo(FreezeState.FROZEN, since, foreign=True, by=by)
            return state._replace(freeze=info, others=None)
        busy = AgentHealth(AgentState.BUSY, KnownBy.CLIENT, seen_at=since)
        return state._replace(others=Others(OthersState.PENDING, since, by), agent=busy)
    until = told.moments["ended"]
    took = (until - since) / timedelta(seconds=1)
    state = before._replace(vm=before.vm._replace(locked_by=None), agent=UNKNOWN_AGENT)
    if result is not None:
        ended = OthersEnded(result, by, since, until, took, cause)
        state = state._replace(others_last=ended.after(before.others_last))
    if result is OthersResult.THAWED:
        return with_freeze(state, FreezeInfo(FreezeState.THAWED, until))
    after = _OTHERS.get(result) if result is not None else OthersState.LEFT
    if after is None:
        return state._replace(others=None)
    return state._replace(others=Others(after, since, by, cause, has_left=True))


# -- what is told of a window ---------------------------------------------------------------------


def events_of(row: WindowRow, asked: datetime) -> tuple[Said, ...]:
    """Return when each event of a window happened, with its kind, its level and its text."""
    return tuple(
        Said(time_of(one.when.at, one.when.seconds, asked), one.kind, one.level, one.text)
        for one in row.events
    )


def _count(told: Told, kind: EventKind, at: datetime) -> int:
    """Return how many events of a kind have happened by then."""
    return sum(one.kind == kind and one.at <= at for one in told.events)


def time_of(at: str, after_s: float | None, asked: datetime) -> datetime:
    """Return when something of a window happened: by the seconds since its request, if known.

    Args:
        at: the wall clock's time, which may have been set meanwhile.
        after_s: seconds since the request; None if that isn't known.
        asked: when it was asked for.

    Raises:
        ValueError: it is no time.
    """
    if after_s is not None:
        return asked + timedelta(seconds=max(after_s, 0.0))
    return max(datetime.fromisoformat(at).astimezone(), asked)


def never_ended(row: WindowRow) -> bool:
    """Return whether nobody will tell how a window ended: its process has died."""
    return row.state is WindowState.LEFT and row.times["ended"] is None
