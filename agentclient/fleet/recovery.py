"""Finds freezes that a dead frostwatch has left, in the journal, so that they can be thawed (P4).

The journal says which guests may be frozen by frostwatch, and the ordinary visits ask their agents.
Each decision reads the journal anew, since other processes write to it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from agentclient.fleet.store import Fleet
from agentclient.journal import rows
from agentclient.journal.held_by_others import held_by
from agentclient.journal.left_windows import (
    OPEN_WINDOWS,
    EndedWindow,
    close_windows,
    has_taken,
    match,
    open_windows,
)
from agentclient.journal.writer import PATIENCE_S, Journal
from agentclient.model.clock import now
from agentclient.model.json_contract import rfc3339
from agentclient.model.snapshot import HeldBy, LeftBy, VmState
from agentclient.model.states import FreezeState
from agentclient.model.vm import Identity, Vm

# A listing may wait longer for the journal than a freeze or a thaw.
LIST_S: Final = 2.0
FOUND_THAWED: Final = "found thawed"


class Recovery:
    """Writes the freezes that were left from the journal to the fleet, and their ends back to it.

    Args:
        journal: the journal with the windows.
        ended: returns whether a start of a VM has ended; None if its backend can't tell.
    """

    def __init__(self, journal: Journal, ended: Callable[[Identity], bool | None]) -> None:
        self._journal = journal
        self._open_windows = open_windows(ended)

    def look(self, fleet: Fleet, *, all_seen: bool = True) -> None:
        """Write to the fleet which VMs a frostwatch may have frozen; nothing without an answer.

        Args:
            fleet: where it is written.
            all_seen: every VM of this host is in the fleet, so that none outside of it can have
                received a guest that migrated.
        """
        found = self._journal.ask(self._open_windows, LIST_S)
        if found is None:
            return
        vms = [state.vm for state in fleet.states()]
        to_close = tuple(one for one in found.to_close if _is_over(one, vms, all_seen=all_seen))
        if to_close:
            self._journal.put(close_windows(to_close, rfc3339(fleet.wall()) or ""))
        for state in fleet.states():
            held = held_by(state.vm, found.others)
            seen_alone = state.held_by is not None and state.held_by.window is None
            if held != state.held_by and not (held is None and seen_alone):
                fleet.update(state.id, partial(VmState.with_held_by, held=held))
            by = match(state.vm, found.left)
            if by != state.left:
                fleet.update(state.id, partial(with_left, left=by))

    def check(self) -> None:
        """Make a test write, so that a broken journal is known before a freeze."""
        self._journal.put(rows.check(rfc3339(now()) or ""))

    def answered(self, before: VmState, after: VmState) -> None:
        """Close the window of a guest whose agent has just said that it is thawed."""
        left = before.left
        if left is None or after.left is not None or after.freeze.state is not FreezeState.THAWED:
            return
        at = rfc3339(after.agent.seen_at) or ""
        self._journal.put(rows.close(left.window, FOUND_THAWED, at, settled=True))


def _is_over(one: EndedWindow, vms: Sequence[Vm], *, all_seen: bool) -> bool:
    """Return whether a window is over: no VM here can have received its guest."""
    left = one.left
    return left is None or (all_seen and not any(has_taken(vm, left) for vm in vms))


def held_now(journal: Journal, vm: Vm) -> HeldBy | None:
    """Return which other frostwatch works on a VM now; None if none is known."""
    found = journal.ask(OPEN_WINDOWS, PATIENCE_S)
    return held_by(vm, found.others) if found is not None else None


def with_left(state: VmState, left: LeftBy | None) -> VmState:
    """Return a VM's state with `left` set, and the freeze's `since` and `foreign` to match."""
    info = state.freeze
    if info.state is FreezeState.FROZEN and state.progress is None:
        foreign = left is None and not state.left_frozen
        info = info._replace(since=left.at if left else info.since, foreign=foreign)
    return state._replace(left=left, freeze=info)
