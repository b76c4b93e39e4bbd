"""What the pane says of a freeze's outcome, or of its verdict: what it means, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from agentclient.freeze.coverage import describe
from agentclient.model.durations import in_words
from agentclient.model.next_command import ladder_command
from agentclient.model.outcome import Evidence, Outcome
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, CopyIs, GuestIs, OutcomeKind, Phase
from agentclient.model.text import uncut
from tui.console.model.explained import explained
from tui.console.model.sending import step
from tui.console.widgets.pane.fact import Fact
from tui.console.widgets.table.cells import Paint
from tui.shared.fit import safe
from tui.shared.glyphs import EVIDENCE
from tui.shared.key_hints import key
from tui.shared.newest_job import newest_job
from tui.shared.tone import Tone
from tui.shared.verdict import look_of, verdict_of

_COPY_TONE = {CopyIs.CONSISTENT: Tone.GOOD, CopyIs.UNKNOWN: Tone.WARN, CopyIs.NOT: Tone.BAD}
_UNWELL = frozenset({GuestIs.MAY_BE_FROZEN, GuestIs.WILL_FREEZE})


def outcome_facts(state: VmState, paint: Paint) -> Iterator[Fact]:
    """Yield what came out, what it means for the copy and for the guest, and the next step."""
    found = verdict_of(state)
    if found is None:
        return
    verdict = explained(found, state)
    held = state.progress is not None and state.progress.phase is Phase.HELD
    look = look_of(verdict)
    why = verdict.refusal or verdict.cause
    named = why is not None and why.value not in verdict.reason
    head = f"{look.word} ({why})" if named else look.word
    label = "verdict" if state.progress is not None else "last"
    if verdict.settled and is_of_a_copy(state):
        label = "freeze"
    text = f"{paint.signs.of(look)} {head}: {reason_of(verdict)}"
    yield Fact(label, text, look.tone, 4 if held else 1, more=True)
    if verdict.settled and is_of_a_copy(state):  # the copy's own facts say what that means
        yield from _figures(verdict, paint, over=True)
        return
    yield from _meaning(verdict, held=held)
    if verdict.next and not _has_step_of_its_own(state):
        tone = Tone.NORMAL if verdict.settled else Tone.BAD
        yield Fact("next", uncut(verdict.next), tone, 1)
    elif state.progress is not None and not verdict.settled and not held:
        no_agent = state.agent.state is AgentState.CLOSED
        by_key = START_IT if no_agent else NOTHING_YET
        does = step(paint.sending, state.vm, by_key, ladder_command(state.vm))
        yield Fact("next", does, Tone.NORMAL, 1)
    yield from _figures(verdict, paint, over=state.progress is None)


def is_of_a_copy(state: VmState) -> bool:
    """Return whether a freeze that is over was a copy's, which is still told of."""
    copied = state.job is not None or newest_job(state) is not None
    return copied and state.progress is None


NOTHING_YET = (
    f"wait: it is thawed as soon as possible; {key('rescue', 'R')} shows what else can be done"
)

START_IT = (
    "start its agent in the guest: it is thawed at once then; "
    f"if not: {key('rescue', 'R')}"  # on 80x24 each has one line
)


def reason_of(verdict: Outcome) -> str:
    """Return what happened; of a group its failure first."""
    if verdict.not_together:
        by_itself, its_group, why = verdict.reason.partition("its group ")
        return safe(f"{its_group}{why} ({by_itself.rstrip('; ')})" if why else by_itself, 400)
    return safe(verdict.reason, 400)


def _meaning(verdict: Outcome, *, held: bool) -> Iterator[Fact]:
    meaning = verdict.meaning
    if meaning is None:
        return
    tone = Tone.HEAD if held else _COPY_TONE[meaning.copy_is]
    yield Fact("copy", safe(meaning.copy, 300), tone, 1)
    unwell = meaning.guest_is in _UNWELL
    yield Fact("guest", safe(meaning.guest, 300), Tone.BAD if unwell else Tone.NORMAL, 1)


def _has_step_of_its_own(state: VmState) -> bool:
    """Return whether the state of the file systems has something more urgent to be done."""
    others = state.left_by is not None or state.held_by is not None
    return state.freeze.foreign or others


def _figures(verdict: Outcome, paint: Paint, *, over: bool) -> Iterator[Fact]:
    if verdict.kind is OutcomeKind.REFUSED:
        return
    frozen = "the freeze was not answered"
    if verdict.frozen is not None:
        frozen = f"{verdict.frozen} frozen"
    thawed = "no thaw was acknowledged" if over else "not thawed yet"
    if verdict.thawed is not None:
        thawed = f"{verdict.thawed} thawed"
    parts = [frozen, thawed, f"in {in_words(verdict.seconds)}"]
    if verdict.coverage and verdict.frozen is not None:  # else nothing is known to be covered
        parts.append(f"coverage {safe(verdict.coverage, 40)}")
    yield Fact("counts", f" {paint.signs.dot} ".join(parts))
    if verdict.not_covered:
        named = safe(describe(verdict.not_covered), 400) or "none"
        yield Fact("outside", f"{named} could take writes all the time", Tone.WARN)


def evidence_facts(state: VmState, paint: Paint) -> Iterator[Fact]:
    """Yield what was seen, for and against."""
    verdict = verdict_of(state)
    for number, piece in enumerate(verdict.evidence if verdict else ()):
        look = EVIDENCE[piece.result]
        text = f"{paint.signs.of(look)} {_piece(piece)}"
        yield Fact("evidence" if number == 0 else "", text, look.tone, 8)


def _piece(piece: Evidence) -> str:
    value = "" if piece.value is None else f": {safe(str(piece.value))}"
    seen = "" if piece.age_s is None else f" ({in_words(piece.age_s)} old)"
    return f"{safe(piece.name)}{value}{seen}"
