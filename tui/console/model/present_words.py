"""What the words that are true of a VM look like, and what is said of each."""

from __future__ import annotations

from collections.abc import Iterator

from agentclient.model.explanation.by_hand import ByHand, by_hand
from agentclient.model.explanation.entry import Topic
from agentclient.model.explanation.present import Present
from agentclient.model.next_step import NOT_TOGETHER
from agentclient.model.states import (
    AgentState,
    OutcomeKind,
    Phase,
    RunState,
)
from agentclient.model.text import uncut
from agentclient.model.vm import Vm
from tui.console.model.sending import Sending, without_keys
from tui.shared.fit import safe
from tui.shared.glyphs import (
    AGENT,
    EVIDENCE,
    FOREIGN,
    FREEZE,
    JOB,
    LEFT,
    LEFT_BY,
    LEFT_JOB,
    NO_GROUP,
    OTHERS_LOST,
    OTHERS_PENDING,
    OUTCOME,
    PHASE,
    RUN,
    UNENDED,
    Look,
    Signs,
)
from tui.shared.job_words import all_looks
from tui.shared.tone import Line, Piece, Row, Tone

LABEL = 9
TOPIC_WIDTH = 13
MOST_TEXT = 2000

_FILE_SYSTEMS = (FOREIGN, LEFT_BY, LEFT, OTHERS_PENDING, OTHERS_LOST, *FREEZE.values())
_COPIES = (JOB, LEFT_JOB, UNENDED, *all_looks())


def look_of(one: Present) -> Look | None:
    """Return how a word is shown elsewhere; None if it has no sign."""
    topic, word = one.explanation.topic, one.explanation.word
    if one.result is not None:
        return EVIDENCE[one.result]
    looks: dict[Topic, dict[str, Look]] = {
        Topic.VM: {state.value: RUN[state] for state in RunState},
        Topic.AGENT: {state.value: AGENT[state] for state in AgentState},
        Topic.FILE_SYSTEMS: {look.word: look for look in reversed(_FILE_SYSTEMS)},
        Topic.STEP: {phase.value: PHASE[phase] for phase in Phase},
        Topic.COPY: {look.word: look for look in _COPIES},
    }
    if topic is Topic.OUTCOME:
        return _outcome_look(word)
    return looks.get(topic, {}).get(word)


def _outcome_look(word: str) -> Look:
    looks = {kind.value: OUTCOME[kind] for kind in OutcomeKind} | {NOT_TOGETHER: NO_GROUP}
    return looks.get(word, OUTCOME[OutcomeKind.VERIFIED])  # certified, held, and the like


def choice(one: Present, signs: Signs, *, first: bool) -> Line:
    """Return a word as a line of a list; `first`: it is the first one of its topic."""
    look = look_of(one)
    sign = signs.of(look) if look is not None else " "
    tone = look.tone if look is not None else Tone.NORMAL
    topic = one.explanation.topic.value if first else ""
    return (
        Piece(f"{topic:<{TOPIC_WIDTH}}", Tone.DIM),
        Piece(f"{sign} {one.explanation.word}", tone),
    )


def commands(one: Present, vm: Vm) -> tuple[ByHand, ...]:
    """Return what can be done by hand about a word, on this very VM."""
    return by_hand(one.explanation.by_hand, vm)


def paragraph(
    one: Present,
    vm: Vm,
    signs: Signs,
    *,
    roomy: bool = True,
    sending: Sending = Sending.BY_KEYS,
) -> Iterator[Line]:
    """Yield all that there is to say about a word, in lines that are still to be wrapped.

    Args:
        one: the word.
        vm: the VM that it is true of.
        signs: the set of signs that the terminal can show.
        roomy: leave an empty line between two parts.
        sending: whether the console's keys act on it; in a replay nothing is to be done now.
    """
    space: tuple[Line, ...] = ((),) if roomy else ()
    look, said = look_of(one), one.explanation
    tone = look.tone if look is not None else Tone.HEAD
    sign = f"{signs.of(look)} " if look is not None else ""
    yield (Piece(f"{sign}{said.word}", tone), Piece(": "), Piece(said.what, Tone.HEAD))
    yield from space
    rows = (
        ("here", one.seen),
        ("known", said.known),
        ("data", said.data),
        ("next", "" if sending is Sending.REPLAY else without_keys(one.do, vm, sending)),
    )
    for label, text in rows:
        if text:
            yield (Piece(f"{label:<{LABEL}}", Tone.DIM), Piece(safe(text, MOST_TEXT)))
            yield from space
    found = commands(one, vm)
    if found:
        yield (Piece("by hand", Tone.HEAD), Piece("  a digit copies the command", Tone.DIM))
    for number, hand in enumerate(found, start=1):
        row = number, hand.command
        head = (Piece(f"  {number:<{LABEL - 2}}", Tone.ACTIVE), Piece(hand.what, Tone.DIM))
        yield Row.of(row, head)
        yield Row.of(row, (Piece(" " * LABEL), Piece(uncut(hand.command))))


def plain_text(one: Present, vm: Vm) -> str:
    """Return the same without signs and colours, to be copied."""
    said = one.explanation
    lines = [f"{safe(str(vm.id), 400)}: {said.word} ({said.topic}): {said.what}"]
    for label, text in (("Here", one.seen), ("Known", said.known), ("Data", said.data)):
        lines += [f"{label}: {safe(text, MOST_TEXT)}"] if text else []
    lines += [f"Next: {safe(one.do, MOST_TEXT)}"] if one.do else []
    for hand in commands(one, vm):
        lines += [f"# {hand.what}", hand.command]
    return "\n".join(lines) + "\n"
