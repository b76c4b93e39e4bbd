"""The words by which a guest's file systems are found: in filters, lists, figures and metrics."""

from __future__ import annotations

from typing import Final

from agentclient.model.others_freeze import others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState

FOREIGN: Final = "foreign"
LEFT: Final = "left"
HELD_BY: Final = "held-by"
UNKNOWN: Final = "unknown"


def freeze_words(state: VmState) -> set[str]:
    """Return the words for a guest's file systems, and for who froze them."""
    freeze = state.freeze
    words = {freeze.state.value if freeze.state is not None else UNKNOWN}
    if freeze.foreign and freeze.state is FreezeState.FROZEN:
        words.add(FOREIGN)
    if state.left_by is not None:
        words.add(LEFT)
    if state.held_by is not None:
        words.add(HELD_BY)
    if (others := others_freeze(state)) is not None:
        words.add(others.value)
    return words
