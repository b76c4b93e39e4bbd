"""An incident: windows of the journal in the order of time, as steps from one moment to the next.

Pure: what was known of a VM at a time follows from the windows and the time alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agentclient.journal.rows import UNREADABLE
from agentclient.journal.window_row import WindowRow
from agentclient.model.durations import in_words
from agentclient.model.others import ChannelClient
from agentclient.model.others_past import OthersResult
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level, WindowKind
from agentclient.model.text import printable
from agentclient.model.vm import Vm, VmId
from agentclient.replay.recorded import outcome_in, word
from agentclient.replay.window_state import (
    LEFT,
    UNKNOWN_AGENT,
    Said,
    Told,
    events_of,
    never_ended,
    state_then,
    time_of,
)

# A replay begins so long before the first thing that happened, and ends so long after the last.
LEAD: Final = timedelta(seconds=2)
# Where its monotonic clock begins: there is time before it, as on every machine.
MONO_S: Final = 100_000.0


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened.

    Attributes:
        at: when.
        vm: to which VM.
        window: in which window of the journal.
        kind: what, as an event of docs/json.md; or ``asked``, ``others``, ``left``.
        level: how much it matters.
        text: a sentence for a person; empty for what only changes the state.
        change: returns what is known of the VM then, of what was known before.
    """

    at: datetime
    vm: VmId
    window: int
    kind: str
    level: Level
    text: str
    change: Callable[[VmState], VmState]


@dataclass(frozen=True, slots=True)
class Incident:
    """What happened to some VMs, in the order of time.

    Attributes:
        vms: the VMs, in the order in which something first happened to them.
        steps: what happened, in order.
        windows: its windows, in their order of time.
        unreadable: how many windows can't be read, and are left out.
    """

    vms: tuple[Vm, ...]
    steps: tuple[Step, ...]
    windows: tuple[WindowRow, ...]
    unreadable: int = 0

    @property
    def begins(self) -> datetime:
        """When its replay begins."""
        return self.steps[0].at - LEAD

    @property
    def ends(self) -> datetime:
        """When its replay ends."""
        return self.steps[-1].at + LEAD

    def mono(self, at: datetime) -> float:
        """Return the seconds of the replay's monotonic clock at a time."""
        return MONO_S + (at - self.begins) / timedelta(seconds=1)

    def beginning(self) -> tuple[VmState, ...]:
        """Return what is known before the first thing happens: that there are these VMs."""
        return tuple(VmState(vm, agent=UNKNOWN_AGENT) for vm in self.vms)

    def states(self) -> Iterator[tuple[Step, VmState]]:
        """Yield each step, with what was known of its VM after it."""
        states = {state.id: state for state in self.beginning()}
        for step in self.steps:
            with suppress(*UNREADABLE):  # it stays as it was
                states[step.vm] = step.change(states[step.vm])
            yield step, states[step.vm]


def incident_of(windows: Iterable[WindowRow]) -> Incident | None:
    """Return the incident that some windows make; None if none of them can be read.

    Args:
        windows: the windows, in any order.
    """
    known: list[tuple[datetime, WindowRow]] = []
    unreadable = 0
    for row in windows:
        asked = row.times["asked"]
        if asked is None:
            unreadable += 1
            continue
        known.append((datetime.fromisoformat(asked.at).astimezone(), row))
    there = len(known)
    known = sorted(filter(_is_readable, known), key=lambda pair: (pair[0], pair[1].window))
    unreadable += there - len(known)
    if not known:
        return None
    begins = known[0][0] - LEAD

    def mono(at: datetime) -> float:
        return MONO_S + (at - begins) / timedelta(seconds=1)

    steps = [step for asked, row in known for step in _steps(row, asked, mono)]
    steps.sort(key=lambda step: step.at)  # it keeps the order within a window
    vms: dict[VmId, Vm] = {}
    for _, row in known:
        vm = _vm(row)
        vms.setdefault(vm.id, vm)
    rows = tuple(row for _, row in known)
    return Incident(tuple(vms.values()), tuple(steps), rows, unreadable)


