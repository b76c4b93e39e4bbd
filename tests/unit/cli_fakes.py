"""A core without guests, for the command line's tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.access.guest_inputs import Inputs
from agentclient.backends.base import Backend, Note
from agentclient.config.defaults import DEFAULTS
from agentclient.config.settings import Policies, Settings
from agentclient.engine import Engine
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.model.events import Event, EventKind
from agentclient.model.outcome import Outcome
from agentclient.model.place import NO_PLACE, Place
from agentclient.model.rescue import RescueOutcome, Rung, RungResult, Step
from agentclient.model.snapshot import AgentHealth, FreezeInfo, MonitorView, VmState
from agentclient.model.states import FreezeState, Level, OutcomeKind, RunState
from agentclient.model.text import printable
from agentclient.model.vm import AgentChannel, Vm, VmId
from agentclient.operations.manager import OperationManager
from agentclient.operations.rescue.ladder import LadderFacts, Offer, ladder
from tests.event_details import event_details
from tui.cli import session
from tui.cli.options import Options

AT = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
VERIFIED = Outcome(OutcomeKind.VERIFIED, "frozen", frozen=2, thawed=2, certified=True, settled=True)


def vm(name: str, source: str = "qemu", agent: Path | None = None) -> Vm:
    return Vm(VmId(source, name), AgentChannel(agent) if agent else None)


def frozen(foreign: bool = True) -> FreezeInfo:
    return FreezeInfo(FreezeState.FROZEN, AT, foreign)


@dataclass
class FakeOperation:
    """Ends when it is told to; cancelled, it ends at once unless it is stubborn."""

    vm: Vm
    result: Any
    on_event: Callable[[Event], None]
    stubborn: bool = False
    calls: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    place: Place = NO_PLACE

    def __post_init__(self) -> None:
        self._done = threading.Event()

    @property
    def kind(self) -> str:
        if isinstance(self.result, RescueOutcome):
            return "rescue"
        return "freeze" if isinstance(self.result, Outcome) else "thaw"

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def end(self) -> None:
        if not self.done:
            keys = {"freeze": "outcome", "thaw": "thaw", "rescue": "rescue"}
            key = keys[self.kind]
            self.on_event(event(self.vm, EventKind.OUTCOME, "the end", {key: self.result}))
            self._done.set()

    def cancel(self) -> None:
        self.calls.append("cancel")
        if not self.stubborn:
            self.end()

    def give_up(self) -> None:
        self.calls.append("give_up")

    def fail_together(self, why: str) -> None:
        self.notes.append(why)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def wait(self, timeout_s: float | None = None) -> Any:
        return self.result if self.done else None


def _as_seen(old: VmState, found: VmState) -> VmState:
    return old._replace(
        agent=found.agent,
        freeze=found.freeze,
        trouble=found.trouble,
        left=found.left,
        held_by=found.held_by,
        others=found.others,
    )


class FakeEngine(Engine):
    """An engine of fake parts."""

    def __init__(
        self, fleet: Fleet, source: Backend, watcher: Watcher, operations: OperationManager
    ) -> None:
        self.fleet, self.accesses, self.sources = fleet, AccessPool(), (source,)
        self.watcher = watcher
        self.explicit = self.drill = self.journal = None
        self.interval_s = 15.0
        self._operations = operations
        self._jobs = None
        self._making, self.general, self.read_only = threading.Lock(), DEFAULTS, False

    def prepare(self) -> OperationManager:
        assert self._operations is not None
        return self._operations


@dataclass
class FakeOperations:
    """Starts fake operations, and remembers how they were asked for."""

    results: dict[str, Any] = field(default_factory=dict)
    pending: bool = False
    stubborn: bool = False
    started: list[FakeOperation] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)
    view: MonitorView = field(
        default_factory=lambda: MonitorView(RunState.RUNNING, port_open=False, client=False)
    )
    persons: list[bool] = field(default_factory=list)
    found: dict[Rung, RungResult] = field(default_factory=dict)

    def freeze(self, one: Vm, request: Any, on_event: Callable[[Event], None]) -> FakeOperation:
        return self._start(one, request, on_event)

    def thaw(self, one: Vm, *, foreign: bool, on_event: Callable[[Event], None]) -> FakeOperation:
        return self._start(one, foreign, on_event)

    def attach(self, one: Vm, on_event: Callable[[Event], None]) -> FakeOperation:
        return self._start(one, None, on_event)

    def rescue(
        self,
        one: Vm,
        step: Step,
        *,
        person: bool,
        times: object,
        on_event: Callable[[Event], None],
    ) -> FakeOperation:
        self.persons.append(person)
        found = self.found.get(step.rung, RungResult.THAWED)
        result = RescueOutcome(one.id, step.rung, step.means, found, None, None, "r", 0.1)
        self.results[one.name] = result
        return self._start(one, step, on_event)

    def ladder(
        self, one: Vm, *, serial: str | None = None, tried: frozenset[Rung] = frozenset()
    ) -> Future[tuple[Offer, ...]]:
        look: Future[tuple[Offer, ...]] = Future()
        state = VmState(one._replace(agent=AgentChannel(Path("/run/x.qga"))))
        inputs = Inputs(keyboard=True)
        look.set_result(ladder(LadderFacts(state, self.view, inputs, True, serial, tried)))
        return look

    def _start(self, one: Vm, request: Any, on_event: Callable[[Event], None]) -> FakeOperation:
        result = self.results.get(one.name, VERIFIED)
        operation = FakeOperation(one, result, on_event, self.stubborn)
        self.started.append(operation)
        self.requests.append(request)
        if isinstance(result, Outcome):
            on_event(
                event(one, EventKind.VERDICT, "seen", {"outcome": result._replace(thawed=None)})
            )
        if not self.pending:
            operation.end()
        self.ready.set()
        return operation

    def active(self) -> tuple[FakeOperation, ...]:
        return tuple(one for one in self.started if not one.done)

    def cancel_all(self) -> None:
        for operation in self.started:
            operation.cancel()

    def stop(self, timeout_s: float) -> bool:
        return True


class FakeBackend:
    name = "qemu"

    def __init__(
        self, vms: list[Vm], problem: Exception | None = None, hidden: tuple[Note, ...] = ()
    ) -> None:
        self.hidden = hidden
        self.vms = vms
        self.problem = problem

    def notes(self) -> tuple[Note, ...]:
        return self.hidden

    def list_vms(self) -> list[Vm]:
        if self.problem:
            raise self.problem
        return self.vms


@dataclass
class FakeWatcher:
    """Writes into the fleet what a visit would have found."""

    fleet: Fleet
    source: FakeBackend
    seen: dict[str, VmState]

    hanging: tuple[Note, ...] = ()

    def find_vms(self, *, together: bool = False) -> tuple[str, ...]:
        if self.source.problem:
            return (printable(self.source.problem),)
        self.fleet.set_vms(self.source.name, self.source.vms)
        for state in self.fleet.states():  # the journal is read as well
            found = self.seen.get(state.vm.name)
            if found is not None and found.held_by is not None:
                self.fleet.update(state.id, partial(VmState.with_held_by, held=found.held_by))
        return ()

    def stop(self) -> None:
        pass

    def visit_all(self, timeout_s: float, only: Collection[VmId] | None = None) -> None:
        for state in self.fleet.states():
            if only is not None and state.id not in only:
                continue
            found = self.seen.get(state.vm.name)
            if found is not None:
                self.fleet.update(state.id, partial(_as_seen, found=found))


@dataclass
class World:
    """All that a test arranges and looks at."""

    operations: FakeOperations = field(default_factory=FakeOperations)
    vms: list[Vm] = field(default_factory=list)
    seen: dict[str, VmState] = field(default_factory=dict)
    problem: Exception | None = None
    hidden: tuple[Note, ...] = ()
    hanging: tuple[Note, ...] = ()
    options: list[Options] = field(default_factory=list)
    fleet: Fleet = field(default_factory=Fleet)

    def add(
        self,
        name: str,
        *,
        source: str = "qemu",
        agent: AgentHealth | None = None,
        freeze: FreezeInfo | None = None,
    ) -> Vm:
        one = vm(name, source)
        self.vms.append(one)
        self.seen[name] = VmState(one, agent=agent or AgentHealth(), freeze=freeze or FreezeInfo())
        return one

    def engine(self, options: Options) -> Engine:
        self.options.append(options)
        configure = Policies(options.settings or Settings()).apply
        vms = [configure(one) for one in self.vms]
        source = FakeBackend(vms, self.problem, self.hidden)
        watcher = cast(Any, FakeWatcher(self.fleet, source, self.seen, self.hanging))
        return FakeEngine(self.fleet, cast(Any, source), watcher, cast(Any, self.operations))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(session, "build_engine", made.engine)
    return made


def event(
    one: Vm, kind: EventKind, text: str = "something", details: dict[str, object] | None = None
) -> Event:
    return Event(one.id, AT, kind, Level.INFO, text, event_details(**(details or {})))
