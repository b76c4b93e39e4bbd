"""What is known about all VMs now: one place, thread-safe and versioned.

Sources, the watcher and the freezers write; the console and the command line read. A reader takes
a snapshot, or follows: it is told whose words have changed, and looks up clocks and figures, which
change all the time, where it shows them. Nobody hands out references to anything that can change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable
from datetime import datetime
from itertools import islice, takewhile
from typing import NamedTuple

from agentclient.fleet.logs import Logs
from agentclient.fleet.visible import same_face
from agentclient.model.clock import now
from agentclient.model.errors import BadInput
from agentclient.model.snapshot import LogLine, VmState
from agentclient.model.states import Level
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable
from agentclient.model.vm import Vm, VmId

# So many names are a help; more would be a page.
SHOWN = 8
# Readers ask several times a second: none is that many removals behind.
_MOST_REMOVED = 10_000


class FleetChange(NamedTuple):
    """What happened since a reader was told last.

    Attributes:
        changed: the VMs that are new, or whose words changed since (`agentclient.fleet.visible`),
            as they are now, oldest change first. Of others only clocks and figures have changed.
        removed: the VMs that were forgotten since.
    """

    changed: tuple[VmState, ...]
    removed: tuple[VmId, ...]


class Fleet:
    """The states and logs of all VMs.

    Args:
        logs: where log lines are kept; None for as many as usual.
        wall: the wall clock for log lines.
        configure: adds what the operator has set for a VM to what its source lists.
    """

    def __init__(
        self,
        *,
        logs: Logs | None = None,
        wall: Callable[[], datetime] = now,
        configure: Callable[[Vm], Vm] = lambda vm: vm,
    ) -> None:
        self._lock = threading.Lock()
        self._states: dict[VmId, VmState] = {}
        self._worded: dict[VmId, int] = {}  # whose words changed last is the last one
        self._removed: dict[VmId, int] = {}
        self._logs = logs or Logs()
        self.wall = wall
        self._configure = configure
        self._version = 0
        self._readers: list[FleetReader] = []

    def reader(self) -> FleetReader:
        """Return a new reader; the fleet serves it for as long as there is a fleet."""
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
        """Replace a VM's state by what `change` makes of it, unless that is the same.

        `change` runs under the fleet's lock: it must be quick and must not call the fleet. A VM
        that was forgotten meanwhile is left alone: a late result has nowhere to go.
        """
        with self._lock:
            old = self._states.get(vm_id)
            if old is None:
                return
            new = change(old)
            if new is not old and new != old:
                self._write(new)

    def set_vms(self, source: str, vms: Iterable[Vm]) -> None:
        """Take over what a source lists now.

        New VMs appear; one that is listed no more is marked as not present, and is forgotten only
        when nothing is in flight on it (see `forget_absent`); one that came back as another
        process starts afresh.
        """
        listed = {vm.id: self._configure(vm) for vm in vms}
        with self._lock:
            for vm_id, vm in listed.items():
                old = self._states.get(vm_id)
                if old is None or (old.progress is None and _start(old.vm) != _start(vm)):
                    self._write(VmState(vm))
                    self._removed.pop(vm_id, None)
                elif old.vm != vm or not old.present:
                    # An operation in flight keeps the VM that it was started on (P6).
                    new = old._replace(vm=old.vm if old.progress else vm, present=True)
                    if new != old:
                        self._write(new)
            for vm_id, state in list(self._states.items()):
                if state.vm.source == source and vm_id not in listed and state.present:
                    self._write(state._replace(present=False))

    def forget_absent(self, keep: Container[VmId] = ()) -> None:
        """Drop the VMs that no source lists and on which nothing is in flight.

        Args:
            keep: those of them that stay all the same.
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
        """Return the VM that a person means by `name`: its id, or what else it is called.

        That is its bare name, or a VMID or UUID, if nothing else here is called so: neither a
        running VM nor one that is known not to run.

        Raises:
            BadInput: nothing, or more than one VM, has that name.
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

    def log(self, vm_id: VmId, level: Level, text: str) -> None:
        """Append a line to a VM's log; control characters are made visible."""
        text = printable(text, 1000)
        with self._lock:
            self._logs.add(vm_id, self.wall(), level, text)

    def log_since(self, vm_id: VmId, number: int = 0) -> tuple[LogLine, ...]:
        """Return a VM's log lines that came after `number`."""
        with self._lock:
            return self._logs.since(vm_id, number)

    def _write(self, state: VmState) -> None:
        self._version += 1
        vm_id = state.id
        old = self._states.get(vm_id)
        if old is None or not same_face(old, state):
            self._worded.pop(vm_id, None)
            self._worded[vm_id] = self._version
            if old is not None:
                self._set_aside(old)
        self._states[vm_id] = state._replace(version=self._version)

    def _set_aside(self, state: VmState) -> None:
        for reader in self._readers:
            reader._set_aside(state)


class FleetReader:
    """One who follows the fleet, in one thread; made by `Fleet.reader`.

    Between two calls of `changes` it finds each VM in the same words, however old the figures of
    those who have others by now: what is counted, sorted and acted on is of one moment.

    Attributes:
        version: the fleet's version of which it was told last; 0 before the first time.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._before: dict[VmId, VmState] = {}  # the last ones in the words that were told
        self.version = 0

    def changes(self) -> FleetChange:
        """Return what changed since the last time; at first that is everything."""
        fleet = self._fleet
        with fleet._lock:
            changed = _later(fleet._worded, self.version)
            removed = _later(fleet._removed, self.version)
            self._before.clear()
            self.version = fleet._version
            return FleetChange(tuple(fleet._states[vm_id] for vm_id in changed), tuple(removed))

    def peek(self, vm_id: VmId) -> VmState | None:
        """Return one VM's state, None if it isn't known (any more); waits for no writer.

        It is the latest in the words that `changes` has told; of a VM that it has not told yet, the
        latest.
        """
        # In this order: a writer sets the old one aside before it puts the new one in its place.
        latest = self._fleet._states.get(vm_id)
        return self._before.get(vm_id, latest)

    def _set_aside(self, state: VmState) -> None:
        """Keep a state whose words are over, as long as they are those that were told."""
        self._before.setdefault(state.id, state)


def _start(vm: Vm) -> tuple[object, ...]:
    """Return what tells one start of a VM from the next, as far as its source knows it."""
    return vm.process, vm.instance


def _is_called(vm: Vm, name: str) -> bool:
    names = (vm.name, vm.title or vm.name, *vm.selectors)
    return name in names or name in (f"{vm.source}:{each}" for each in vm.selectors)


def _stopped(vm: Vm, name: str) -> tuple[str, ...]:
    """Return those of a VM's name that don't run and could be meant by `name`."""
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
    """Return those with a later version, oldest first, out of versions in their order.

    From the latest back: it costs what has changed, not what there is.
    """
    return list(takewhile(lambda vm_id: versions[vm_id] > version, reversed(versions)))[::-1]
