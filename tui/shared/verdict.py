"""Which outcome stands for a VM, and whether it is as good as it looks."""

from __future__ import annotations

from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import VmState
from agentclient.model.states import OutcomeKind


def verdict_of(state: VmState) -> Outcome | None:
    """Return the outcome that stands for a VM: of the freeze in flight, or of the last one."""
    if state.progress is not None and state.progress.what == "freeze":
        return state.progress.verdict
    return state.last


def without_group(verdict: Outcome) -> bool:
    """Return whether a freeze was good by itself, but its group's was not."""
    return verdict.not_together and verdict.kind is OutcomeKind.VERIFIED
