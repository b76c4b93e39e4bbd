"""A QEMU whose block layer is simulated, and all that a copy needs beside it, in virtual time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.fleet.store import Fleet
from agentclient.jobs import block, cancel, follow, mirror, window, window_end
from agentclient.jobs import job as job_module
from agentclient.jobs.context import JobContext
from agentclient.jobs.control import JobControl
from agentclient.jobs.reporter import JobReporter
from agentclient.model.events import Event, EventKind, StageBegan
from agentclient.model.job import JobStage
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import OutcomeKind, Refusal, RunState
from agentclient.model.vm import AgentChannel, MonitorChannel, Vm, VmId
from agentclient.protocol.job_names import is_claim
from agentclient.protocol.qmp import QmpFailure, QmpReply
from tests.unit.event_loops import EventLoops, NoSuchThing

GIB = 1 << 30
MIB = 1 << 20
IMAGES = (".qcow2", ".raw")
BEGAN = datetime(2026, 3, 1, 1, 0, tzinfo=UTC)

Handler = Callable[[dict[str, Any]], object]


class VirtualClock:
    """The monotonic clock of a test; a wait takes no time, and moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[tuple[float, Callable[[], object]]] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let the time pass, and what was to happen meanwhile."""
        end = self.now + seconds
        while due := [one for one in self.events if one[0] <= end]:
            first = min(due, key=lambda one: one[0])
            self.events.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = end

    def after(self, seconds: float, do: Callable[[], object]) -> None:
        """Have something happen."""
        self.events.append((self.now + seconds, do))


class VirtualControl(JobControl):
    """A job's control whose waits are virtual."""

    def __init__(self, clock: VirtualClock, limit: int = 0) -> None:
        super().__init__(limit)
        self._clock = clock

    def wait(self, seconds: float) -> None:
        """Wait; a cancellation ends it."""
        self.check()
        self._clock.sleep(seconds)
        self.check()


class Refused(Exception):
    """QEMU answers a command with an error."""


@dataclass
class Job:
    """A mirror in the simulated QEMU."""

    id: str
    target: str
    total: int
    begun: float
    speed: int
    rate: float
    status: str = "running"
    done: int = 0
    error: str | None = None
    cancelled: bool = False
    behind: int = 0
    cleared_at: float | None = None


