"""Runs snapshots without a guest: a QEMU whose images can have some."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agentclient.access.qmp_session import MonitorError
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.snapshots.deletion import DeletionRequest, SnapshotDeletion
from agentclient.jobs.snapshots.internal import InternalSnapshot
from agentclient.model.job import JobOutcome
from tests.unit.copy_harness import CopyHarness
from tests.unit.fake_qemu import FakeQemu

AT = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)


@dataclass
class SnapshotQemu(FakeQemu):
    """A QEMU whose images can have snapshots, by the name of their drive."""

    inside: dict[str, list[str]] = field(default_factory=dict)
    format: str = "qcow2"
    encrypted: bool = False
    file: str = "/images/{}.qcow2"
    # What else happens when it takes a snapshot: it answers too late, or never.
    too_late: bool = False

    def _drive(self, name: str, size: int) -> dict[str, Any]:
        found = super()._drive(name, size)
        image = found["inserted"]["image"] | {
            "filename": self.file.format(name),
            "format": self.format,
            "encrypted": self.encrypted,
            "snapshots": [
                {"name": one, "id": "1", "date-sec": int(AT.timestamp()), "vm-state-size": 0}
                for one in self.inside.get(name, [])
            ],
        }
        found["inserted"] |= {"image": image, "drv": self.format, "file": self.file.format(name)}
        return found

    def _transaction(self, *, actions: list[dict[str, Any]], **_: object) -> dict[str, Any]:
        assert {one["type"] for one in actions} == {"blockdev-snapshot-internal-sync"}
        for action in actions:
            data = action["data"]
            self.inside.setdefault(data["device"], []).append(data["name"])
        if self.too_late:
            raise MonitorError("the monitor did not answer in time", late=True)
        return {}

    def _blockdev_snapshot_delete_internal_sync(self, *, device: str, name: str) -> dict[str, Any]:
        self.inside[device].remove(name)
        return {}


class SnapshotHarness(CopyHarness):
    def __init__(self, **of_vm: Any) -> None:
        super().__init__(**of_vm)
        self.images = SnapshotQemu()
        self.access.monitor = self.qemu = self.images

    def take(self, name: str = "s1", **wanted: Any) -> JobOutcome:
        return InternalSnapshot(self.context(), SnapshotRequest(name=name, **wanted)).run()

    def delete(self, name: str, **wanted: Any) -> JobOutcome:
        return SnapshotDeletion(self.context(), DeletionRequest(name=name, **wanted)).run()