def _is_readable(pair: tuple[datetime, WindowRow]) -> bool:
    """Return whether it can be said when each thing of a window happened."""
    asked, row = pair
    try:
        for _ in _steps(row, asked, lambda _: MONO_S):
            pass
    except UNREADABLE:
        return False
    return True


def vm_id(row: WindowRow) -> VmId:
    """Return the id of a window's VM."""
    source, colon, name = row.vm.partition(":")
    return VmId(source, name) if colon else VmId("", row.vm)


def _vm(row: WindowRow) -> Vm:
    """Return a window's VM, as far as the journal knows it: it had an agent."""
    return Vm(vm_id(row), process=row.process, by_call=True)


def _steps(row: WindowRow, asked: datetime, mono: Callable[[datetime], float]) -> Iterator[Step]:
    """Yield what happened in a window, in order: the state changes before it is said why."""
    said = events_of(row, asked)
    told = Told(row, _moments(row, asked, said), said, outcome_in(row.outcome), mono)
    found: list[tuple[datetime, int, str, Level, str]] = [
        (asked, 0, "asked", Level.INFO, _begins(row))
    ]
    for one in said:
        found.append((one.at, 2, one.kind, word(Level, one.level) or Level.INFO, one.text))
    for name, at in told.moments.items():
        if name != "asked":
            found.append((at, 1, name, Level.DEBUG, ""))
    if row.kind is WindowKind.OTHERS and "ended" in told.moments:
        at = told.moments["ended"]
        found.append((at, 2, "others", *_others_ended(row, at - asked)))
    if LEFT in told.moments:
        found.append((told.moments[LEFT], 2, LEFT, Level.ERROR, _no_end(row)))
    if row.unreadable is not None:
        text = f"can't be read in the journal, and not known: {row.unreadable}"
        at = max(told.moments.values())
        found.append((at, 3, "unreadable", Level.WARNING, text))
    found.sort(key=lambda one: (one[0], one[1]))
    one_vm = vm_id(row)
    for at, _, kind, level, text in found:
        yield Step(at, one_vm, row.window, kind, level, text, _change(told, at))


def _change(told: Told, at: datetime) -> Callable[[VmState], VmState]:
    return lambda before: state_then(told, at, before)


def _moments(row: WindowRow, asked: datetime, said: tuple[Said, ...]) -> dict[str, datetime]:
    """Return when each thing of a window happened, in that order."""
    moments = {"asked": asked}
    for name, moment in row.times.items():
        if moment is not None and name != "asked":
            moments[name] = time_of(moment.at, moment.seconds, asked)
    if never_ended(row):
        moments[LEFT] = max((*moments.values(), *(one.at for one in said)))
    return dict(sorted(moments.items(), key=lambda pair: pair[1]))


def _begins(row: WindowRow) -> str:
    who = f"{row.user}, pid {row.pid}" if row.pid > 0 else "not known"
    if row.kind is WindowKind.OTHERS:
        result = word(OthersResult, (row.request or {}).get("result"))
        what = "had left it frozen" if result is OthersResult.THAWED else "had a command pending"
        by = ChannelClient(row.command, row.pid, row.user).in_full if row.pid > 0 else "somebody"
        return f"window {row.window}: others {what}: {printable(by, 120)}"
    return f"window {row.window}: a {row.kind.value} is asked for by {_command(row)} ({who})"


def _command(row: WindowRow) -> str:
    """Return the command that has asked, without the path of the program and of its Python."""
    before, name, rest = row.command.partition("/frostwatch ")
    return printable(f"frostwatch {rest}" if name and before else row.command, 60)


def _others_ended(row: WindowRow, took: timedelta) -> tuple[Level, str]:
    result = word(OthersResult, (row.request or {}).get("result"))
    bad = result in (OthersResult.LOST, OthersResult.LEFT, None)
    said = result.value if result is not None else "not known what came of it"
    level = Level.WARNING if bad else Level.INFO
    return level, f"others: {said}, after {in_words(took.total_seconds())}"


def _no_end(row: WindowRow) -> str:
    return f"the journal tells no end of it: its process (pid {row.pid}) has died"
