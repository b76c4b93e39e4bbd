"""What the pane says of what others have pending in a guest, have lost, or have left."""

from __future__ import annotations

from collections.abc import Iterator

from agentclient.model.durations import in_words
from agentclient.model.next_command import thaw_command
from agentclient.model.others import Others, WritesSeen
from agentclient.model.others_freeze import (
    GRADE_WORDS,
    Grade,
    OthersFreeze,
    doer,
    graded,
    others_freeze,
)
from agentclient.model.others_step import others_action, they_wait
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, OthersState
from agentclient.model.text import uncut
from agentclient.model.vm import DRILL_SOURCE
from tui.console.model.sending import Sending, by_hand
from tui.console.widgets.pane.fact import Fact
from tui.console.widgets.table.cells import Paint
from tui.shared.clocks import age
from tui.shared.fit import safe
from tui.shared.freeze_look import freeze_look
from tui.shared.key_hints import key
from tui.shared.tone import Tone


def others_facts(state: VmState, paint: Paint) -> Iterator[Fact]:
    """Yield what they do and for how long, what that means for the guest, and the next step."""
    others = doer(state)
    if others is None:
        return
    look = freeze_look(state)
    if others_freeze(state) is OthersFreeze.FROZEN:
        yield Fact("freeze", f"{paint.signs.labelled(look)}: {_left(others, paint)}", look.tone, 0)
        yield Fact("guest", "its writes wait: its agent says frozen", rank=1)
        yield Fact("next", uncut(_thaw(state, paint)), Tone.WARN, 0)
        return
    yield Fact("others", f"{paint.signs.labelled(look)}: {_what(others, paint)}", look.tone, 0)
    if others.waits:
        yield Fact("wait", safe(they_wait(others, paint.moment.wall), 300), rank=1)
    yield Fact("guest", _guest(state, others), rank=1)
    yield Fact("why", f"{_how_sure(state)}{_writes(others, paint)}", rank=2)
    step = others_action(others, state.vm)
    if step is not None:
        yield Fact("next", uncut(step), Tone.WARN, 0)


def _thaw(state: VmState, paint: Paint) -> str:
    """Return how a guest is thawed that others have left frozen."""
    command = thaw_command(state.vm, foreign=True)
    if paint.sending.to(state.vm) is not Sending.BY_KEYS:
        return f"make sure that nothing of theirs runs; {by_hand(state.vm, command)}"
    thaw = f"make sure that nothing of theirs runs; then {key('thaw', 't')}, which asks first"
    return thaw if state.vm.source == DRILL_SOURCE else f"{thaw}, or: {command}"


def _left(others: Others, paint: Paint) -> str:
    by = safe(others.by.in_full, 120) if others.by is not None else "somebody"
    at = others.since.strftime("%H:%M:%S")
    seconds = in_words(age(others.since, paint.moment))
    late = others.overdue or "they may thaw it yet"
    return f"by {by}, as it seems, who held its channel before; seen at {at}, {seconds} ago: {late}"


def _what(others: Others, paint: Paint) -> str:
    by = safe(others.by.in_full, 120) if others.by is not None else "somebody"
    at = others.since.strftime("%H:%M:%S")
    seconds = in_words(age(others.since, paint.moment))
    if others.state is OthersState.LEFT:
        return f"{by} left at {at}, {seconds} ago, with a command pending"
    if others.state is OthersState.LOST:
        cause = f" ({others.cause})" if others.cause is not None else ""
        if others.has_left:
            return f"{by} has left; their command of {at}, {seconds} ago, is lost{cause}"
        return f"{by} waits since {at}, for {seconds}, for an answer that is lost{cause}"
    late = f": {others.overdue}" if others.overdue is not None else ""
    return f"{by} waits for an answer since {at}, for {seconds}{late}"


def _how_sure(state: VmState) -> str:
    sure = graded(state)
    words = GRADE_WORDS[sure.grade]
    if sure.grade is Grade.UNKNOWN:
        return f"{words}: the monitor does not show which command it is"
    return f"{words}, by {safe(sure.how, 120)}"


def _writes(others: Others, paint: Paint) -> str:
    """Return what its writes tell, as further clauses."""
    match others.writes:
        case WritesSeen.STOPPED if others.wrote_at is not None:
            at, seconds = (
                f"{others.wrote_at:%H:%M:%S}",
                in_words(age(others.wrote_at, paint.moment)),
            )
            return (
                f"; it has written nothing since {at}, for {seconds}: frozen, or its storage hangs"
            )
        case WritesSeen.GO_ON:
            return "; it has written since, which proves nothing: a hook or a flush may run"
        case WritesSeen.SPARSE:
            return "; it hardly wrote before, so that its silence proves nothing"
    return ""


def _guest(state: VmState, others: Others) -> str:
    if others.state is OthersState.LEFT:
        return "may be frozen, or freeze yet: what they sent runs on without them"
    if others.state is OthersState.PENDING:
        return "may be frozen already: its agent says nothing before it is done"
    if state.agent.state is AgentState.CLOSED:
        return "may be frozen, and no agent runs in it that could be asked"
    if others.has_left:
        why = "it is locked" if state.vm.locked_by else "its agent has not answered since"
        return f"may be frozen: {why}"
    return "may be frozen: its agent can't be asked while they hold the channel"
