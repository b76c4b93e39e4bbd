"""What a filter can ask of a VM: the words of each key, and the text that a plain word is found in.

The words are those of the screen, of ``list --state`` and of the JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from agentclient.model.job import Consistency, JobKind, JobResult
from agentclient.model.others_freeze import OthersFreeze, doer, others_freeze
from agentclient.model.outcome import CERTIFIED, NO_GROUP_WORD
from agentclient.model.snapshot import VmState
from agentclient.model.states import (
    AgentState,
    Cause,
    FreezeState,
    OutcomeKind,
    Refusal,
    RunState,
)
from tui.shared.freeze_words import FOREIGN, HELD_BY, LEFT, UNKNOWN, freeze_words
from tui.shared.newest_job import job_words, newest_job
from tui.shared.reason import reason_of
from tui.shared.trouble import needs_attention
from tui.shared.verdict import verdict_of

_NAME_LIMIT = 300

FREEZE_WORDS: Final = (*FreezeState, FOREIGN, LEFT, HELD_BY, *OthersFreeze)
STATE_KEY, AGENT_KEY, NAME_KEY = "state", "agent", "name"


# -- keys with a closed list of words --------------------------------------------------------------


def _outcome_words(state: VmState) -> set[str]:
    verdict = verdict_of(state)
    if verdict is None:
        return set()
    if verdict.without_group:
        return {NO_GROUP_WORD}
    return {verdict.kind.value, verdict.word}


def _cause_words(state: VmState) -> set[str]:
    verdict = verdict_of(state)
    found = (verdict.cause, verdict.refusal) if verdict is not None else ()
    return {one.value for one in found if one is not None}


def _copy_words(state: VmState) -> set[str]:
    words: set[str] = set()
    if state.job is not None:
        words |= {"copying", state.job.kind.value}
    if (ended := newest_job(state)) is not None:
        words |= {ended.kind.value, ended.result.value, ended.consistency.value}
    if state.left_jobs:
        words.add(LEFT)
    if state.unended is not None:
        words.add("not-ended")
    return words


def _kinds(state: VmState) -> set[str]:
    read_only = state.vm.policy is not None and state.vm.policy.read_only is not None
    found = {
        "trouble": needs_attention(state),
        "locked": state.vm.locked_by is not None,
        "busy": state.progress is not None or state.job is not None,
        "read-only": read_only,
    }
    return {word for word, holds in found.items() if holds}


class Closed:
    """A key that has a closed list of words.

    Attributes:
        words: all there are.
        of: returns those that hold for a VM.
    """

    def __init__(self, words: Iterable[str], of: Callable[[VmState], set[str]]) -> None:
        self.words = tuple(dict.fromkeys(str(word) for word in words))
        self.of = of


_COPIES = ("copying", "not-ended", *JobKind, *JobResult, *Consistency)

CLOSED: Final[Mapping[str, Closed]] = {
    STATE_KEY: Closed((*FREEZE_WORDS, UNKNOWN), freeze_words),
    AGENT_KEY: Closed(AgentState, lambda state: {state.agent.state.value}),
    "run": Closed(RunState, lambda state: {state.run_state.value}),
    "outcome": Closed((*OutcomeKind, CERTIFIED, NO_GROUP_WORD), _outcome_words),
    "cause": Closed((*Cause, *Refusal), _cause_words),
    "copy": Closed(_COPIES, _copy_words),
    "is": Closed(("trouble", "locked", "busy", "read-only"), _kinds),
}


# -- keys with any text ----------------------------------------------------------------------------


def names_of(state: VmState) -> tuple[str, ...]:
    """Return all that a VM is called: its id and name, its title, its VMID and UUID."""
    vm = state.vm
    return tuple(dict.fromkeys((str(vm.id), vm.name, vm.title or vm.name, *vm.selectors)))


def _by(state: VmState) -> str:
    found = [f"{one.user} {one.pid}" for one in (state.held_by, state.left_by) if one is not None]
    others = doer(state)
    if others is not None and others.by is not None:
        found.append(others.by.in_full)
    return " ".join(found)


OPEN: Final[Mapping[str, Callable[[VmState], str]]] = {
    NAME_KEY: lambda state: str(state.vm.id),
    "source": lambda state: state.vm.source,
    "by": _by,
    "lock": lambda state: state.vm.locked_by or "",
    "user": lambda state: state.vm.user or "",
    "why": reason_of,
}

KEYS: Final = (*CLOSED, *OPEN)


# -- plain words -----------------------------------------------------------------------------------


def search_text(state: VmState) -> str:
    """Return what a plain word is looked for in: the identity, and the words of the states."""
    freeze = state.freeze
    verdict = verdict_of(state)
    words = (
        str(state.id)[:_NAME_LIMIT],
        state.run_state,
        state.agent.state,
        freeze.state or "",
        FOREIGN if freeze.foreign and freeze.state is FreezeState.FROZEN else "",
        LEFT if state.left_by is not None else "",
        _of_others(state),
        *(_outcome_words(state) if verdict else ()),
        verdict.word if verdict else "",
        job_words(state),
        f"locked {state.vm.locked_by}"[:_NAME_LIMIT] if state.vm.locked_by else "",
    )
    return " ".join(words).casefold()


def _of_others(state: VmState) -> str:
    """Return the word for what others do to a guest's file systems, and who they are."""
    word = others_freeze(state)
    if word is None:
        return ""
    others = doer(state)
    by = others.by if others is not None else None
    return f"{word} {by.in_full if by is not None else ''}"[:_NAME_LIMIT]
