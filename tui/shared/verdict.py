"""Which outcome stands for a VM, and whether it is as good as it looks."""

from __future__ import annotations

from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import VmState
from tui.shared.glyphs import NO_GROUP, OUTCOME, Look


def verdict_of(state: VmState) -> Outcome | None:
    """Return the outcome that stands for a VM: of the freeze in flight, or of the last one."""
    if state.progress is not None and state.progress.what == "freeze":
        return state.progress.verdict
    return state.last


def look_of(outcome: Outcome) -> Look:
    """Return how an outcome is shown: certified is more than verified, *no group* is less."""
    look = NO_GROUP if outcome.without_group else OUTCOME[outcome.kind]
    return look._replace(word=outcome.word)