@dataclass
class CopyingQemu:
    """A monitor with disks, and mirrors that progress with the clock.

    Attributes:
        clock: the time.
        sizes: the disks' sizes by name.
        rate: bytes a second that a mirror copies.
        behind: bytes that a mirror which is ready is behind its disk.
        drains: seconds until a mirror that is completed has nothing left to copy.
        running: the VM's processors run.
        dead: why the monitor does not answer; None if it does.
        hooks: what a command does instead; may raise `Refused`.
        log: all commands.
    """

    clock: VirtualClock
    sizes: dict[str, int]
    rate: float = 100.0 * MIB
    behind: int = 0
    drains: float = 0.01
    running: bool = True
    dead: str | None = None
    port_open: bool = True
    hooks: dict[str, Handler] = field(default_factory=dict)
    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    loops: EventLoops = field(default_factory=EventLoops)
    uuid: str = "4c1a0000-0000-0000-0000-000000000001"

    # -- what a monitor has ---------------------------------------------------------------

    def ask(self, asks: Sequence[Ask], timeout_s: float) -> list[QmpReply | QmpFailure]:
        answers: list[QmpReply | QmpFailure] = []
        for number, one in enumerate(asks):
            if self.dead is not None:
                raise MonitorError(self.dead)
            self.clock.sleep(0.001)
            arguments = dict(one.arguments)
            self.log.append((one.command, arguments))
            try:
                answers.append(QmpReply(number, self._answer(one.command, arguments)))
            except (Refused, NoSuchThing) as error:
                answers.append(QmpFailure(number, "GenericError", str(error)))
        return answers

    def look(self) -> MonitorView:
        state = RunState.RUNNING if self.running else RunState.PAUSED
        return MonitorView(state, port_open=self.port_open, client=False)

    # -- for the tests --------------------------------------------------------------------

    def commands(self, *names: str) -> list[tuple[str, dict[str, Any]]]:
        """The commands of these names, but for those of a copy's claim."""
        return [
            one
            for one in self.log
            if one[0] in names and not is_claim(str(one[1].get("node-name", "")))
        ]

    def fail(self, disk: int = 0, error: str = "No space left on device") -> None:
        """A mirror fails now."""
        job = list(self.jobs.values())[disk]
        job.status, job.error = "concluded", error

    # -- its commands ---------------------------------------------------------------------

    def _answer(self, command: str, given: dict[str, Any]) -> object:
        if command in self.hooks:
            answer = self.hooks[command](given)
            if answer is not None:
                return answer
        self._progress()
        return getattr(self, f"_{command.replace('-', '_')}")(given)

    def _progress(self) -> None:
        for job in self.jobs.values():
            if job.status == "running":
                rate = min(self.rate, job.speed or self.rate)
                job.done = min(job.total, int((self.clock.now - job.begun) * rate))
                if job.done >= job.total:
                    job.status = "ready"
            if job.status == "ready" and job.cancelled:
                job.cleared_at = job.cleared_at or self.clock.now + self.drains
                if self.clock.now >= job.cleared_at:
                    job.status = "concluded"

    def _query_block(self, _: object) -> object:
        return [
            {
                "device": name,
                "qdev": f"/machine/peripheral/disk-{name}/virtio-backend",
                "inserted": {
                    "node-name": f"#{name}",
                    "drv": "qcow2",
                    "file": f"/disks/{name}.qcow2",
                    "image": {"virtual-size": size, "actual-size": size // 4},
                },
            }
            for name, size in self.sizes.items()
        ]

    def _query_named_block_nodes(self, _: object) -> object:
        return [{"node-name": name, "file": file} for name, file in self.nodes.items()]

    def _query_uuid(self, _: object) -> object:
        return {"UUID": self.uuid}

    def _query_version(self, _: object) -> object:
        return {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}

    def _query_jobs(self, _: object) -> object:
        return [
            {
                "id": job.id,
                "type": "mirror",
                "status": job.status,
                "current-progress": job.done,
                "total-progress": job.total + (self.behind if job.status == "ready" else 0),
                **({"error": job.error} if job.error else {}),
            }
            for job in self.jobs.values()
        ]

    def _query_block_jobs(self, _: object) -> object:
        return [
            {
                "device": job.id,
                "type": "mirror",
                "status": job.status,
                "ready": job.status in ("ready", "standby"),
                "speed": job.speed,
                "io-status": "ok",
            }
            for job in self.jobs.values()
        ]

    def _blockdev_add(self, given: dict[str, Any]) -> object:
        self.nodes[given["node-name"]] = given.get("filename", "")
        return {}

    def _blockdev_del(self, given: dict[str, Any]) -> object:
        if given["node-name"] not in self.nodes:
            raise Refused(f"Failed to find node with node-name='{given['node-name']}'")
        del self.nodes[given["node-name"]]
        return {}

    def _blockdev_create(self, given: dict[str, Any]) -> object:
        return {}

    def _job_dismiss(self, given: dict[str, Any]) -> object:
        if given["id"] not in self.jobs:
            raise Refused("Job not found")
        del self.jobs[given["id"]]
        return {}

    def _blockdev_mirror(self, given: dict[str, Any]) -> object:
        total = self.sizes[given["device"]]
        self.jobs[given["job-id"]] = Job(
            given["job-id"], given["target"], total, self.clock.now, given["speed"], self.rate
        )
        return {}

    def _block_job_set_speed(self, given: dict[str, Any]) -> object:
        job = self.jobs[given["device"]]
        job.speed = given["speed"]
        return {}

    def _block_job_cancel(self, given: dict[str, Any]) -> object:
        if given["device"] not in self.jobs:
            raise Refused("no such job")
        job = self.jobs[given["device"]]
        if given.get("force") or job.status != "ready":
            job.status, job.error = "concluded", "Operation canceled"
        job.cancelled = True
        return {}

    def _job_cancel(self, given: dict[str, Any]) -> object:
        if given["id"] not in self.jobs:
            raise Refused("Job not found")
        return {}

    def _qom_list(self, _: object) -> object:
        return self.loops.list()

    def _object_add(self, given: dict[str, Any]) -> object:
        self.loops.add(given["qom-type"], given["id"])
        return {}

    def _qom_set(self, given: dict[str, Any]) -> object:
        self.loops.set(given["path"], given["property"], given["value"])
        return {}

    def _qom_get(self, given: dict[str, Any]) -> object:
        if self.loops.knows(given["path"], given["property"]):
            return self.loops.get(given["path"], given["property"])
        return "virtio-blk-device"

    def _query_status(self, _: object) -> object:
        return {"running": self.running}


class VirtualFreeze:
    """A freeze that is verified at once, and ends as a test says."""

    def __init__(self, clock: VirtualClock, ends: Outcome, refused: bool = False) -> None:
        self._clock = clock
        self._ends = ends
        self.context = SimpleNamespace(entry=None)
        self.verdict = ends
        self.done = refused
        self.hold_ends_at = None if refused else clock.now + 10.0
        self.cancelled = False
        self.hangs = False

    def wait_opened(self, timeout_s: float | None = None) -> bool:
        if not self.hangs:
            return True
        time.sleep(0.01)
        if self.cancelled:
            self.done, self._ends = True, CANCELLED
        return self.cancelled

    def end_hold(self) -> None:
        self.done = True

    def wait(self, timeout_s: float | None = None) -> Outcome:
        self.done = True
        return self._ends

    def cancel(self) -> None:
        self.cancelled = True


CERTIFIED = Outcome(OutcomeKind.VERIFIED, "frozen", frozen=2, thawed=2, certified=True)
CANCELLED = Outcome(OutcomeKind.REFUSED, "cancelled", refusal=Refusal.CANCELLED)
NO_AGENT = Outcome(OutcomeKind.REFUSED, "no agent runs", refusal=Refusal.NO_AGENT)


@dataclass
class Scene:
    """A VM to copy, and everything around it.

    It stands for the VM's access, and for the operations.

    Attributes:
        clock: the time.
        qemu: its monitor.
        control: the operator.
        folder: where the files go.
        freezes: how its freezes end; the last one for all that follow.
        frozen: the freezes that were begun.
        events: all that was told.
        watched: what is done at a stage.
        gone: whether the VM has ended.
        freeze_hangs: the agent does not answer a freeze until it is cancelled.
        requests: what its freezes were asked for.
    """

    clock: VirtualClock
    qemu: CopyingQemu
    control: VirtualControl
    folder: Path
    freezes: list[Outcome] = field(default_factory=lambda: [CERTIFIED])
    frozen: list[VirtualFreeze] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    watched: dict[JobStage, Callable[[], object]] = field(default_factory=dict)
    gone: bool | None = False
    freeze_hangs: bool = False
    requests: list[Any] = field(default_factory=list)
    fleet: Fleet = field(default_factory=Fleet)

    # -- what an access and the operations have -----------------------------------------

    process = None
    disk_calls = None
    has_agent = True

    @property
    def monitor(self) -> CopyingQemu:
        return self.qemu

    def unproven(self) -> str | None:
        return None

    def is_gone(self) -> bool | None:
        return self.gone

    def is_another(self, vm: Vm) -> bool:
        return False

    def freeze(self, vm: Vm, request: object, on_event: object) -> VirtualFreeze:
        ends = self.freezes[min(len(self.frozen), len(self.freezes) - 1)]
        refused = ends.kind is OutcomeKind.REFUSED
        freeze = VirtualFreeze(self.clock, ends, refused)
        freeze.hangs = self.freeze_hangs
        self.frozen.append(freeze)
        self.requests.append(request)
        return freeze

    # -- for the tests --------------------------------------------------------------------

    def context(self) -> JobContext:
        vm = Vm(
            VmId("qemu", "web1"),
            AgentChannel(Path("/run/web1.qga")),
            MonitorChannel(Path("/run/web1.qmp")),
        )
        self.fleet.set_vms("qemu", [vm])
        return JobContext(
            vm=vm,
            access=cast(Any, self),
            operations=cast(Any, self),
            reporter=JobReporter(self.fleet, vm, self.tell),
            control=self.control,
            wall=lambda: BEGAN + timedelta(seconds=self.clock.now - 1000.0),
            on_event=self.tell,
        )

    def at_stage(self, stage: JobStage, do: Callable[[], object]) -> None:
        """Do something once, when the copy comes to a stage."""
        self.watched[stage] = do

    def tell(self, event: Event) -> None:
        """Take an event of the copy."""
        self.events.append(event)
        if isinstance(event.details, StageBegan):
            self.watched.pop(event.details.stage, lambda: None)()

    @property
    def stages(self) -> list[JobStage]:
        return [one.details.stage for one in self.events if isinstance(one.details, StageBegan)]

    @property
    def notes(self) -> list[str]:
        return [one.text for one in self.events if one.kind is EventKind.NOTE]

    @property
    def files(self) -> list[str]:
        """The images that were made, by their names."""
        return sorted(one.name for one in self.folder.rglob("*") if one.suffix in IMAGES)

    @property
    def home(self) -> Path:
        """The folder of the VM's copies."""
        return self.folder / "web1"

    @property
    def manifest(self) -> dict[str, Any]:
        """What the manifest of its only copy says."""
        (found,) = self.folder.rglob("manifest.json")
        read: dict[str, Any] = json.loads(found.read_text())
        return read


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    clock = VirtualClock()
    for module in (block, cancel, follow, job_module, mirror, window, window_end):
        monkeypatch.setattr(module, "time", clock)
    qemu = CopyingQemu(clock, {"a": GIB, "b": GIB // 2})
    return Scene(clock, qemu, VirtualControl(clock), tmp_path)
