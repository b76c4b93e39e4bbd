"""Somebody who takes snapshots of a real guest's disks, and may do harm at any stage of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

from agentclient import Engine
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.snapshots.deletion import DeletionRequest
from agentclient.model.disk_snapshot import SnapshotFound
from agentclient.model.events import Event, EventKind, StageBegan
from agentclient.model.job import FreezePolicy, JobOutcome, JobStage
from tests.guests.copy_window import LONG_WINDOW
from tests.guests.lab import Guest

PATIENCE_S = 150.0


class Photographer:
    """Takes, lists and deletes snapshots of one guest, with an engine of its own.

    Args:
        guest: the guest.

    Attributes:
        engine: the engine.
        notes: what was told that is no stage.
    """

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.engine = Engine([guest.vm_argument], named_only=True)
        self.vm = self.engine.find_one(guest.name)
        self.notes: list[str] = []
        self._at: dict[JobStage, Callable[[], object]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def take(
        self,
        name: str,
        *disks: str,
        external: bool = False,
        policy: FreezePolicy = FreezePolicy.REQUIRE,
        folder: Path | None = None,
        at: dict[JobStage, Callable[[], object]] | None = None,
    ) -> JobOutcome:
        """Take a snapshot; at each stage that is named something is done in the job's thread."""
        request = SnapshotRequest(
            name=name,
            disks=disks,
            external=external,
            policy=policy,
            folder=folder,
            freeze=LONG_WINDOW,
        )
        return self.take_as(request, at)

    def take_as(
        self, request: SnapshotRequest, at: dict[JobStage, Callable[[], object]] | None = None
    ) -> JobOutcome:
        """Take a snapshot; `at` as for `take`."""
        self._at = dict(at or {})
        outcome = self.engine.jobs.snapshot(self.vm, request, self._listen).wait(PATIENCE_S)
        assert outcome is not None
        return outcome

    def delete(self, name: str, *disks: str, external: bool = False) -> JobOutcome:
        """Delete a snapshot."""
        self._at = {}
        request = DeletionRequest(name=name, disks=disks, external=external)
        outcome = self.engine.jobs.delete_snapshot(self.vm, request, self._listen).wait(PATIENCE_S)
        assert outcome is not None
        return outcome

    def list(self) -> dict[str, SnapshotFound]:
        """Return the snapshots that there are, by their names."""
        return {one.name: one for one in self.engine.jobs.snapshots(self.vm)}

    def image(self, disk: str) -> Path:
        """Return the image that the guest was booted with."""
        return self.guest.places.disk(disk, self.guest.options.disk_format)

    def _listen(self, event: Event) -> None:
        if event.kind is EventKind.NOTE:
            self.notes.append(event.text)
        if isinstance(event.details, StageBegan):
            self._at.pop(event.details.stage, lambda: None)()
