"""The store of what is known about all VMs now: thread-safe and versioned.

Sources, the watcher and operations write; the console and the command line read. A reader takes a
snapshot, or gets changes: the VMs whose visible state has changed
(`agentclient.fleet.visible_state`). Times and figures change all the time, so it reads them when it
shows them. States are immutable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import NamedTuple

from agentclient.fleet.clock_steps import ClockSteps, moved, passed, told_step
from agentclient.fleet.logs import Logs
from agentclient.fleet.recent_lines import FleetLine, RecentLines
from agentclient.fleet.visible_state import same_visible_state
from agentclient.model.clock import now
from agentclient.model.errors import BadInput
from agentclient.model.snapshot import LogLine, VmState
from agentclient.model.states import Level
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable
from agentclient.model.vm import Vm, VmId

# How many known names an error message lists.
SHOWN = 8
# How many removals are kept for readers, which ask several times a second.
_MOST_REMOVED = 10_000


class FleetChange(NamedTuple):
    """What has changed since a reader's last call of `FleetReader.changes`.

    Attributes:
        changed: the current states of the VMs that are new, or whose visible state has changed
            (`agentclient.fleet.visible_state`), oldest change first. Of others only times and
            figures have changed.
        removed: the VMs that were forgotten.
    """

    changed: tuple[VmState, ...]
    removed: tuple[VmId, ...]


class Fleet:
    """The states and logs of all VMs; thread-safe.

    Args:
        logs: where log lines are kept; None for `Logs` with its default bounds.
        wall: returns the time, where that is not the wall clock's, and is never set.
        counted: returns the seconds that have passed since some moment, however `wall` is set;
            None if it never is. Without `wall`, they are those of this host.
        configure: adds the operator's settings for a VM to what its source lists.
    """

    def __init__(
        self,
        *,
        logs: Logs | None = None,
        wall: Callable[[], datetime] | None = None,
        counted: Callable[[], float] | None = None,
        configure: Callable[[Vm], Vm] = lambda vm: vm,
    ) -> None:
        self._lock = threading.Lock()
        self._states: dict[VmId, VmState] = {}
        self._worded: dict[VmId, int] = {}  # latest visible change last
        self._removed: dict[VmId, int] = {}
        self._logs = logs or Logs()
        self._recent = RecentLines()
        self._wall = wall or now
        self._counted = passed if wall is None else counted
        self._steps = ClockSteps(self._wall, self._counted) if self._counted else None
        self._configure = configure
        self._version = 0
        self._readers: list[FleetReader] = []

    def wall(self) -> datetime:
        """Return the wall clock's time."""
        at = self._wall()
        return self._wall() if self._follow_clock(at) else at

    def counted(self) -> float | None:
        """Return the seconds since this host was started; None if `wall` is never set."""
        return None if self._counted is None else self._counted()

    @property
    def clock_set(self) -> timedelta:
        """By how much the wall clock was set since the fleet was made."""
        return timedelta() if self._steps is None else self._steps.total

    def _look_at_clock(self) -> None:
        """Have all states as the wall clock is set now."""
        if self._steps is not None:
            self._follow_clock(self._wall())

    def _follow_clock(self, at: datetime) -> bool:
        """Move the times of all states if the wall clock was set, so that ages stay right.

        Args:
            at: the wall clock's time now.

        Returns:
            Whether it may have been set.
        """
        if self._steps is None or not self._steps.may_be_set(at):
            return False
        with self._lock:
            by = self._steps.take()
            if by is not None:
                self._move(by, at)
        return True

    def _move(self, by: timedelta, at: datetime) -> None:
        for vm_id, state in self._states.items():
            self._states[vm_id] = moved(state, by)
            text = told_step(state, by)
            if text is not None:
                self._note(vm_id, at, text)
        for reader in self._readers:
            reader._move(by)

    def reader(self) -> FleetReader:
        """Return a new reader; it stays registered as long as the fleet exists."""
        reader = FleetReader(self)
        with self._lock:
            self._readers.append(reader)
        return reader

    @property
    def version(self) -> int:
        """The version of the last write."""
        with self._lock:
            return self._version

    def states(self) -> tuple[VmState, ...]:
        """Return all states, in the order in which the VMs were found."""
        self._look_at_clock()
        with self._lock:
            return tuple(self._states.values())

    def get(self, vm_id: VmId) -> VmState:
        """Return one VM's state.

        Raises:
            KeyError: the VM isn't known (any more).
        """
        with self._lock:
            return self._states[vm_id]

    def update(self, vm_id: VmId, change: Callable[[VmState], VmState]) -> None:
        """Replace a VM's state by what `change` returns, unless that is equal.

        `change` runs under the fleet's lock: it must be quick and must not call the fleet. A late
        result for a VM that was forgotten meanwhile is dropped.
        """
        with self._lock:
            old = self._states.get(vm_id)
            if old is None:
                return
            new = change(old)
            if new is not old and new != old:
                self._write(new)

    def set_vms(self, source: str, vms: Iterable[Vm]) -> None:
        """Update the VMs of one source from its list.

        New VMs are added. A VM that is not listed any more is marked as not present;
        `forget_absent` drops it later. One that came back as another process gets a new state.
        """
        listed = {vm.id: self._configure(vm) for vm in vms}
        at = self.wall()
        with self._lock:
            for vm_id, vm in listed.items():
                old = self._states.get(vm_id)
                if old is None or (old.progress is None and _start(old.vm) != _start(vm)):
                    self._write(VmState(vm))
                    if old is not None:
                        self._note(vm_id, at, "it was started again: another process runs it now")
                    self._removed.pop(vm_id, None)
                elif old.vm != vm or not old.present:
                    # An operation in flight keeps the VM that it was started on (P6).
                    new = old._replace(vm=old.vm if old.progress else vm, present=True)
                    if new != old:
                        self._write(new)
                    if not old.present:
                        self._note(vm_id, at, "its source lists it again")
            for vm_id, state in list(self._states.items()):
                if state.vm.source == source and vm_id not in listed and state.present:
                    self._write(state._replace(present=False))
                    self._note(vm_id, at, "its source does not list it any more")

    def _note(self, vm_id: VmId, at: datetime, text: str) -> None:
        self._add_line(vm_id, at, Level.INFO, text)

    def forget_absent(self, keep: Container[VmId] = ()) -> None:
        """Drop the VMs that no source lists and on which no operation is in flight.

        Args:
            keep: VMs to keep all the same.
        """
        with self._lock:
            for vm_id, state in list(self._states.items()):
                if not state.present and state.progress is None and vm_id not in keep:
                    self._set_aside(state)
                    del self._states[vm_id], self._worded[vm_id]
                    self._logs.forget(vm_id)
                    self._version += 1
                    self._removed.pop(vm_id, None)
                    self._removed[vm_id] = self._version
            while len(self._removed) > _MOST_REMOVED:
                del self._removed[next(iter(self._removed))]

    def find(self, name: str) -> VmState:
        """Return the VM that has `name` as its id, or else as its bare name, VMID or UUID.

        Other names than the id must be unique among all VMs here, including those that are known
        not to run.

        Raises:
            BadInput: no VM, or more than one, has that name.
        """
        states = self.states()
        exact = [state for state in states if str(state.id) == name]
        found = exact or [state for state in states if _is_called(state.vm, name)]
        stopped = () if exact else sorted({one for vm in found for one in _stopped(vm.vm, name)})
        if len(found) == 1 and not stopped:
            return found[0]
        if found:
            raise BadInput(_ambiguous(name, found, stopped))
        known = ", ".join(printable(str(state.id)) for state in islice(states, SHOWN))
        more = f", and {len(states) - SHOWN} more" if len(states) > SHOWN else ""
        nothing = "no VM was found here (try: frostwatch doctor)"
        hint = f"known here: {known}{more}" if known else nothing
        others = [one for one in states if (one.vm.title or "").startswith(f"{name}@")]
        if others:
            ids = " and ".join(printable(str(one.id)) for one in others)
            hint = f"another user runs a VM that is: name it with its user, as {ids}"
        alike = did_you_mean(name, (each for one in states for each in (one.vm.name, str(one.id))))
        raise BadInput(f"no VM is called {printable(name)!r}{alike}; {hint}")

    def log(self, vm_id: VmId, level: Level, text: str, at: datetime | None = None) -> None:
        """Append a line to a VM's log; control characters are made visible.

        Args:
            vm_id: the VM.
            level: how much it matters.
            text: the line.
            at: when it happened, with a time zone; None for now.
        """
        text, at = printable(text, 1000), at or self.wall()
        with self._lock:
            self._add_line(vm_id, at, level, text)

    def _add_line(self, vm_id: VmId, at: datetime, level: Level, text: str) -> None:
        self._recent.add(vm_id, self._logs.add(vm_id, at, level, text), level, text)

    def lines_since(self, number: int = 0) -> tuple[FleetLine, ...]:
        """Return the lines of all VMs' logs that came after `number`, as they came."""
        with self._lock:
            return self._recent.since(number)

    @property
    def lines_dropped(self) -> int:
        """How many lines of all VMs' logs are not kept any more: the oldest ones."""
        with self._lock:
            return self._recent.dropped

    def log_since(self, vm_id: VmId, number: int = 0) -> tuple[LogLine, ...]:
        """Return a VM's log lines that came after `number`."""
        with self._lock:
            return self._logs.since(vm_id, number)

    def _write(self, state: VmState) -> None:
        self._version += 1
        vm_id = state.id
        old = self._states.get(vm_id)
        if old is None or not same_visible_state(old, state):
            self._worded.pop(vm_id, None)
            self._worded[vm_id] = self._version
            if old is not None:
                self._set_aside(old)
        self._states[vm_id] = state._replace(version=self._version)

    def _set_aside(self, state: VmState) -> None:
        for reader in self._readers:
            reader._set_aside(state)


