"""Copies of a drill's guests at a clock that stands still, for the pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentclient.fleet.store import Fleet
from agentclient.model.job import JobOutcome
from agentclient.model.states import Level
from agentclient.model.vm import DRILL_SOURCE, VmId
from tests.console import copying
from tests.console.fakes import StillClock
from tests.console.fleets import put


@dataclass(frozen=True)
class Copy:
    """A copy of one guest, and what has come of it when the picture is taken.

    Attributes:
        guest: its name.
        ended: makes the outcome; None while it runs.
    """

    guest: str
    ended: Callable[[StillClock], JobOutcome] | None = None


def add_copies(fleet: Fleet, still: StillClock, *copies: Copy) -> None:
    """Show copies as their reporters do."""
    for copy in copies:
        vm_id = VmId(DRILL_SOURCE, copy.guest)
        if copy.ended is None:
            put(fleet, vm_id, job=copying.progress(still))
            fleet.log(vm_id, Level.INFO, "copying what the disks held when it was taken")
            continue
        outcome = _of(copy.guest, copy.ended(still))
        copying.ended(fleet, vm_id, outcome)
        level = Level.GOOD if outcome.ok else Level.ERROR
        step = f". NEXT: {outcome.next}" if outcome.next else ""
        fleet.log(vm_id, level, f"{outcome.reason}{step}")


def _of(guest: str, outcome: JobOutcome) -> JobOutcome:
    """Return an outcome whose files are in the guest's own folder."""
    disks = tuple(
        disk._replace(target=disk.target and disk.target.replace("/db-1/", f"/{guest}/"))
        for disk in outcome.disks
    )
    return outcome._replace(disks=disks)
