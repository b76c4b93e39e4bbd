"""Plays an incident into a fleet of its own, in a thread, on a clock of its own.

It stands in the place of the watcher, and nothing in it reaches a guest: all that it knows is in
the incident.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from agentclient.fleet.store import Fleet
from agentclient.journal.window_row import WindowRow
from agentclient.model.durations import in_words
from agentclient.model.errors import NO_THREAD
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from agentclient.model.vm import VmId
from agentclient.replay.incident import Incident, vm_id

SPEEDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
SLOWEST, FASTEST = SPEEDS[0], SPEEDS[-1]
_STOP_S: Final = 2.0
_LONGEST_WAIT_S: Final = 60.0


class Replay:
    """An incident while it is played; thread-safe.

    Args:
        incident: what is played.
        speed: how many times faster than it happened, `SLOWEST` to `FASTEST`.
        clock: seconds of a monotonic clock, which really passes.

    Attributes:
        incident: what is played.
        fleet: what is known at the moment that is shown.
        problems: none, ever: there is no source that could not look.
    """

    problems: tuple[str, ...] = ()

    def __init__(
        self,
        incident: Incident,
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.incident = incident
        self.fleet = Fleet(wall=self.wall)
        self._clock = clock
        self._times = [self._seconds(step.at) for step in incident.steps]
        self._length = self._seconds(incident.ends)
        self._changed = threading.Condition(threading.RLock())
        self._speed = min(max(speed, SLOWEST), FASTEST)
        self._paused = False
        self._at = 0.0  # seconds since the beginning, at the real time of `_since`
        self._since = clock()
        self._done = 0  # how many steps the fleet has taken
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._begin()

    # -- its clock -------------------------------------------------------------------------

    def wall(self) -> datetime:
        """Return the time that is shown."""
        return self.incident.begins + timedelta(seconds=self._now())

    def monotonic(self) -> float:
        """Return the same on the monotonic clock of the replay."""
        return self.incident.mono(self.incident.begins) + self._now()

    def _now(self) -> float:
        with self._changed:
            passed = 0.0 if self._paused else (self._clock() - self._since) * self._speed
            return min(self._at + max(passed, 0.0), self._length)

    def _seconds(self, at: datetime) -> float:
        return (at - self.incident.begins) / timedelta(seconds=1)

    def _go_to(self, at: float) -> None:
        self._at, self._since = at, self._clock()
        self._changed.notify_all()

    # -- what a person can do --------------------------------------------------------------

    @property
    def speed(self) -> float:
        """How many times faster than it happened it is played."""
        return self._speed

    @property
    def paused(self) -> bool:
        """Whether its clock stands still, until somebody lets it go on."""
        return self._paused

    @property
    def over(self) -> bool:
        """Whether all has been shown."""
        return self._now() >= self._length

    @property
    def place(self) -> tuple[int, int]:
        """How many of the things that happened have been shown, and of how many."""
        return self._done, len(self._times)

    @property
    def next_in_s(self) -> float | None:
        """Seconds of its own clock until the next thing happens; None if nothing does any more."""
        with self._changed:
            if self._done >= len(self._times):
                return None
            return max(self._times[self._done] - self._now(), 0.0)

    def windows_over(self, vm: VmId) -> list[WindowRow]:
        """Return the windows of a VM that are over at the time that is shown, the newest first."""
        with self._changed:
            steps = self.incident.steps[self._done :]
        going_on = {step.window for step in steps}
        mine = [row for row in self.incident.windows if vm_id(row) == vm]
        return [row for row in reversed(mine) if row.window not in going_on]

    def pause(self) -> None:
        """Stop the clock; or let it go on."""
        with self._changed:
            self._go_to(self._now())
            self._paused = not self._paused
            self._changed.notify_all()

    def faster(self, steps: int) -> None:
        """Play it faster, by so many steps of `SPEEDS`; slower if they are below zero."""
        with self._changed:
            self._go_to(self._now())
            place = bisect_right(SPEEDS, self._speed) - 1
            if steps < 0 and SPEEDS[place] < self._speed:
                place += 1  # between two of them: the slower one is one step
            self._speed = SPEEDS[min(max(place + steps, 0), len(SPEEDS) - 1)]

    def next_event(self) -> bool:
        """Go to the next thing that happened; return whether there was one."""
        with self._changed:
            if self._done >= len(self._times):
                return False
            self._go_to(self._times[self._done])
            self.take_steps()
            return True

    def begin_again(self) -> None:
        """Go back to the beginning; the logs stay, and say so."""
        with self._changed:
            self._go_to(0.0)
            self._done = 0
            for state in self.incident.beginning():
                self._show(state.id, _always(state))
                self.fleet.log(state.id, Level.INFO, "replay: from the beginning again")

    # -- in the place of a watcher ---------------------------------------------------------

    def list_first(self, wait_s: float = 0.0) -> None:
        """Do nothing: the VMs are known from the beginning."""

    def visit_soon(self, vm_id: VmId) -> None:
        """Do nothing: there is no VM that could be visited."""

    def start(self) -> None:
        """Begin to play, unless it has begun."""
        with self._changed:
            if self._thread is not None or self._stopped:
                return
            if not self._done:  # what is on the screen already is not taken back
                self._go_to(self._at)
            self._thread = threading.Thread(target=self._play, name="replay", daemon=True)
            try:
                self._thread.start()
            except NO_THREAD:  # whoever shows it takes the steps
                self._thread = None

    def stop(self) -> None:
        """Play no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(_STOP_S)

    # -- playing ---------------------------------------------------------------------------

    def take_steps(self) -> float | None:
        """Show what has happened by now; return how many real seconds the next is away.

        Returns:
            None if nothing is to be waited for.
        """
        with self._changed:
            now = self._now()
            while self._done < len(self._times) and self._times[self._done] <= now:
                step = self.incident.steps[self._done]
                self._done += 1
                self._show(step.vm, step.change)
                if step.text:
                    self.fleet.log(step.vm, step.level, step.text, step.at)
            if self._paused or self._done >= len(self._times):
                return None
            return (self._times[self._done] - now) / self._speed

    def _play(self) -> None:
        with self._changed:
            while not self._stopped:
                wait_s = self.take_steps()
                longest = _LONGEST_WAIT_S if wait_s is None else min(wait_s, _LONGEST_WAIT_S)
                self._changed.wait(max(longest, 0.001))

    def _show(self, vm_id: VmId, change: Callable[[VmState], VmState]) -> None:
        """Change what is known of a VM; a window that can't be followed is one broken row (P8)."""
        try:
            self.fleet.update(vm_id, change)
        except Exception as error:  # noqa: BLE001 - what stands in a file is nobody's bug
            self.fleet.log(vm_id, Level.ERROR, f"can't be replayed: {error!r}")

    def _begin(self) -> None:
        """Put the VMs into the fleet, and say in the log of each what follows."""
        sources: dict[str, list[VmState]] = {}
        for state in self.incident.beginning():
            sources.setdefault(state.vm.source, []).append(state)
        for source, states in sources.items():
            self.fleet.set_vms(source, [state.vm for state in states])
            for state in states:
                self._show(state.id, _always(state))
        count = len(self.incident.windows)
        windows = "1 window" if count == 1 else f"{count} windows"
        text = f"replay of {windows} of the journal, over {in_words(self._length)}"
        for vm in self.incident.vms:
            self.fleet.log(vm.id, Level.INFO, text, self.incident.begins)


def _always(state: VmState) -> Callable[[VmState], VmState]:
    return lambda _: state
