"""What the operator is told in the line above the keys: answers, verdicts, and dangers.

A notice stays until the next one. Good news of one VM does not push bad news of another away at
once; what was held back is shown later. The answer to a key is shown immediately.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from agentclient.late import load
from agentclient.model.next_command import clear_command, ladder_command, thaw_command
from agentclient.model.others import Others
from agentclient.model.others_freeze import doer
from agentclient.model.outcome import Meaning, Outcome
from agentclient.model.snapshot import VmState
from agentclient.model.states import (
    FreezeState,
    GuestIs,
    Level,
    OthersState,
    OutcomeKind,
    Phase,
    Refusal,
)
from agentclient.model.vm import VmId
from tui.console.model.explained import explained
from tui.console.model.sending import Sending, clause
from tui.shared.fit import fit_middle, safe
from tui.shared.key_hints import key
from tui.shared.verdict import verdict_of

if TYPE_CHECKING:
    from agentclient.model.outcome import ThawOutcome

# How long bad news stays whatever else happens; the VM's log keeps it anyway.
STAYS_S = 10.0
NAME = 20  # cells of a VM's name, so that the rest of a notice is read on a small screen, too

_GRAVITY = {Level.DEBUG: 0, Level.INFO: 0, Level.GOOD: 0, Level.WARNING: 1, Level.ERROR: 2}

_BAD_OUTCOMES = frozenset(
    {
        OutcomeKind.PARTIAL,
        OutcomeKind.LOST,
        OutcomeKind.TIMEOUT,
        OutcomeKind.FAILED,
        OutcomeKind.BROKEN,
    }
)


class Notice(NamedTuple):
    """One thing that the operator is told.

    Attributes:
        text: safe to show.
        at: wall clock.
        about: the VM, None if it is about none.
        answer: it answers a key that the operator has just pressed.
        sums_up: it says what came of many, of each of which there may be news after it.
        rings: somebody who does not look at the screen should be called, as for each error.
    """

    level: Level
    text: str
    at: datetime
    about: VmId | None = None
    answer: bool = False
    sums_up: bool = False
    rings: bool = False

    @property
    def calls(self) -> bool:
        """Whether the operator is called; who has just pressed a key sits there."""
        return (self.rings or self.level is Level.ERROR) and not self.answer

    def gives_way_to(self, other: Notice) -> bool:
        """Return whether `other` may take this one's place at once."""
        if other.answer or other.sums_up or (other.about is not None and other.about == self.about):
            return True
        if self.sums_up and not other.sums_up:
            return self.is_old(other.at)
        return self.is_old(other.at) or _GRAVITY[other.level] >= _GRAVITY[self.level]

    def is_old(self, at: datetime) -> bool:
        """Return whether this one has been shown for long enough."""
        age_s = (at - self.at).total_seconds()
        return not 0 <= age_s < STAYS_S  # a clock that was set back must not hold back all news


def notice_of_change(
    old: VmState | None,
    new: VmState,
    at: datetime,
    *,
    ours: bool = False,
    sending: Sending = Sending.BY_KEYS,
) -> Iterator[Notice]:
    """Return what became known about a VM between two of its states that has to be told.

    Args:
        old: what was known; None if the VM is new.
        new: what is known now.
        at: wall clock.
        ours: this console has just thawed it, or tried to, and tells that itself.
        sending: whether the console's keys act on guests.
    """
    if old is None:
        return
    yield from _of_outcome(old, new, at, sending)
    yield from _of_copies(old, new, at, sending)
    if _phase(new) is Phase.AT_RISK and _phase(old) is not Phase.AT_RISK:
        text = "at risk: the agent's port closed while the freeze was held"
        yield Notice(Level.WARNING, f"{_name(new)}: {text}", at, new.id)
    yield from _of_whose(old, new, at, sending)
    yield from _of_others(old.others, new, at)
    thawed = _foreign(old) and new.freeze.state is FreezeState.THAWED and new.progress is None
    if thawed and not ours:
        yield Notice(Level.INFO, f"{_name(new)}: thawed by whoever had frozen it", at, new.id)


def _of_outcome(old: VmState, new: VmState, at: datetime, sending: Sending) -> Iterator[Notice]:
    """Return how an operation ended, except where the operator knows it, or it has not yet."""
    verdict = verdict_of(new)
    if verdict is not None and verdict.refusal is Refusal.CANCELLED:
        pass  # the operator has just done that
    elif new.job is not None and verdict is not None and verdict.kind is OutcomeKind.VERIFIED:
        pass  # it is a copy's window, and the copy is not made yet
    elif verdict is not None and verdict is not verdict_of(old) and verdict != verdict_of(old):
        yield outcome_notice(new, verdict, at, sending)


def _of_whose(old: VmState, new: VmState, at: datetime, sending: Sending) -> Iterator[Notice]:
    """Return whose a freeze is that is not this console's, and whether it is left or overdue."""
    if _foreign(new) and not _foreign(old):
        others = doer(new)
        who = "somebody else" if others is None else f"{_by(others)}, as it seems"
        does = clause(sending, new.vm, f"{_thaw_key()} asks before it thaws", _thaw(new))
        yield Notice(Level.WARNING, f"{_name(new)}: frozen by {who}{does}", at, new.id)
    if new.left_by is not None and old.left_by is None:
        yield _left_notice(new, at, sending)
    if new.held_by is not None and old.held_by is None:
        yield Notice(Level.INFO, f"{_name(new)}: {safe(str(new.held_by), 160)}", at, new.id)
    if _foreign(new) and new.freeze.overdue is not None and old.freeze.overdue is None:
        others = doer(new)
        who = "others" if others is None else f"{_by(others)}, as it seems"
        left = f"left frozen by {who}: {new.freeze.overdue}"
        does = clause(sending, new.vm, f"{_thaw_key()} asks first", _thaw(new))
        yield Notice(Level.ERROR, f"{_name(new)}: {left}{does}", at, new.id)


