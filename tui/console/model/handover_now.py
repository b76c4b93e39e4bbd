"""What of a handover still holds: a guest that has been thawed since is told as held no longer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from agentclient.model.snapshot import HeldBy, VmState
from agentclient.model.states import FreezeState, RunState, WindowState

if TYPE_CHECKING:
    from agentclient.journal.handover import Handover
    from agentclient.journal.window_row import WindowRow


def handover_now(found: Handover, states: Iterable[VmState]) -> Handover:
    """Return a handover without what is known to be over.

    What is not known stays as the journal told it (P9).

    Args:
        found: what has happened since the operator left.
        states: what is known of the VMs now.
    """
    wanted = {one.vm for one in found.held} | {row.vm for row in found.windows if _goes_on(row)}
    known = [one for one in states if one.vm.name in wanted or str(one.id) in wanted]
    if not known:
        return found
    held = tuple(one for one in found.held if not _is_over(known, one.vm, one.by))
    over = {str(one.id) for one in known if _is_thawed(one)}
    rows = tuple(_ended(row) if _goes_on(row) and row.vm in over else row for row in found.windows)
    same = len(held) == len(found.held) and rows == found.windows
    return found if same else replace(found, held=held, windows=rows)


def _goes_on(row: WindowRow) -> bool:
    """Return whether a window is told as one that is open, or whose guest may still be frozen."""
    return row.state is WindowState.OPEN or not row.settled


def _ended(row: WindowRow) -> WindowRow:
    return replace(row, state=WindowState.CLOSED, settled=True)


def _is_over(known: Iterable[VmState], name: str, by: HeldBy) -> bool:
    """Return whether every VM of that name is known not to be held by them any more."""
    states = [one for one in known if one.vm.name == name]
    return bool(states) and all(_is_thawed(one) or _is_others(one, by) for one in states)


def _is_others(state: VmState, by: HeldBy) -> bool:
    """Return whether another frostwatch than that one is at work on a VM now."""
    return state.held_by is not None and state.held_by.window != by.window


def _is_thawed(state: VmState) -> bool:
    """Return whether nothing of a VM is frozen, and nobody is known to be at work on it."""
    if state.run_state is RunState.GONE:
        return True
    idle = state.held_by is None and state.progress is None
    return idle and state.freeze.state is FreezeState.THAWED
