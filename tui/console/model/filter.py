"""What the operator wants to see: words that must all be found in what a row says."""

from __future__ import annotations

from dataclasses import dataclass

from agentclient.model.others_freeze import doer, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState
from tui.console.model.newest_job import job_words
from tui.console.model.tally import verdict_of

_NAME_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Filter:
    """Words separated by spaces; ``!word`` hides what it is found in.

    Attributes:
        text: as the operator typed it.
    """

    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.text.strip())

    def matches(self, state: VmState) -> bool:
        """Return whether a VM is shown."""
        terms = self.text.casefold().split()
        if not terms:
            return True
        hay = search_text(state)
        return all(
            (term[1:] not in hay) if term.startswith("!") and term[1:] else (term in hay)
            for term in terms
        )


def search_text(state: VmState) -> str:
    """Return what a filter looks in: the identity, and the words of the states."""
    freeze = state.freeze
    verdict = verdict_of(state)
    words = (
        str(state.id)[:_NAME_LIMIT],
        state.run_state,
        state.agent.state,
        freeze.state or "",
        "foreign" if freeze.foreign and freeze.state is FreezeState.FROZEN else "",
        "left" if state.left_by is not None else "",
        _of_others(state),
        verdict.kind if verdict else "",
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
