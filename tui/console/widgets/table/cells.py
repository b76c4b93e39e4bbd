"""What each column says about a VM: small functions from what is known to one cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from agentclient.freeze.risks import risks, why_not
from agentclient.late import load
from agentclient.model.durations import clock
from agentclient.model.others_freeze import (
    GRADE_WORDS,
    Grade,
    OthersFreeze,
    doer,
    graded,
    others_freeze,
)
from agentclient.model.place import NO_PLACE, Place
from agentclient.model.snapshot import Progress, VmState
from agentclient.model.states import FreezeState, OutcomeKind, Phase, RunState
from agentclient.model.vm import VmId
from tui.console.model.sending import Sending
from tui.shared.clocks import Moment, age, countdown, elapsed
from tui.shared.fit import safe
from tui.shared.freeze_look import freeze_look
from tui.shared.glyphs import (
    AGENT,
    OTHERS_LOST,
    OTHERS_PENDING,
    OUTCOME,
    PHASE,
    RUN,
    Look,
    Signs,
)
from tui.shared.newest_job import newest_job
from tui.shared.tone import Tone
from tui.shared.verdict import look_of, verdict_of


class Cell(NamedTuple):
    """What stands in one cell; the text is safe to show."""

    text: str
    tone: Tone = Tone.NORMAL


_REASON = 160  # characters; a wide screen has room for them
NOTHING = Cell("", Tone.DIM)
_STANDING = frozenset(
    {
        RunState.PAUSED,
        RunState.IO_ERROR,
        RunState.SUSPENDED,
        RunState.MIGRATED,
        RunState.SHUTDOWN,
        RunState.PANICKED,
        RunState.GONE,
    }
)


def _no_place(_vm_id: VmId) -> Place:
    return NO_PLACE


class Paint(NamedTuple):
    """What a cell depends on beside the VM.

    Attributes:
        moment: the time.
        signs: which signs can be shown.
        place: tells which one a VM's freeze is of those that wait for their turn.
        sending: whether the console's keys act on guests.
    """

    moment: Moment
    signs: Signs
    place: Callable[[VmId], Place] = _no_place
    sending: Sending = Sending.BY_KEYS

    def look(self, look: Look) -> Cell:
        """Return a cell with a state's sign and word."""
        return Cell(self.signs.labelled(look), look.tone)


def name(state: VmState, _paint: Paint) -> Cell:
    """Return the name that a person uses."""
    return Cell(safe(state.vm.name), Tone.NORMAL if state.present else Tone.DIM)


def source(state: VmState, _paint: Paint) -> Cell:
    """Return where the VM was found."""
    return Cell(safe(state.vm.source, 20), Tone.DIM)


def run(state: VmState, paint: Paint) -> Cell:
    """Return what the hypervisor says."""
    return paint.look(RUN[state.run_state])


def agent(state: VmState, paint: Paint) -> Cell:
    """Return the agent's health, or what keeps it from answering, whatever it was before."""
    if state.run_state in _STANDING:
        return paint.look(RUN[state.run_state])
    return paint.look(AGENT[state.agent.state])


def known_by(state: VmState, _paint: Paint) -> Cell:
    """Return what the agent's health is known from."""
    return Cell(state.agent.how.value, Tone.DIM)


def freeze(state: VmState, paint: Paint) -> Cell:
    """Return the state of the guest's file systems.

    Of others the column STEP/OUTCOME says who it is, so that a word is left out here.
    """
    look = freeze_look(state)
    if look not in (OTHERS_PENDING, OTHERS_LOST):
        return paint.look(look)
    doubt = "?" if graded(state).grade is Grade.UNKNOWN else ""
    return Cell(f"{paint.signs.of(look)} {look.word.removeprefix('others-')}{doubt}", look.tone)


def step(state: VmState, paint: Paint) -> Cell:
    """Return what goes on, with its clock; or what came out of the last freeze."""
    progress = state.progress
    if progress is None and state.held_by is not None:
        return Cell(f"by {safe(state.held_by.user, 20)}", Tone.FROZEN)
    if state.job is not None and (progress is None or progress.verdict is not None):
        return _of_job("step", state.job, paint)  # while its freeze is waited for, that is told
    if (others := doer(state)) is not None:
        who = "others" if others.by is None else others.by.short
        return Cell(f"by {safe(who, 40)}", freeze_look(state).tone)
    if progress is None:
        return outcome(state, paint)
    if progress.phase in (Phase.PENDING, Phase.BLOCKED) and progress.step:
        return _pending(progress, paint)
    if progress.phase is Phase.QUEUED:
        look, place = PHASE[Phase.QUEUED], paint.place(state.id)
        return Cell(f"{paint.signs.labelled(look)} {place or ''}".rstrip(), look.tone)
    verdict, thawing = progress.verdict, progress.phase is Phase.THAWING
    # However good a freeze was, it is not over before its thaw; a bad one is told at once.
    good = verdict is not None and verdict.kind is OutcomeKind.VERIFIED
    if verdict is not None and (progress.phase is Phase.HELD or (thawing and not good)):
        return paint.look(OUTCOME[verdict.kind])  # the column FREEZE says the rest
    return paint.look(PHASE[progress.phase])


