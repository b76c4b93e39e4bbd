"""How the state of a guest's file systems is shown, wherever it is: by one sign and one word."""

from __future__ import annotations

from agentclient.model.others_freeze import OthersFreeze, others_freeze
from agentclient.model.snapshot import VmState
from tui.shared.glyphs import (
    FOREIGN,
    FREEZE,
    LEFT,
    LEFT_BY,
    OTHERS_LOST,
    OTHERS_PENDING,
    Look,
)

_OTHERS = {
    OthersFreeze.PENDING: OTHERS_PENDING,
    OthersFreeze.LOST: OTHERS_LOST,
    OthersFreeze.FROZEN: FOREIGN,
}


def freeze_look(state: VmState) -> Look:
    """Return how the state of a VM's file systems is shown."""
    if state.left_by is not None:
        return LEFT_BY
    if state.progress is None and state.left_frozen:
        return LEFT
    others = others_freeze(state)
    return FREEZE[state.freeze.state] if others is None else _OTHERS[others]