class FleetReader:
    """Reads a fleet's changes, in one thread; `Fleet.reader` makes one.

    Between two calls of `changes`, `peek` returns each VM with the same visible state, although its
    figures may be old by then: counts, order and actions all refer to one moment.

    Attributes:
        version: the fleet's version at the last call of `changes`; 0 before the first.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._before: dict[VmId, VmState] = {}  # the last states before a visible change
        self.version = 0

    def changes(self) -> FleetChange:
        """Return what has changed since the last call; the first call returns every VM."""
        fleet = self._fleet
        fleet._look_at_clock()
        with fleet._lock:
            changed = _later(fleet._worded, self.version)
            removed = _later(fleet._removed, self.version)
            self._before.clear()
            self.version = fleet._version
            return FleetChange(tuple(fleet._states[vm_id] for vm_id in changed), tuple(removed))

    def peek(self, vm_id: VmId) -> VmState | None:
        """Return one VM's state, None if it isn't known (any more); never waits for a writer.

        It is the latest state that looks as `changes` has returned it; for a VM that `changes` has
        not returned yet, it is the latest.
        """
        # In this order: a writer sets the old state aside before it stores the new one.
        latest = self._fleet._states.get(vm_id)
        return self._before.get(vm_id, latest)

    def _set_aside(self, state: VmState) -> None:
        """Keep the last state before a visible change, until the next call of `changes`."""
        self._before.setdefault(state.id, state)

    def _move(self, by: timedelta) -> None:
        """Move the times of the states that were kept, as the fleet moves those of its own."""
        self._before = {vm_id: moved(state, by) for vm_id, state in self._before.items()}


def _start(vm: Vm) -> tuple[object, ...]:
    """Return what identifies one start of a VM, as far as its source knows it."""
    return vm.process, vm.generation


def _is_called(vm: Vm, name: str) -> bool:
    names = (vm.name, vm.title or vm.id.name, *vm.selectors)
    return name in names or name in (f"{vm.source}:{each}" for each in vm.selectors)


def _stopped(vm: Vm, name: str) -> tuple[str, ...]:
    """Return a VM's namesakes that `name` could mean as well, and that are known not to run."""
    return vm.namesakes if name == vm.title else ()


def _ambiguous(name: str, found: Iterable[VmState], stopped: Iterable[str]) -> str:
    ids = sorted(_with_selectors(state.vm) for state in found)
    ids += [f"{printable(one)} (which does not run)" for one in stopped]
    choice = " and ".join(ids)
    return f"{printable(name)!r} is ambiguous: it can be {choice}; name one by its id"


def _with_selectors(vm: Vm) -> str:
    others = ", ".join(printable(one) for one in vm.selectors if one != vm.name)
    return printable(str(vm.id)) + (f" (also {others})" if others else "")


def _later(versions: dict[VmId, int], version: int) -> list[VmId]:
    """Return the VMs with a later version, oldest first; `versions` is in ascending order.

    It reads from the end, so that the cost depends on the changes, not on the fleet's size.
    """
    return list(takewhile(lambda vm_id: versions[vm_id] > version, reversed(versions)))[::-1]