def _pending(progress: Progress, paint: Paint) -> Cell:
    look = PHASE[progress.phase]
    place = f"{progress.step}/{progress.steps}"
    returns = f" {paint.signs.returns}" if progress.cancelled else ""
    if progress.phase is Phase.BLOCKED:
        return Cell(f"{place} {look.word}", look.tone)
    ends = progress.step_ends_at
    clock_text = countdown(ends, paint.moment) if ends is not None else ""
    return Cell(f"{place} {clock_text:>5}{returns}", Tone.WARN if returns else look.tone)


def total(state: VmState, paint: Paint) -> Cell:
    """Return how much longer the answer is waited for, in all."""
    progress = state.progress
    if state.job is not None and progress is None:
        return _of_job("total", state.job)
    if progress is None or progress.answer_ends_at is None:
        return NOTHING
    return Cell(countdown(progress.answer_ends_at, paint.moment))


def silent(state: VmState, paint: Paint) -> Cell:
    """Return for how long the guest has said nothing, while an answer is waited for."""
    progress = state.progress
    waits = progress is not None and progress.phase is not Phase.HELD
    since = silent_since(progress) if progress is not None and waits else None
    return Cell(elapsed(since, paint.moment), Tone.DIM) if since is not None else NOTHING


def silent_since(progress: Progress) -> float | None:
    """Return when the guest last answered; if it never did, when it was first asked."""
    return progress.heard_at if progress.heard_at is not None else progress.sent_at


def held(state: VmState, paint: Paint) -> Cell:
    """Return how long the window has been open, of how long at the most."""
    progress = state.progress
    if progress is not None and progress.held_since is not None:
        since = elapsed(progress.held_since, paint.moment)
        if progress.hold_ends_at is None:
            return Cell(since, Tone.FROZEN)
        whole = clock(progress.hold_ends_at - progress.held_since)
        return Cell(f"{since}/{whole}", Tone.FROZEN)
    others = others_freeze(state)
    if others in (OthersFreeze.PENDING, OthersFreeze.LOST) and state.others is not None:
        tone = freeze_look(state).tone
        seconds = clock(age(state.others.since, paint.moment))
        return Cell(f"{paint.signs.at_least}{seconds}", tone)  # we came later, perhaps
    return _foreign_age(state, paint)


def _foreign_age(state: VmState, paint: Paint) -> Cell:
    """Return since when somebody else's freeze was seen; it may be older."""
    info = state.freeze
    if info.state is not FreezeState.FROZEN or info.since is None:
        return NOTHING
    seconds = clock(age(info.since, paint.moment))
    held = state.held_by
    if held is not None:  # what another frostwatch does is known as well as what we do
        until = held.until or info.since
        whole = clock(max((until - info.since).total_seconds(), 0.0))
        return Cell(f"{seconds}/{whole}" if held.until else seconds, Tone.FROZEN)
    return Cell(f"{paint.signs.at_least}{seconds}", Tone.WARN)


def outcome(state: VmState, paint: Paint) -> Cell:
    """Return what came out of the last freeze, or copy; certified is told from verified."""
    if (state.left_jobs or state.unended is not None) and state.progress is None:
        return _of_job("left", state, paint)
    ended = newest_job(state)
    if ended is not None:
        return _of_job("outcome", ended, paint)
    verdict = verdict_of(state)
    if verdict is None:
        return NOTHING
    return paint.look(look_of(verdict))


def why(state: VmState, _paint: Paint) -> Cell:
    """Return the cause or the refusal behind the outcome, or what is in the way of looking."""
    if state.held_by is not None and state.progress is None:
        return Cell(safe(str(state.held_by), _REASON), Tone.FROZEN)
    if state.job is not None:
        return _of_job("why", state.job)
    if (others := doer(state)) is not None:
        by = "somebody" if others.by is None else others.by.in_full
        sure = GRADE_WORDS[graded(state).grade]
        return Cell(f"{sure}: {safe(by, _REASON)}", freeze_look(state).tone)
    if state.left_jobs or state.unended is not None:
        return _of_job("left_why", state)
    ended = newest_job(state)
    if ended is not None:
        return _of_job("outcome_why", ended)
    verdict = verdict_of(state)
    word = (verdict.refusal or verdict.cause) if verdict else None
    if word is not None:
        return Cell(word.value, Tone.DIM)
    if state.vm.locked_by:
        return Cell(f"locked: {safe(state.vm.locked_by, 40)}", Tone.DIM)
    if state.trouble:
        return Cell(safe(state.trouble, _REASON), Tone.WARN)
    return _not_now(state)


def _not_now(state: VmState) -> Cell:
    """Return why a freeze would be refused or risky, before anybody asks for one."""
    if state.progress is not None or state.freeze.state is FreezeState.FROZEN:
        return NOTHING
    reason = why_not(state)
    if reason is not None:
        return Cell(safe(reason, _REASON), Tone.DIM)
    return Cell("risky: see its pane", Tone.WARN) if risks(state) else NOTHING


def ticks(state: VmState) -> bool:
    """Return whether any of a VM's cells shows a running clock."""
    frozen = state.freeze.state is FreezeState.FROZEN or others_freeze(state) is not None
    return state.progress is not None or state.job is not None or frozen


def _of_job(cell: str, *arguments: object) -> Cell:
    """Return a cell about a copy; what makes it is imported with the first copy."""
    made: Cell = load("tui.console.widgets.table.job_cells", cell)(*arguments)
    return made
