"""Stand-ins for the core: a clock that stands still, and operations that only remember."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agentclient.access.guest_inputs import Inputs
from agentclient.jobs.left import Cleared, LeftCopy
from agentclient.jobs.mirror import MirrorRequest
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.survey import CopySurvey, FolderSurvey
from agentclient.journal.history import VmHistory
from agentclient.model.guest_report import GuestReport
from agentclient.model.job import JobKind, JobOutcome
from agentclient.model.outcome import ExtendOutcome, Outcome, ThawOutcome
from agentclient.model.place import NO_PLACE, Place
from agentclient.model.request import FreezeRequest
from agentclient.model.rescue import RescueOutcome, Rung, Step
from agentclient.model.snapshot import MonitorView, VmState
from agentclient.model.states import RunState
from agentclient.model.vm import Vm, VmId
from agentclient.operations.rescue.ladder import LadderFacts, Offer, ladder
from tui.shared.clocks import Clock

NOON = datetime(2025, 9, 9, 12, 0, 0, tzinfo=UTC)


class StillClock:
    """A clock that moves when it is told to."""

    def __init__(self, mono: float = 10_000.0) -> None:
        self.mono = mono
        self._start = mono

    def advance(self, seconds: float) -> None:
        self.mono += seconds

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.mono - self._start)

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.mono, self.wall)


@dataclass
class FakeOperation:
    vm: Vm
    kind: str
    request: FreezeRequest | None = None
    foreign: bool = False
    outcome: Outcome | ThawOutcome | RescueOutcome | None = None
    on_cancel: Callable[[FakeOperation], None] | None = None
    step: Step | None = None
    place: Place = NO_PLACE
    calls: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.outcome is not None

    def cancel(self) -> None:
        self.calls.append("cancel")
        if self.on_cancel is not None:
            self.on_cancel(self)

    def end_hold(self) -> None:
        self.calls.append("end_hold")

    def fail_together(self, why: str) -> None:
        self.calls.append(f"apart {why}")

    def note(self, text: str) -> None:
        self.calls.append(f"note {text}")

    def extend_hold(self, seconds: float) -> None:
        self.calls.append(f"extend {seconds:g}")

    def keep(self) -> None:
        self.calls.append("keep")

    def give_up(self) -> None:
        self.calls.append("give_up")

    def wait(self, timeout_s: float | None = None) -> Outcome | ThawOutcome | RescueOutcome | None:
        return self.outcome


class FakeOperations:
    """Remembers what was started; nothing ends unless a test ends it."""

    freezes_at_once = 64

    def __init__(self) -> None:
        self.started: list[FakeOperation] = []
        self.closed = False
        self.view = MonitorView(RunState.RUNNING, port_open=False, client=False)
        self.inputs = Inputs(keyboard=True)
        self.looks: list[Future[tuple[Offer, ...]]] = []
        self.slow = False
        self.past: VmHistory | Exception | None = None
        self.not_begun: Outcome | None = None  # what becomes of freezes at once
        self.extended: list[tuple[Vm, float | datetime]] = []  # by other frostwatches
        self.extension: Future[ExtendOutcome] = Future()
        self.report: GuestReport | None = None  # None: the agent has not answered yet
        self.inspected: list[Vm] = []

    def add(self, vm: Vm, what: str = "freeze") -> FakeOperation:
        operation = FakeOperation(vm, what)
        self.started.append(operation)
        return operation

    def prepare(self) -> None:
        pass

    def freeze(self, vm: Vm, request: FreezeRequest, on_event: object = None) -> FakeOperation:
        operation = FakeOperation(vm, "freeze", request, outcome=self.not_begun)
        self.started.append(operation)
        return operation

    def thaw(self, vm: Vm, *, foreign: bool = False, on_event: object = None) -> FakeOperation:
        running = self.on(vm.id)
        if running is not None:
            running.cancel()
            return running
        operation = FakeOperation(vm, "thaw", foreign=foreign)
        self.started.append(operation)
        return operation

    def attach(self, vm: Vm, on_event: object = None) -> FakeOperation:
        return self.add(vm, "freeze")

    def extend_elsewhere(self, vm: Vm, longer: float | datetime) -> Future[ExtendOutcome]:
        self.extended.append((vm, longer))
        return self.extension

    def rescue(
        self, vm: Vm, step: Step, *, person: bool = True, on_event: object = None
    ) -> FakeOperation:
        operation = FakeOperation(vm, "rescue", step=step)
        self.started.append(operation)
        return operation

    def ladder(
        self, vm: Vm, *, serial: str | None = None, tried: frozenset[Rung] = frozenset()
    ) -> Future[tuple[Offer, ...]]:
        look: Future[tuple[Offer, ...]] = Future()
        known = LadderFacts(VmState(vm), self.view, self.inputs, serial=serial, tried=tried)
        self.looks.append(look)
        if not self.slow:
            look.set_result(ladder(known))
        return look

    def history(self, vm: Vm, limit: int = 50) -> Future[VmHistory | None]:
        look: Future[VmHistory | None] = Future()
        if isinstance(self.past, Exception):
            look.set_exception(self.past)
        else:
            look.set_result(self.past)
        return look

    def inspect(self, vm: Vm) -> Future[GuestReport]:
        look: Future[GuestReport] = Future()
        self.inspected.append(vm)
        if self.report is not None:
            look.set_result(self.report)
        return look

    def active(self) -> tuple[FakeOperation, ...]:
        return tuple(one for one in self.started if not one.done)

    def on(self, vm_id: VmId) -> FakeOperation | None:
        return next((one for one in self.active() if one.vm.id == vm_id), None)

    def cancel_all(self) -> None:
        for operation in self.active():
            operation.cancel()

    def stop(self, timeout_s: float) -> bool:
        self.closed = True
        return not self.active()


@dataclass
class FakeJob:
    vm: Vm
    kind: JobKind
    request: object = None
    limit: int = 0
    outcome: JobOutcome | None = None
    on_cancel: Callable[[FakeJob], None] | None = None
    place: Place = NO_PLACE
    calls: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.outcome is not None

    def cancel(self) -> None:
        self.calls.append("cancel")
        if self.on_cancel is not None:
            self.on_cancel(self)

    def leave(self) -> None:
        self.calls.append("leave")
        if self.on_cancel is not None:
            self.on_cancel(self)

    def set_limit(self, limit: int) -> None:
        self.calls.append(f"limit {limit}")

    def wait(self, timeout_s: float | None = None) -> JobOutcome | None:
        return self.outcome


class FakeJobs:
    """Remembers which copies were begun; nothing ends unless a test ends it."""

    def __init__(self) -> None:
        self.begun: list[FakeJob] = []
        self.found = CopySurvey()
        self.room = FolderSurvey(free=50 << 30)
        self.left: tuple[LeftCopy, ...] = ()
        self.going_on: tuple[FakeJob, ...] = ()
        self.cleared: list[LeftCopy] = []
        self.surveyed: list[JobKind] = []

    def backup(
        self, vm: Vm, request: BackupRequest, on_event: object = None, *, limit: int = 0
    ) -> FakeJob:
        return self.add(vm, JobKind.BACKUP, request, limit)

    def mirror(
        self, vm: Vm, request: MirrorRequest, on_event: object = None, *, limit: int = 0
    ) -> FakeJob:
        return self.add(vm, JobKind.MIRROR, request, limit)

    def snapshot(self, vm: Vm, request: SnapshotRequest, on_event: object = None) -> FakeJob:
        return self.add(vm, JobKind.SNAPSHOT, request)

    def add(self, vm: Vm, kind: JobKind, request: object = None, limit: int = 0) -> FakeJob:
        job = FakeJob(vm, kind, request, limit)
        self.begun.append(job)
        return job

    def survey(self, vm: Vm, kind: JobKind) -> CopySurvey:
        self.surveyed.append(kind)
        return self.found

    def survey_folder(self, folder: Path) -> FolderSurvey:
        return self.room

    def in_qemu(self, vm: Vm) -> tuple[LeftCopy, ...]:
        return self.left

    def clear(self, vm: Vm, copy: LeftCopy) -> Cleared:
        self.cleared.append(copy)
        return Cleared(removed=("/to/a.qcow2",), kept=(), left=())

    def unended(self) -> tuple[FakeJob, ...]:
        return self.going_on

    def active(self) -> tuple[FakeJob, ...]:
        return tuple(one for one in self.begun if not one.done)

    def on(self, vm_id: VmId) -> FakeJob | None:
        return next((one for one in self.active() if one.vm.id == vm_id), None)

    def cancel_all(self) -> None:
        for job in self.active():
            job.cancel()

    def leave_all(self) -> None:
        for job in self.active():
            job.leave()


class FakeWatcher:
    def __init__(self) -> None:
        self.visited: list[VmId] = []
        self.problems: tuple[str, ...] = ()
        self.started = False

    def start(self) -> None:
        self.started = True

    def visit_soon(self, vm_id: VmId) -> None:
        self.visited.append(vm_id)
