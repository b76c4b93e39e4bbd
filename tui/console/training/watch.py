"""Writes down what happens in a scenario: what is asked for, what comes of it, what is seen.

What the trainee asks for comes from the operations, what happens from their events and from the
states of the simulated guests. Nothing goes by which keys were pressed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from agentclient.fleet.store import Fleet
from agentclient.model.events import Ended, Event, EventKind, OnEvent
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest
from agentclient.model.rescue import Rung, Step
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState, OutcomeKind
from agentclient.model.vm import Vm, VmId
from tui.console.ports import OperationPort, OperationsPort
from tui.shared.fit import safe
from tui.shared.training.diary import Diary, Fact, What

_RUNGS: Final = {
    Rung.CONNECT: What.RUNG_CONNECT,
    Rung.THAW: What.RUNG_THAW,
    Rung.WAIT: What.RUNG_WAIT,
    Rung.SYSRQ: What.RUNG_SYSRQ,
    Rung.RESET: What.RUNG_RESET,
}
_VERDICTS: Final = {OutcomeKind.LOST: What.LOST, OutcomeKind.PARTIAL: What.PARTIAL}


class Notebook:
    """The diary while it is written; thread-safe.

    Args:
        clock: seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.diary = Diary()
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Count from now on."""
        self._began = self._clock()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return max(self._clock() - self._began, 0.0)

    def note(self, what: What, vm: str, text: str) -> None:
        """Write down a fact; none once the scenario is over."""
        with self._lock:
            if self.diary.ended_at is None:
                self.diary.facts.append(Fact(self.seconds, vm, what, text))

    def end(self) -> None:
        """Write down no more."""
        with self._lock:
            if self.diary.ended_at is None:
                self.diary.ended_at = self.seconds


class WatchedOperations:
    """Operations that write down what is asked for, and what comes of it.

    All else is the operations' own.

    Args:
        operations: what freezes and thaws.
        notebook: where it is written down.
    """

    def __init__(self, operations: OperationsPort, notebook: Notebook) -> None:
        self._operations = operations
        self._notebook = notebook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._operations, name)

    def freeze(
        self, vm: Vm, request: FreezeRequest, on_event: OnEvent | None = None
    ) -> OperationPort:
        """Write it down, and begin a freeze."""
        hold = f", to be held {request.schedule.hold_s:g} s" if request.schedule.hold_s else ""
        self._notebook.note(What.FREEZE, vm.name, f"froze {safe(vm.name, 40)}{hold}")
        return self._operations.freeze(vm, request, self._listener(on_event))

    def thaw(
        self, vm: Vm, *, foreign: bool = False, on_event: OnEvent | None = None
    ) -> OperationPort:
        """Write it down, and begin a thaw."""
        what, whose = (What.THAW_FOREIGN, ", frozen by others") if foreign else (What.THAW, "")
        self._notebook.note(what, vm.name, f"thawed {safe(vm.name, 40)}{whose}")
        listener = self._listener(on_event)
        return self._operations.thaw(vm, foreign=foreign, on_event=listener)

    def rescue(
        self, vm: Vm, step: Step, *, person: bool = True, on_event: OnEvent | None = None
    ) -> OperationPort:
        """Write it down, and take a rung."""
        text = f"took the rung {step.rung} on {safe(vm.name, 40)}"
        self._notebook.note(_RUNGS[step.rung], vm.name, text)
        listener = self._listener(on_event)
        return self._operations.rescue(vm, step, person=person, on_event=listener)

    def _listener(self, on_event: OnEvent | None) -> OnEvent:
        def listen(event: Event) -> None:
            self._listen(event)
            if on_event is not None:
                on_event(event)

        return listen

    def _listen(self, event: Event) -> None:
        name = event.vm.name
        outcome = event.details.outcome if isinstance(event.details, Ended) else None
        match event.kind:
            case EventKind.CANCELLED:
                self._note(What.STOP, name, f"stopped waiting for {name}")
            case EventKind.HELD:
                self._note(What.HELD, name, f"{name} is frozen, and held")
            case EventKind.THAW_SENT:
                self._note(What.THAW_SENT, name, f"a thaw is sent to {name}")
            case EventKind.VERDICT | EventKind.REVISED if isinstance(outcome, Outcome):
                what = _VERDICTS.get(outcome.kind)
                if what is not None:
                    cause = f" ({outcome.cause})" if outcome.cause else ""
                    self._note(what, name, f"{name}: {outcome.kind}{cause}")
            case EventKind.OUTCOME if isinstance(outcome, Outcome):
                word = outcome.word if outcome.certified else f"ended {outcome.word}"
                what = What.CERTIFIED if outcome.certified else What.ENDED
                self._note(what, name, f"{name}: {word}")

    def _note(self, what: What, vm: str, text: str) -> None:
        self._notebook.note(what, vm, safe(text, 120))


class GuestWatch:
    """Writes down what becomes known of the guests, whoever has done it.

    Args:
        fleet: what is known.
        notebook: where it is written down.
    """

    def __init__(self, fleet: Fleet, notebook: Notebook) -> None:
        self._reader = fleet.reader()
        self._notebook = notebook
        self._before: dict[VmId, frozenset[What]] = {}
        self._stood: set[VmId] = set()  # that were not known to write since they were last

    def look(self) -> None:
        """Take what has changed since the last time."""
        for state in self._reader.changes().changed:
            now, before = _seen(state), self._before.get(state.id, frozenset())
            self._before[state.id] = now
            for what in sorted(now - before):
                if what is not What.WRITES or state.id in self._stood:  # at first it is no news
                    self._notebook.note(what, state.vm.name, _TEXTS[what](state))
            if What.WRITES in now:
                self._stood.discard(state.id)
            elif state.freeze.state is not None or state.left_frozen:
                self._stood.add(state.id)


def _seen(state: VmState) -> frozenset[What]:
    """Return what holds for a guest."""
    freeze, found = state.freeze, set[What]()
    if freeze.foreign and freeze.state is FreezeState.FROZEN:
        found.add(What.FOREIGN)
        if freeze.overdue is not None:
            found.add(What.OVERDUE)
    if state.left_frozen and state.progress is None:
        found.add(What.LEFT_FROZEN)
    if freeze.state is FreezeState.THAWED and not state.left_frozen:
        found.add(What.WRITES)
    return frozenset(found)


def _by(state: VmState) -> str:
    by = state.freeze.by
    return f": {safe(str(by), 60)}" if by is not None else ""


_TEXTS: Final[dict[What, Callable[[VmState], str]]] = {
    What.FOREIGN: lambda state: f"{safe(state.vm.name, 40)} is frozen by others{_by(state)}",
    What.OVERDUE: lambda state: f"{safe(state.vm.name, 40)} was left frozen by them, as it seems",
    What.LEFT_FROZEN: lambda state: (
        f"{safe(state.vm.name, 40)} MAY BE FROZEN: no thaw was answered"
    ),
    What.WRITES: lambda state: f"{safe(state.vm.name, 40)} is thawed, and writes again",
}
