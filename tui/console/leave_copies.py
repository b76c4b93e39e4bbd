"""Ends the copies of a console that is left, or leaves them to QEMU; says what is left behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from agentclient.model.next_command import clear_command
from agentclient.model.text import uncut
from agentclient.model.vm import Vm
from tui.console.ports import JobPort
from tui.shared.fit import safe
from tui.shared.signals import Signals

LEAVING_S: Final = 3.0
_LOOK_S = 0.1
_TELL_AFTER_S = 1.0


def end_copies(
    copied: Sequence[JobPort],
    signals: Signals,
    tell: Callable[[str], None],
    *,
    wait_s: float | None = None,
) -> int:
    """Wait until copies that were stopped or left have ended, and say what is left of them.

    Args:
        copied: the copies.
        signals: one more of them ends the waiting.
        tell: says one line to whoever may read it.
        wait_s: how long to wait, in seconds, since they are left by choice; None until they end.

    Returns:
        How many have left something that nobody has chosen.
    """
    requests, began = signals.requests, time.monotonic()
    told = False
    while any(not one.done for one in copied) and signals.requests <= requests:
        waited = time.monotonic() - began
        if wait_s is not None and waited > wait_s:
            break
        if wait_s is None and waited > _TELL_AFTER_S and not told:
            told = True
            names = ", ".join(_id(one.vm) for one in copied if not one.done)
            tell(f"frostwatch: ending the copies of {names}; Ctrl-C leaves them to QEMU")
        time.sleep(_LOOK_S)
    return sum(_tell_end(one, tell, by_choice=wait_s is not None) for one in copied)


def tell_unended(jobs: Sequence[JobPort], tell: Callable[[str], None]) -> int:
    """Say which copies that were to end QEMU goes on with; return how many."""
    for job in jobs:
        command = uncut(clear_command(job.vm))
        tell(
            f"frostwatch: {_id(job.vm)}: QEMU could not end its {job.kind}; once its storage "
            f"answers again: {command}"
        )
    return len(jobs)


def _tell_end(job: JobPort, tell: Callable[[str], None], *, by_choice: bool) -> bool:
    """Say what became of a copy; return whether something is left that nobody has chosen."""
    outcome = job.wait(0)
    if outcome is None or outcome.result == "left":
        command = uncut(clear_command(job.vm))
        tell(
            f"frostwatch: {_id(job.vm)}: QEMU may go on with its {job.kind}, which nobody "
            f"certifies; to end it: {command}"
        )
        return not by_choice
    tell(f"frostwatch: {_id(job.vm)}: {safe(outcome.reason, 400)}")
    for clause in outcome.left:
        tell(f"frostwatch: {_id(job.vm)}: LEFT BEHIND: {safe(clause, 400)}")
    return bool(outcome.left)


def _id(vm: Vm) -> str:
    return safe(str(vm.id), 120)