def _thaw_key() -> str:
    return key("thaw", "t")


def _thaw(state: VmState) -> str:
    return thaw_command(state.vm, foreign=True)


def _left_notice(state: VmState, at: datetime, sending: Sending) -> Notice:
    """Return the notice of a guest that a frostwatch has left frozen."""
    name, left = _name(state), f"{safe(str(state.left_by), 200)}, which has ended"
    text = f"{_thaw_key()} thaws {name}: {left}"
    if sending.to(state.vm) is not Sending.BY_KEYS:
        text = f"{name}: {left}{clause(sending, state.vm, '', thaw_command(state.vm))}"
    return Notice(Level.ERROR, text, at, state.id)


def _of_copies(old: VmState, new: VmState, at: datetime, sending: Sending) -> Iterator[Notice]:
    if old.unended is not None and new.unended is None:
        yield load("tui.console.model.job_notices", "ended_late")(new, at)
    elif new.last_job is not None and new.last_job is not old.last_job:
        yield load("tui.console.model.job_notices", "job_notice")(new, new.last_job, at)
    if new.unended is not None and old.unended is None:
        text = f"{_name(new)}: {safe(str(new.unended), 240)}; it is tried again"
        yield Notice(Level.ERROR, text, at, new.id)
    if new.left_jobs and not old.left_jobs:
        asks = f"{key('copy', 'c')} asks whether to end it"
        does = clause(sending, new.vm, asks, clear_command(new.vm))
        text = f"{_name(new)}: left copy{does}: {safe(str(new.left_jobs[0]), 200)}"
        yield Notice(Level.ERROR, text, at, new.id)


def outcome_notice(
    state: VmState, outcome: Outcome, at: datetime, sending: Sending = Sending.BY_KEYS
) -> Notice:
    """Return a freeze's outcome as a notice: what to do first, as the line may be cut."""
    said = explained(outcome, state)
    word = outcome.word
    text = f"{_name(state)}: {word}: {safe(outcome.reason, 400)}"
    if state.progress is None and state.left_frozen:
        shows = f"{key('rescue', 'R')} shows its rescue"
        does = clause(sending, state.vm, shows, ladder_command(state.vm), ": ")
        text = f"{_name(state)} MAY STILL BE FROZEN{does}; {word}"
        return Notice(Level.ERROR, f"{text}: {safe(outcome.reason, 400)}", at, state.id)
    if outcome.refusal is not None:
        step = safe(said.next or "", 300).partition(", then:")[0].partition("; ")[0]
        text = f"{_name(state)}: refused, {outcome.refusal}: {step or safe(outcome.reason, 400)}"
    elif said.meaning is not None:
        text = f"{_name(state)}: {word}: {_in_short(said.meaning)}"
    return Notice(_level(outcome), text, at, state.id)


def _in_short(meaning: Meaning) -> str:
    """Return what an outcome means; a guest that may be frozen comes first, as the line is cut."""
    copy, _, guest = meaning.short.partition("; ")
    urgent = meaning.guest_is in (GuestIs.MAY_BE_FROZEN, GuestIs.WILL_FREEZE)
    return f"{guest}; {copy}" if urgent else meaning.short


def thaw_notice(name: str, outcome: ThawOutcome, at: datetime) -> Notice:
    """Return a thaw's outcome as a notice: what to do first, as the line may be cut."""
    short, reason = fit_middle(safe(name), NAME), safe(outcome.reason, 400)
    if outcome.ok:
        return Notice(Level.GOOD, f"{short}: {reason}", at, outcome.vm)
    if outcome.refused:
        return Notice(Level.WARNING, f"{short}: not thawed: {reason}", at, outcome.vm)
    text = f"{short} MAY STILL BE FROZEN: {key('rescue', 'R')} shows its rescue; {reason}"
    return Notice(Level.ERROR, text, at, outcome.vm)


def _level(outcome: Outcome) -> Level:
    if outcome.kind in _BAD_OUTCOMES:
        return Level.ERROR
    good = outcome.kind is OutcomeKind.VERIFIED and not outcome.without_group
    return Level.GOOD if good else Level.WARNING


def _of_others(old: Others | None, state: VmState, at: datetime) -> Iterator[Notice]:
    """Yield what others have lost, have had pending for long, or have left frozen: all rings."""
    others, name = doer(state), _name(state)
    if others is None or _foreign(state):
        return
    if _lost(others) and not (old is not None and _lost(old)):
        cause = f" ({others.cause})" if others.cause is not None else ""
        end = "they wait on" if others.waits else "they left"
        text = f"{name}: others-lost{cause}: {_by(others)} since {others.since:%H:%M:%S}; {end}"
        yield Notice(Level.ERROR, text, at, state.id)
    if others.overdue is not None and (old is None or old.overdue is None):
        text = f"{name}: others-pending {others.overdue}: {_by(others)}"
        yield Notice(Level.WARNING, text, at, state.id, rings=True)


def _by(others: Others) -> str:
    return "somebody" if others.by is None else safe(str(others.by), 60)


def _lost(others: Others) -> bool:
    return others.state in (OthersState.LOST, OthersState.LEFT)


def _phase(state: VmState) -> Phase | None:
    return state.progress.phase if state.progress is not None else None


def _foreign(state: VmState) -> bool:
    return state.freeze.foreign and state.freeze.state is FreezeState.FROZEN


def _name(state: VmState) -> str:
    return fit_middle(safe(state.vm.name), NAME)
