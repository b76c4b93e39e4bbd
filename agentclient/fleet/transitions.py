"""Finds the transitions that matter in the states of all VMs, each of them once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from agentclient.model.durations import in_words
from agentclient.model.others_freeze import OthersFreeze, doer, others_freeze
from agentclient.model.others_past import OthersResult, ended_since
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import Progress, VmState
from agentclient.model.states import FreezeState, Level, OutcomeKind, Phase
from agentclient.model.text import printable
from agentclient.model.transition import Happened, Transition
from agentclient.model.vm import VmId

# So long before its end a held window is nearly over; one that is shorter than twice that never is.
NEARLY_S: Final = 10.0
_MOST_TOLD: Final = 64  # of one VM
# What began at the same time is the same; where the wall clock was set, that is computed anew.
_SAME: Final = timedelta(seconds=2)
_HELD: Final = frozenset({Phase.HELD, Phase.AT_RISK})
_UNANSWERED: Final = frozenset({OutcomeKind.LOST, OutcomeKind.TIMEOUT})
_WELL: Final = frozenset({OutcomeKind.VERIFIED, OutcomeKind.UNVERIFIED})


class _Freeze(NamedTuple):
    """A freeze of this frostwatch, as far as it was told.

    Attributes:
        started_at: when it began, by the monotonic clock; None if it was over when it was seen.
        kind: the outcome that was told; None if none was.
        over: it has ended.
    """

    started_at: float | None = None
    kind: OutcomeKind | None = None
    over: bool = True


class TransitionLog:
    """What has happened to all VMs, from one of their states to the next; nothing twice."""

    def __init__(self) -> None:
        self._known: dict[VmId, VmState] = {}
        self._freezes: dict[VmId, _Freeze] = {}
        self._told: dict[VmId, dict[object, None]] = {}
        self._clock_set = timedelta()

    def take(
        self, state: VmState, at: datetime, clock_set: timedelta = timedelta()
    ) -> list[Happened]:
        """Return what has happened to a VM since its last state.

        Args:
            state: its state now.
            at: the wall clock.
            clock_set: by how much the wall clock was set since the first call.
        """
        self._clock_set = clock_set
        old = self._known.get(state.id)
        self._known[state.id] = state
        return [*self._ours(old, state, at), *self._others(old, state, at), *self._left(state, at)]

    def tick(
        self,
        states: Iterable[VmState],
        at: datetime,
        monotonic: float,
        clock_set: timedelta = timedelta(),
    ) -> list[Happened]:
        """Return which held windows are nearly over now.

        Args:
            states: the states of all VMs.
            at: the wall clock.
            monotonic: the monotonic clock.
            clock_set: by how much the wall clock was set since the first call.
        """
        self._clock_set = clock_set
        return [one for state in states if (one := self._nearly(state, at, monotonic)) is not None]

    def forget(self, vm_id: VmId) -> None:
        """Forget a VM that its source does not list any more."""
        for known in (self._known, self._freezes, self._told):
            known.pop(vm_id, None)

    # -- ours ----------------------------------------------------------------------------------

    def _ours(self, old: VmState | None, new: VmState, at: datetime) -> Iterator[Happened]:
        progress, before = new.progress, self._freezes.get(new.id, _Freeze())
        if progress is not None and progress.what == "freeze":
            if before.started_at != progress.started_at:
                before = _Freeze(progress.started_at, over=False)
            verdict = progress.verdict
        elif old is None or new.last is None or new.last is old.last or new.last == old.last:
            return
        else:
            verdict, before = new.last, _Freeze() if before.over else before
            before = before._replace(over=True)
        told = _transition_of(verdict) if verdict is not None else None
        if verdict is not None and told is not None and verdict.kind is not before.kind:
            before = before._replace(kind=verdict.kind)
            yield _happened(new, told, at, _level(verdict), verdict.reason, verdict.kind.value)
        self._freezes[new.id] = before

    def _nearly(self, state: VmState, at: datetime, monotonic: float) -> Happened | None:
        progress, held = state.progress, state.held_by
        if progress is not None and progress.phase in _HELD:
            left, whole, key = _left_of(progress, monotonic)
            who = ""
        elif held is not None and held.until is not None and held.state is FreezeState.FROZEN:
            left = (held.until - at).total_seconds()
            whole = (held.until - held.since).total_seconds() if held.since else left
            key, who = self._time("held", state, held.until), str(held)
        else:
            return None
        if not 0 < left <= NEARLY_S or whole < 2 * NEARLY_S or not self._is_new(state, key):
            return None
        text = f"its window is over in {in_words(left)}, and it is thawed"
        kind, word = Transition.NEARLY_OVER, FreezeState.FROZEN.value
        return _happened(state, kind, at, Level.WARNING, text, word, who)

    # -- others' -------------------------------------------------------------------------------

    def _others(self, old: VmState | None, new: VmState, at: datetime) -> Iterator[Happened]:
        over = ended_since(old.others_last if old is not None else None, new.others_last)
        for ended in over if old is not None else ():
            by = "somebody" if ended.by is None else str(ended.by)
            if ended.result is OthersResult.ANSWERED:
                text = f"{by}: their command was answered after {in_words(ended.seconds)}"
                yield _happened(new, Transition.ANSWERED, at, Level.INFO, text, "", by)
            elif ended.result is not OthersResult.THAWED and self._is_new(
                new, self._time("lost", new, ended.since)
            ):
                cause = f" ({ended.cause})" if ended.cause else ""
                text = f"{by}: their command is lost{cause}"
                yield _happened(new, Transition.LOST, at, Level.ERROR, text, "", by)
        was, held = old.held_by if old is not None else None, new.held_by
        asked = was is not None and was.state is FreezeState.FREEZING
        if asked and held is not None and held.state is FreezeState.FROZEN:
            kind, word = Transition.ANSWERED, FreezeState.FROZEN.value
            yield _happened(new, kind, at, Level.INFO, str(held), word, held.who)
        others = doer(new) if others_freeze(new) is OthersFreeze.LOST else None
        if others is not None and self._is_new(new, self._time("lost", new, others.since)):
            yield _happened(new, Transition.LOST, at, Level.ERROR, str(others), "", str(others))

    def _left(self, new: VmState, at: datetime) -> Iterator[Happened]:
        """Yield that a guest may stay frozen, whoever froze it."""
        frozen = new.freeze.state.value if new.freeze.state else ""
        for key, text, word, by in self._left_by(new):
            if self._is_new(new, key):
                kind = Transition.LEFT_FROZEN
                yield _happened(new, kind, at, Level.ERROR, text, word or frozen, by)

    def _left_by(self, state: VmState) -> Iterator[tuple[object, str, str, str]]:
        """Yield what leaves a guest frozen: its key, a sentence, a word, and whose it is."""
        left, last, late = state.left_by, state.last, state.freeze.overdue
        if left is not None:
            yield ("left", left.window), f"{left}, which has ended", "", str(left)
        if late is not None and others_freeze(state) is OthersFreeze.FROZEN:
            others = doer(state)
            who = "somebody else" if others is None or others.by is None else str(others.by)
            key = self._time("others", state, state.freeze.since)
            yield key, f"left frozen by {who}: {late}", "", who
        if state.progress is None and state.left_frozen and last is not None and not last.kept:
            text = f"MAY STILL BE FROZEN: {last.reason}"
            yield ("ours", last.seconds, last.reason), text, last.kind.value, ""

    def _time(self, what: str, state: VmState, at: datetime | None) -> object:
        """Return the key of what began, or ends, at some time: the same after a set clock."""
        if at is None:
            return what, at
        at -= self._clock_set
        told = self._told.get(state.id, {})
        return next((key for key in told if _is_alike(key, what, at)), (what, at))

    def _is_new(self, state: VmState, key: object) -> bool:
        """Return whether something was not told of a VM yet; from now on it was."""
        told = self._told.setdefault(state.id, {})
        if key in told:
            return False
        if len(told) >= _MOST_TOLD:
            del told[next(iter(told))]
        told[key] = None
        return True


def _is_alike(key: object, what: str, at: datetime) -> bool:
    match key:
        case (str() as other, datetime() as then):
            return other == what and abs(then - at) < _SAME
    return False


def _transition_of(outcome: Outcome) -> Transition | None:
    """Return what an outcome means to somebody who waits for it.

    None for what was not sent, and for a member of a group that failed: another member tells it.
    """
    if outcome.kind is OutcomeKind.REFUSED or outcome.without_group:
        return None
    if outcome.kind is OutcomeKind.BROKEN:
        return Transition.BROKEN
    if outcome.kind in _UNANSWERED or (outcome.kind not in _WELL and outcome.frozen is None):
        return Transition.LOST
    return Transition.ANSWERED


def _level(outcome: Outcome) -> Level:
    if outcome.kind is OutcomeKind.VERIFIED:
        return Level.GOOD
    return Level.WARNING if outcome.kind is OutcomeKind.UNVERIFIED else Level.ERROR


def _left_of(progress: Progress, monotonic: float) -> tuple[float, float, object]:
    """Return how many seconds of a hold are left, how many it has, and what it is told by."""
    since, end = progress.held_since, progress.hold_ends_at
    if since is None or end is None:
        return 0.0, 0.0, None
    return end - monotonic, end - since, ("hold", since, end)


def _happened(  # noqa: PLR0917 - all of what is told
    state: VmState,
    kind: Transition,
    at: datetime,
    level: Level,
    text: str,
    word: str = "",
    by: str = "",
) -> Happened:
    return Happened(state.id, kind, at, level, printable(text, 500), word, printable(by, 200))
