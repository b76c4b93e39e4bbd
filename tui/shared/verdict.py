"""Which outcome stands for a VM, and whether it is as good as it looks."""

from __future__ import annotations

from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import VmState
from agentclient.model.states import OutcomeKind
from tui.shared.glyphs import NO_GROUP, OUTCOME, Look


def verdict_of(state: VmState) -> Outcome | None:
    """Return the outcome that stands for a VM: of the freeze in flight, or of the last one."""
    if state.progress is not None and state.progress.what == "freeze":
        return state.progress.verdict
    return state.last


def without_group(verdict: Outcome) -> bool:
    """Return whether a freeze was good by itself, but its group's was not."""
    return verdict.not_together and verdict.kind is OutcomeKind.VERIFIED


def look_of(outcome: Outcome) -> Look:
    """Return how an outcome is shown: certified is more than verified, *no group* is less."""
    if without_group(outcome):
        return NO_GROUP
    look = OUTCOME[outcome.kind]
    certified = outcome.certified and outcome.kind is OutcomeKind.VERIFIED
    return look._replace(word="certified") if certified else look
