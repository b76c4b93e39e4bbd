"""Tells an operator who does not look: by the alarm, and by the command that is set for that."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta

from agentclient.fleet.transitions import TransitionLog
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from agentclient.model.transition import Happened
from agentclient.model.vm import VmId
from tui.console.alarm import Alarm
from tui.console.model.notices import Notice
from tui.shared.bounded_commands import BoundedCommands
from tui.shared.clocks import Clock
from tui.shared.glyphs import Signs
from tui.shared.notify import Notify


class Teller:
    """Rings for notices, and runs the command for transitions, each of them once.

    Args:
        write: writes to the terminal.
        clock: the time.
        signs: the set of signs that the terminal can show.
        notify: what is set.
        variables: the environment, which tells what terminal it is.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Clock,
        signs: Signs,
        notify: Notify,
        variables: Mapping[str, str] = os.environ,
    ) -> None:
        self._clock = clock
        self._notify = notify
        self._failures: deque[str] = deque(maxlen=8)  # filled by another thread
        self._commands = BoundedCommands(self._failures.append)
        self._log = TransitionLog()
        self._alarm = Alarm(
            write, clock, signs, variables, ways=notify.ways, commands=self._commands
        )

    def take(self, notice: Notice) -> None:
        """Take a notice; `ring` tells it if it calls, unless it is set what is told."""
        if self._notify.on is None:
            self._alarm.take(notice)

    def ring(self) -> None:
        """Ring for what has come."""
        self._alarm.ring()

    def changed(self, states: Iterable[VmState], clock_set: timedelta) -> None:
        """Tell what has happened to VMs since their last states.

        Args:
            states: their states now.
            clock_set: by how much the wall clock was set meanwhile.
        """
        if self._follows:
            at = self._clock.wall()
            for state in states:
                for happened in self._log.take(state, at, clock_set):
                    self._tell(happened)

    def forget(self, vm_ids: Iterable[VmId]) -> None:
        """Forget VMs that are not listed any more."""
        for vm_id in vm_ids:
            self._log.forget(vm_id)

    def second(self, states: Iterable[VmState], clock_set: timedelta) -> Iterator[Notice]:
        """Tell of windows that are nearly over; yield why the command fails.

        Args:
            states: the states of all VMs.
            clock_set: by how much the wall clock was set meanwhile.
        """
        if self._follows:
            moment = self._clock.moment()
            for happened in self._log.tick(states, moment.wall, moment.mono, clock_set):
                self._tell(happened)
        while self._failures:
            yield Notice(Level.WARNING, self._failures.popleft(), self._clock.wall())

    @property
    def _follows(self) -> bool:
        """Whether transitions are told: by a command, or in the ways of which it is set when."""
        return bool(self._notify.command) or self._notify.on is not None

    def _tell(self, happened: Happened) -> None:
        self._notify.run(self._commands, happened)
        if self._notify.on is not None and self._notify.tells(happened):
            self._alarm.call(f"{happened.vm.name}: {happened.text}")

    def close(self) -> None:
        """End what is run, after a moment."""
        self._commands.close()
