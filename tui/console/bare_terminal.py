"""What is written without a screen: while the console is stopped, and after it has been left."""

from __future__ import annotations

import os
import select
import sys
from collections import Counter
from collections.abc import Iterator

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState, OutcomeKind
from tui.console.ports import OperationPort, OperationsPort
from tui.shared.clocks import Clock, Moment
from tui.shared.fit import safe
from tui.shared.folding import columns_of, folded

FEW = 8


def stopped_lines(
    fleet: Fleet, operations: OperationsPort, clock: Clock | None = None
) -> Iterator[str]:
    """Yield what happens to guests while the console is stopped (Ctrl-Z)."""
    flying = tuple(operations.active())
    if not flying:
        yield "frostwatch: stopped; nothing is in flight. fg goes on."
        return
    moment = (clock or Clock()).moment()
    for one in flying[:FEW]:
        yield f"frostwatch: {safe(str(one.vm.id), 120)}: {_meanwhile(fleet, one, moment)}"
    if len(flying) > FEW:
        yield f"frostwatch: and {len(flying) - FEW} more in flight"
    yield "frostwatch: stopped; nobody watches meanwhile. fg goes on."


def _meanwhile(fleet: Fleet, operation: OperationPort, moment: Moment) -> str:
    if operation.kind != "freeze":
        return f"its {operation.kind} waits until frostwatch goes on"
    try:
        progress = fleet.get(operation.vm.id).progress
    except KeyError:
        progress = None
    if progress is None or progress.sent_at is None:
        return "its freeze is sent when frostwatch goes on"
    if progress.held_since is not None:
        until = _clock(progress.hold_ends_at, moment)
        return f"FROZEN{until and f' until {until}'}; its holder thaws it then"
    until = _clock(progress.ends_at, moment)
    return f"freezing; its holder thaws it{until and f' after {until}'}, if frostwatch has not"


def _clock(at: float | None, moment: Moment) -> str:
    return moment.wall_at(at).strftime("%H:%M:%S") if at is not None else ""


# -- after the console ---------------------------------------------------------------------------


def last_line(fleet: Fleet, *, left: int, handed_over: int, idle: bool) -> str:
    """Return what came of this session's freezes, and what is left.

    Args:
        fleet: where each VM's last outcome is.
        left: how many guests this console may have left frozen, to nobody's care.
        handed_over: how many it has left to the holder.
        idle: nothing was in flight when it left.
    """
    states = fleet.states()
    ours = [state.last for state in states if state.last is not None]
    counts = Counter(outcome.word for outcome in ours).most_common()
    told = ", ".join(f"{count} {word}" for word, count in counts)
    parts = [f"last freeze of {guests(len(ours))}: {told}"] if ours else []
    if idle and not (ours or left):
        parts.append("nothing was frozen")
    if left:
        parts.append(f"{guests(left)} MAY STILL BE FROZEN")
    if handed_over:
        parts.append(f"{guests(handed_over)} left to the holder")
    if any(one.kind is not OutcomeKind.REFUSED for one in ours) and not (left or handed_over):
        parts.append("this console left none frozen")
    if others := sum(map(_is_others, states)):
        parts.append(f"{guests(others)} frozen by others")
    return f"frostwatch: {'; '.join(parts) or 'left'}"


def _is_others(state: VmState) -> bool:
    return state.freeze.state is FreezeState.FROZEN and (
        state.freeze.foreign or state.left_by is not None or state.held_by is not None
    )


def guests(count: int) -> str:
    """Return so many guests, in words."""
    return f"{count} guest{'' if count == 1 else 's'}"


def tell_stderr(text: str) -> None:
    """Write a line to stderr if anybody takes it within a second; a dead terminal stops nothing."""
    lines = folded(text, columns_of(sys.__stderr__) if sys.__stderr__ is not None else None)
    data = b"".join(
        line.encode("ascii", "backslashreplace") + b"\r\n" for line in lines.split("\n")
    )
    try:
        _, writable, _ = select.select([], [2], [], 1.0)
        if writable:
            os.write(2, data)
    except (OSError, ValueError):
        return
