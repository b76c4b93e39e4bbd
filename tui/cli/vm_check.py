"""What is known of the VMs as a plugin of Nagios tells it: a line, figures, and an exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Final

from agentclient.model.next_command import thaw_command
from agentclient.model.others_freeze import OthersFreeze, doer, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, RunState
from agentclient.model.text import printable
from tui.cli import tell
from tui.cli.vm_filter import Seen, may_be_frozen
from tui.shared.freeze_look import freeze_look

SERVICE: Final = "FROSTWATCH"
_NAMED: Final = 3
_LONGEST: Final = 400


class Health(IntEnum):
    """What a plugin tells by its exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


# What the console calls trouble as well.
_TROUBLED: Final = (RunState.PANICKED, RunState.IO_ERROR)
_GRAVITY: Final = (Health.OK, Health.UNKNOWN, Health.WARNING, Health.CRITICAL)


def plugin_output(seen: Seen) -> tuple[Health, list[str]]:
    """Return a plugin's exit code and lines: the first one sums up, the others tell details."""
    found: list[tuple[Health, str]] = [(Health.UNKNOWN, problem) for problem in seen.problems]
    found += [(Health.UNKNOWN, sentence) for sentence in seen.unknown]
    if str(seen.wanted):
        found += [(Health.CRITICAL, f"{one.id}: {_state(one)}") for one in seen.found]
    else:
        found += [told for one in seen.states for told in _judged(one)]
    found.sort(key=lambda each: -_GRAVITY.index(each[0]))
    health = found[0][0] if found else Health.OK
    first = f"{SERVICE} {health.name} - {_summary(seen, found, health)}"
    lines = [f"{one.name}: {_plain(text)}" for one, text in found]
    return health, [f"{_plain(first)} | {_figures(seen.states)}", *lines]


def tell_unknown(sentence: str) -> None:
    """Tell the line of a plugin that could not look at all, and why."""
    tell.whole(f"{SERVICE} UNKNOWN - {_plain(sentence)}")


def _summary(seen: Seen, found: Sequence[tuple[Health, str]], health: Health) -> str:
    count = len(seen.states)
    vms = "1 VM" if count == 1 else f"{count} VMs"
    asked = f" ({seen.wanted})" if str(seen.wanted) else ""
    worst = [text for one, text in found if one is health]
    if not worst:
        return f"{vms}, none of them matches{asked}" if asked else f"{vms}, none in trouble"
    named = "; ".join(worst[:_NAMED])
    more = f"; and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
    return f"{len(worst)} of {vms}{asked}: {named}{more}"


def _judged(state: VmState) -> Iterator[tuple[Health, str]]:
    """Yield what is wrong with a VM where nothing else is asked for."""
    others = others_freeze(state)
    if state.left_by is not None:
        step = thaw_command(state.vm)
        yield Health.CRITICAL, f"{state.id}: {state.left_by}, which has ended; next: {step}"
    elif others is OthersFreeze.LOST:
        yield Health.CRITICAL, f"{state.id}: {_by_others(state)}"
    elif others is OthersFreeze.FROZEN:
        late = state.freeze.overdue
        yield Health.CRITICAL if late else Health.WARNING, f"{state.id}: {_by_others(state)}"
    elif state.others is not None and state.others.overdue is not None:
        yield Health.WARNING, f"{state.id}: {_by_others(state)}, {state.others.overdue}"
    elif state.agent.state is AgentState.SILENT:
        why = state.agent.detail or "its agent does not answer"
        yield Health.WARNING, f"{state.id}: silent: {why}"
    elif state.run_state in _TROUBLED:
        yield Health.WARNING, f"{state.id}: {state.run_state}"
    elif (left := state.unended or next(iter(state.left_jobs), None)) is not None:
        yield Health.WARNING, f"{state.id}: {left}"


def _by_others(state: VmState) -> str:
    word, by = freeze_look(state).word, doer(state)
    late = f", {state.freeze.overdue}" if state.freeze.overdue else ""
    return f"{word}{late}" if by is None else f"{word}: {by}{late}"


def _state(state: VmState) -> str:
    """Return the words by which a VM may have matched."""
    words = [f"agent {state.agent.state}"]
    if state.freeze.state is not None:
        since = f" since {state.freeze.since:%Y-%m-%d %H:%M:%S}" if state.freeze.since else ""
        words.append(f"{state.freeze.state}{since}")
    others = others_freeze(state)
    words += [_by_others(state)] if others is not None else []
    words += [str(state.left_by)] if state.left_by is not None else []
    words += [str(state.held_by)] if state.held_by is not None else []
    return ", ".join(words)


def _figures(states: Iterable[VmState]) -> str:
    """Return the performance data: how many VMs are in which state."""
    every = list(states)
    others = [others_freeze(one) for one in every]
    counts = {
        "vms": len(every),
        **{str(word): sum(one.agent.state is word for one in every) for word in AgentState},
        "frozen": sum(one.freeze.state is FreezeState.FROZEN for one in every),
        "foreign": others.count(OthersFreeze.FROZEN),
        "left": sum(one.left_by is not None for one in every),
        "held_by": sum(one.held_by is not None for one in every),
        "others_pending": others.count(OthersFreeze.PENDING),
        "others_lost": others.count(OthersFreeze.LOST),
        "not_known": sum(one.freeze.state is None and may_be_frozen(one) for one in every),
    }
    return " ".join(f"{word}={count};;;0" for word, count in counts.items())


def _plain(text: str) -> str:
    """Return text in which nothing ends the line, or begins the figures."""
    return printable(text, _LONGEST).replace("|", "/")
