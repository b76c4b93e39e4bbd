"""Finds out who owns a guest's freeze: we, a frostwatch that died, or a running one (P4, P11)."""

from __future__ import annotations

from agentclient.fleet.recovery import held_now
from agentclient.journal.left_windows import is_ours
from agentclient.model.snapshot import HeldBy
from agentclient.operations.context import OperationContext


def held_by(context: OperationContext) -> HeldBy | None:
    """Return which other frostwatch works on a VM now; None if none does."""
    held = context.state.held_by
    if held is None or held.window is None or context.journal is None:
        return held
    return held_now(context.journal, context.vm)


def is_provably_ours(context: OperationContext) -> bool:
    """Return whether a freeze of the VM is ours, or was left by a frostwatch that died."""
    return context.state.left_frozen or is_ours(context.journal, context.vm)
