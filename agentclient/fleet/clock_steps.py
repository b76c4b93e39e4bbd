"""Keeps the ages of what is known of VMs right when the wall clock is set.

A state has times of the wall clock, of which its readers tell the hour and the age. When the clock
is set (by NTP, by an administrator, after this host was resumed as a VM), such a time names another
moment, so it is moved by as much: the age stays, and the hour is told by the clock as it is set
now. What is over (log lines, outcomes, the journal) keeps the hour that the clock showed then.

While this host is suspended, time passes: ages go on, and nothing is moved. Deadlines are no matter
of this file: they are all counted on the monotonic clock, which stands still meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agentclient.model.durations import in_words
from agentclient.model.states import FreezeState

if TYPE_CHECKING:
    from agentclient.model.snapshot import VmState

# A clock that differs by less is still being adjusted, by small steps.
_SET_S: Final = 1.0
# Both clocks are read at one moment, unless this process had to wait between them for longer.
_READ_S: Final = 0.05

_Part = TypeVar("_Part")


def passed() -> float:
    """Return the seconds since this host was started, with those for which it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ClockSteps:
    """Notices that the wall clock was set. Not thread-safe.

    Args:
        wall: returns the wall clock's time.
        counted: returns the seconds that have passed since some moment, however the clock is set.

    Attributes:
        total: by how much the wall clock was set since this object was made.
    """

    def __init__(self, wall: Callable[[], datetime], counted: Callable[[], float]) -> None:
        self._wall = wall
        self._counted = counted
        self._offset = self._wall().timestamp() - self._counted()
        self.total = timedelta()

    def may_be_set(self, at: datetime) -> bool:
        """Return whether the wall clock may have been set since the last call of `take`.

        Args:
            at: the wall clock's time now.
        """
        return abs(at.timestamp() - self._counted() - self._offset) > _SET_S

    def take(self) -> timedelta | None:
        """Return by how much the wall clock was set since the last call.

        None if it was not; or not surely, so that the next look tells.
        """
        before = self._counted()
        by = self._wall().timestamp() - before - self._offset
        if self._counted() - before > _READ_S or abs(by) <= _SET_S:
            return None
        self._offset += by
        step = timedelta(seconds=by)
        self.total += step
        return step


def told_step(state: VmState, by: timedelta) -> str | None:
    """Return a line for a VM's log, where its hours are read now; None where nothing goes on.

    Args:
        state: what is known of the VM.
        by: by how much the clock was set.
    """
    frozen = state.freeze.state not in (None, FreezeState.THAWED)
    if not frozen and state.progress is None and state.job is None and state.others is None:
        return None
    way = "forward" if by > timedelta() else "back"
    seconds = in_words(abs(by.total_seconds()))
    return f"the wall clock was set {way} by {seconds}: the lines before have the hour of then"


def moved(state: VmState, by: timedelta) -> VmState:
    """Return what is known of a VM, with the same ages, after the wall clock was set.

    Args:
        state: what is known.
        by: by how much the clock was set.
    """
    return state._replace(
        agent=_moved(state.agent, by, "seen_at"),
        freeze=_moved(state.freeze, by, "since"),
        left=_moved(state.left, by, "at"),
        held_by=_moved(state.held_by, by, "since", "until"),
        others=_moved(state.others, by, "since", "wrote_at"),
        unended=_moved(state.unended, by, "since"),
        file_systems_at=state.file_systems_at and state.file_systems_at + by,
    )


def _moved(part: _Part, by: timedelta, *names: str) -> _Part:
    """Return a part of a state with these times moved, where they are known; None for None."""
    known: Any = part
    times = {name: at + by for name in names if (at := getattr(known, name, None)) is not None}
    moved_part: _Part = known._replace(**times) if times else part
    return moved_part
