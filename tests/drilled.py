"""Drills of guests that a test chooses, for the console's tests and the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping

from agentclient.backends.drill.plan import GuestPlan, make_guest
from agentclient.backends.drill.processes import Drill
from agentclient.backends.drill.troubles import Trouble
from agentclient.operations.manager import OperationManager


def drill_of(troubles: Mapping[str, Trouble], *, speed: float = 1.0) -> Drill:
    """Return a drill with one guest for each name, not started yet."""
    return Drill([guest(name, trouble) for name, trouble in troubles.items()], speed=speed)


def guest(name: str, trouble: Trouble) -> GuestPlan:
    made = make_guest("db", 1, trouble)
    return GuestPlan(name, trouble, made.file_systems, made.version, made.load)


class Ready(OperationManager):
    """Operations as the console takes them, with nothing that is to be imported first."""

    def prepare(self) -> None:
        pass
