"""A QEMU's block layer for tests without one: disks, nodes and jobs behind `Monitor.ask`.

Its answers have the shape of those in tests/guests/test_left_copies.py, on a real guest. A job
comes nearer to its end with each look at the jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.protocol.qmp import QmpFailure, QmpReply
from tests.unit.event_loops import EventLoops, NoSuchThing

MIB = 1 << 20
STEPS = 4


@dataclass
class FakeJob:
    """One job.

    Attributes:
        id: its id.
        type: what it does.
        total: bytes that it copies.
        done: bytes that are copied.
        status: QEMU's word.
        error: why it failed.
        ready: a mirror's target is equal to its source.
        fails_at: how many bytes it copies before it fails; None if it doesn't.
        stalls: it copies nothing.
        speed: its limit.
        grouped: it is cancelled when another one of its transaction fails.
    """

    id: str
    type: str
    total: int
    done: int = 0
    status: str = "running"
    error: str | None = None
    ready: bool = False
    fails_at: int | None = None
    stalls: bool = False
    speed: int = 0
    grouped: bool = False

    def advance(self) -> None:
        """Copy a bit more."""
        if self.status not in ("running", "ready") or self.stalls:
            return
        self.done = min(self.total, self.done + self.total // STEPS)
        if self.fails_at is not None and self.done >= self.fails_at:
            self.end("No space left on device")
        elif self.done == self.total and self.type == "mirror":
            self.status, self.ready = "ready", True
        elif self.done == self.total:
            self.end()

    def end(self, error: str | None = None) -> None:
        """Conclude, well or not."""
        self.status, self.error = "concluded", error


@dataclass
class FakeQemu:
    """A QEMU that has the drives ``drives``; what a test changes in it counts from then on."""

    drives: dict[str, int] = field(default_factory=lambda: {"a": 64 * MIB, "b": 64 * MIB})
    nodes: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    running: bool = True
    asked: list[str] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)
    would_have_ended: bool = False
    hangs: set[str] = field(default_factory=set)
    on_ask: Callable[[Ask], None] = lambda _: None
    on_job: Callable[[FakeJob], None] = lambda _: None
    more_of_drive: dict[str, dict[str, Any]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    commands: set[str] = field(
        default_factory=lambda: {
            "blockdev-add", "blockdev-create", "blockdev-snapshot", "job-complete", "transaction",
            "blockdev-snapshot-internal-sync", "blockdev-snapshot-delete-internal-sync",
        }
    )  # fmt: skip
    bitmaps: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    above: dict[str, str] = field(default_factory=dict)
    graph: object = None
    stopped_at: str = ""
    broken: bool = False
    loops: EventLoops = field(default_factory=EventLoops)

    def ask(self, asks: Sequence[Ask], timeout_s: float = 0.5) -> list[QmpReply | QmpFailure]:
        """Answer commands, as `agentclient.access.monitor.Monitor.ask` does."""
        del timeout_s
        return [self._answer(number, ask) for number, ask in enumerate(asks)]

    @contextmanager
    def held(self, timeout_s: float = 0.5) -> Iterator[int]:
        """Keep one connection, as `agentclient.access.monitor.Monitor.held` does."""
        del timeout_s
        yield -1

    def let_go(self) -> None:
        """End it, so that commands are answered again."""
        self.broken = False

    def _answer(self, number: int, ask: Ask) -> QmpReply | QmpFailure:
        self.asked.append(ask.command)
        self.on_ask(ask)
        if self.broken:
            raise MonitorError("the monitor's session broke")
        if ask.command in self.hangs:
            raise MonitorError("the monitor did not answer in time", late=True)
        if ask.command in self.refuses:
            return QmpFailure(number, "GenericError", self.refuses[ask.command])
        try:
            handler = getattr(self, "_" + ask.command.replace("-", "_"))
            return QmpReply(number, handler(**_snake(ask.arguments)))
        except NoSuchThing as error:
            return QmpFailure(number, "GenericError", str(error))
        except KeyError as error:
            return QmpFailure(number, "GenericError", f"Failed to find node with node-name={error}")

    def _query_commands(self) -> list[dict[str, str]]:
        return [{"name": name} for name in self.commands]

    # -- commands ------------------------------------------------------------------------------

    def _query_block(self) -> list[dict[str, Any]]:
        return [self._drive(name, size) for name, size in self.drives.items()]

    def _drive(self, name: str, size: int) -> dict[str, Any]:
        image = {"virtual-size": size, "actual-size": size // 2, "format": "qcow2"}
        inserted: dict[str, Any] = {
            "node-name": f"#block{name}",
            "drv": "qcow2",
            "file": f"/images/{name}.qcow2",
            "ro": False,
            "backing_file_depth": 0,
            "image": image,
        }
        marks = self.bitmaps.get(inserted["node-name"], {})
        inserted["dirty-bitmaps"] = list(marks.values())
        inserted["node-name"] = (
            self.above.get(f"/machine/peripheral/disk-{name}") or inserted["node-name"]
        )
        drive = {"device": name, "qdev": f"/machine/peripheral/disk-{name}", "inserted": inserted}
        return drive | self.more_of_drive.get(name, {})

    def _query_named_block_nodes(self, *, flat: bool = False) -> list[dict[str, Any]]:
        del flat
        return [{"node-name": name, "file": file} for name, file in self.nodes.items()]

    def _query_jobs(self) -> list[dict[str, Any]]:
        for job in list(self.jobs.values()):
            job.advance()
        if any(job.error and job.grouped for job in self.jobs.values()):
            for job in self.jobs.values():
                if job.grouped and job.error is None:
                    job.end("Operation canceled")
        return [
            {
                "id": job.id,
                "type": job.type,
                "status": job.status,
                "current-progress": job.done,
                "total-progress": job.total,
            }
            | ({"error": job.error} if job.error else {})
            for job in self.jobs.values()
        ]

    def _query_block_jobs(self) -> list[dict[str, Any]]:
        return [
            {"device": job.id, "speed": job.speed, "ready": job.ready, "io-status": "ok"}
            for job in self.jobs.values()
            if job.type != "create"
        ]

    def _blockdev_add(self, *, node_name: str, filename: str = "", **more: Any) -> dict[str, Any]:
        self.nodes[node_name] = filename or self.nodes.get(str(more.get("file")), "")
        return {}

    def _blockdev_del(self, *, node_name: str) -> dict[str, Any]:
        del self.nodes[node_name]
        return {}

    def _blockdev_create(self, *, job_id: str, options: dict[str, Any]) -> dict[str, Any]:
        del options
        job = self.jobs[job_id] = FakeJob(job_id, "create", 1, 1)
        job.end()
        self.on_job(job)
        return {}

    def _blockdev_backup(self, *, grouped: bool = False, **data: Any) -> dict[str, Any]:
        return self._begin("backup", data, grouped=grouped)

    def _blockdev_mirror(self, **data: Any) -> dict[str, Any]:
        return self._begin("mirror", data, grouped=False)

    def _begin(self, kind: str, data: dict[str, Any], *, grouped: bool) -> dict[str, Any]:
        size = self.drives.get(data["device"], 64 * MIB)
        name = data["job_id"]
        job = FakeJob(name, kind, size, speed=data.get("speed", 0), grouped=grouped)
        self.jobs[name] = job
        self.on_job(job)
        return {}

    def _transaction(
        self, *, actions: list[dict[str, Any]], properties: dict[str, str] | None = None
    ) -> dict[str, Any]:
        grouped = bool(properties) and properties == {"completion-mode": "grouped"}
        for action in actions:
            if action["type"] == "blockdev-backup":
                self._blockdev_backup(grouped=grouped, **_snake(action["data"]))
            if action["type"] == "block-dirty-bitmap-add":
                self._block_dirty_bitmap_add(**_snake(action["data"]))
        return {}

    def _job_dismiss(self, *, id: str) -> dict[str, Any]:  # noqa: A002 - QMP's own name
        del self.jobs[id]
        return {}

    def _job_cancel(self, *, id: str) -> dict[str, Any]:  # noqa: A002 - QMP's own name
        self.jobs[id].end("Operation canceled")
        return {}

    def _block_job_cancel(self, *, device: str, force: bool = False) -> dict[str, Any]:
        job = self.jobs[device]
        job.end("Operation canceled" if force or not job.ready else None)
        return {}

    def _block_job_set_speed(self, *, device: str, speed: int) -> dict[str, Any]:
        self.jobs[device].speed = speed
        return {}

    def _block_dirty_bitmap_add(
        self, *, node: str, name: str, persistent: bool = False, **more: Any
    ) -> dict[str, Any]:
        del more
        mark = {"name": name, "recording": True, "persistent": persistent, "busy": False}
        self.bitmaps.setdefault(node, {})[name] = mark | {"granularity": 65536, "count": 65536}
        return {}

    def _block_dirty_bitmap_remove(self, *, node: str, name: str) -> dict[str, Any]:
        del self.bitmaps[node][name]
        return {}

    def _x_debug_query_block_graph(self) -> object:
        return self.graph

    def _query_version(self) -> dict[str, Any]:
        return {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "Debian"}

    def _query_uuid(self) -> dict[str, Any]:
        return {"UUID": "00000000-0000-0000-0000-000000000000"}

    def _qom_list(self, *, path: str) -> object:
        return self.loops.list() if path == "/objects" else []

    def _object_add(self, *, qom_type: str, id: str) -> dict[str, Any]:  # noqa: A002
        self.loops.add(qom_type, id)
        return {}

    def _qom_set(self, *, path: str, property: str, value: Any) -> dict[str, Any]:  # noqa: A002
        if self.loops.knows(path, property):
            self.loops.set(path, property, value)
            return {}
        node = value if value.startswith("fw-") else ""
        if node and node not in self.nodes:
            raise NoSuchThing(f"Block device '{node}' not found")
        # test_fact_a_device_that_is_given_the_node_that_it_has_ends_qemu
        self.would_have_ended |= self.above.get(path, "") == node
        self.above[path] = node
        return {}

    def _qom_get(self, *, path: str, property: str) -> Any:  # noqa: A002 - QMP's own name
        if self.loops.knows(path, property):
            return self.loops.get(path, property)
        return self.types.get(path, "virtio-blk-device")

    def _query_status(self) -> dict[str, Any]:
        status = self.stopped_at or ("running" if self.running else "paused")
        return {"running": self.running, "status": status}

    def _stop(self) -> dict[str, Any]:
        self.running = False
        return {}

    def _cont(self) -> dict[str, Any]:
        self.running, self.stopped_at = True, ""
        return {}


def _snake(given: Any) -> dict[str, Any]:
    return {name.replace("-", "_"): one for name, one in given.items()}
