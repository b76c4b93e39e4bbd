"""What the pane says of what others have pending in a guest, have lost, or have left."""

from __future__ import annotations

from collections.abc import Iterator

from agentclient.model.durations import in_words
from agentclient.model.others import Others
from agentclient.model.others_freeze import (
    GRADE_WORDS,
    Grade,
    OthersFreeze,
    graded,
    others_freeze,
)
from agentclient.model.others_step import others_action, they_wait
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, OthersState
from tui.console.widgets.pane.fact import Fact
from tui.console.widgets.table.cells import Paint, freeze_look
from tui.shared.clocks import age
from tui.shared.fit import safe
from tui.shared.tone import Tone


def others_facts(state: VmState, paint: Paint) -> Iterator[Fact]:
    """Yield what they do and for how long, what that means for the guest, and the next step."""
    word, others = others_freeze(state), state.others
    if others is None or word is None or word is OthersFreeze.FROZEN:
        return
    look = freeze_look(state)
    yield Fact("others", f"{paint.signs.labelled(look)}: {_what(others, paint)}", look.tone, 0)
    if others.state is not OthersState.LEFT:
        yield Fact("wait", safe(they_wait(others, paint.moment.wall), 300), rank=1)
    yield Fact("guest", _guest(state, others), rank=1)
    yield Fact("why", _how_sure(state), rank=2)
    step = others_action(others, state.vm)
    if step is not None:
        yield Fact("next", safe(step, 500), Tone.WARN, 0)


def _what(others: Others, paint: Paint) -> str:
    by = "somebody" if others.by is None else safe(others.by.in_full, 120)
    at = others.since.strftime("%H:%M:%S")
    seconds = in_words(age(others.since, paint.moment))
    if others.state is OthersState.LEFT:
        return f"{by} left at {at}, {seconds} ago, with a command pending"
    if others.state is OthersState.LOST:
        cause = f" ({others.cause})" if others.cause is not None else ""
        return f"{by} waits since {at}, for {seconds}, for an answer that is lost{cause}"
    return f"{by} waits for an answer since {at}, for {seconds}"


def _how_sure(state: VmState) -> str:
    sure = graded(state)
    words = GRADE_WORDS[sure.grade]
    if sure.grade is Grade.UNKNOWN:
        return f"{words}: the monitor does not show which command it is"
    return f"{words}, by {safe(sure.how, 120)}"


def _guest(state: VmState, others: Others) -> str:
    if others.state is OthersState.LEFT:
        return "may be frozen, or freeze yet: what they sent runs on without them"
    if others.state is OthersState.PENDING:
        return "may be frozen already: its agent says nothing before it is done"
    if state.agent.state is AgentState.CLOSED:
        return "may be frozen, and no agent runs in it that could be asked"
    return "may be frozen: its agent can't be asked while they hold the channel"
