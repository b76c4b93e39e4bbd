"""Backups of real guests as an operator asks for them, and what is restored of them."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from agentclient import Engine
from agentclient.jobs.chained_backup import ChainedBackup
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.verify import Verified, verify_folder
from agentclient.model.events import Event, StageBegan
from agentclient.model.job import Consistency, FreezePolicy, JobOutcome, JobResult, JobStage
from tests.guests.copy_window import LONG_WINDOW
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.copies import raw_copy
from tests.guests.lab.process import copy_disk
from tests.guests.lab.release import tool


class Backups:
    """Somebody who makes backups of one guest.

    Args:
        guest: the guest.
        folder: where they go.
        name: what the VM is called now; None for the guest's name.
    """

    def __init__(self, guest: Guest, folder: Path, name: str | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.guest = guest
        self.name = name or guest.name
        self.folder = folder
        self.told: list[Event] = []
        argument = guest.vm_argument.replace(f"name={guest.name},", f"name={self.name},")
        self._engine = Engine([argument], named_only=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def start(
        self,
        *disks: str,
        policy: FreezePolicy = FreezePolicy.REQUIRE,
        limit: int = 0,
        on_event: Callable[[Event], object] = lambda _: None,
        **more: Any,
    ) -> ChainedBackup:
        """Begin a backup."""

        def listen(event: Event) -> None:
            self.told.append(event)
            on_event(event)

        vm = self._engine.find_one(self.name)
        more = {"freeze": LONG_WINDOW} | more
        request = BackupRequest(folder=self.folder, policy=policy, disks=disks, **more)
        return self._engine.jobs.backup(vm, request, listen, limit=limit)

    def freeze(self) -> None:
        """Freeze and thaw, and nothing else."""
        vm = self._engine.find_one(self.name)
        outcome = self._engine.freeze(vm).wait(PATIENCE_S)
        assert outcome is not None
        assert outcome.certified, outcome.reason

    def thaw(self) -> None:
        """Thaw the guest, whatever a backup needs it for."""
        self._engine.thaw(self._engine.find_one(self.name)).wait(PATIENCE_S)

    def make(self, *disks: str, **more: Any) -> tuple[JobOutcome, Path]:
        """Make a backup that has to be complete; return its outcome and its folder."""
        job = self.start(*disks, **more)
        outcome = job.wait(PATIENCE_S)
        assert outcome is not None, self.texts
        assert outcome.result is JobResult.COMPLETE, f"{outcome.reason}\n{self.texts}"
        assert outcome.left == ()
        assert job.folder is not None
        if more.get("policy") is None:
            assert outcome.consistency is Consistency.CONSISTENT
            assert outcome.ok
        return outcome, job.folder

    def started_in_ms(self) -> float:
        """How long the last backup's copies took to begin, within its window, in milliseconds."""
        at = {one.details.stage: one.at for one in self.told if isinstance(one.details, StageBegan)}
        return (at[JobStage.THAWING] - at[JobStage.STARTING]).total_seconds() * 1000.0

    def verify(self) -> list[Verified]:
        """Verify all of them."""
        return list(verify_folder(self.folder))

    @property
    def texts(self) -> str:
        """All that was told."""
        return "\n".join(f"{one.at:%H:%M:%S.%f} {one.kind:10} {one.text}" for one in self.told)


def in_the_window(function: Callable[[], object]) -> Callable[[Event], None]:
    """Return what calls `function` while the guest is frozen, before the copy is taken."""
    return in_the_stage(JobStage.STARTING, function)


def in_the_stage(stage: JobStage, function: Callable[[], object]) -> Callable[[Event], None]:
    """Return what calls `function` when a copy comes to a stage."""

    def listen(event: Event) -> None:
        if event.details == StageBegan(stage):
            function()

    return listen


def truth(guest: Guest, disk: str, folder: Path) -> bytes:
    """Return all bytes of a disk, read from its own image while the guest is paused."""
    folder.mkdir(parents=True, exist_ok=True)
    source = guest.places.disk(disk, guest.options.disk_format)
    target = folder / f"truth-{source.name}"
    guest.pause()
    copy_disk(source, target)
    guest.resume()
    return raw_copy(target, folder).read_bytes()


def restore(verified: Verified, into: Path) -> dict[str, bytes]:
    """Do what `verify` says, word for word; return the bytes of each restored disk."""
    assert verified.ok, verified.problems
    into.mkdir()
    for command in verified.restore:
        words = shlex.split(command.replace("RESTORED", str(into)))
        words[0] = tool(words[0]) or words[0]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    found = {}
    for path in into.glob("*.qcow2"):
        found[path.stem] = raw_copy(path, into).read_bytes()
    return found


def bitmaps(guest: Guest) -> dict[str, list[str]]:
    """The names of the bitmaps of each disk, by the name of its image."""
    return {
        Path(one["inserted"]["file"]).stem: [
            bitmap["name"] for bitmap in one["inserted"].get("dirty-bitmaps", [])
        ]
        for one in guest.qmp("query-block")
        if "inserted" in one
    }


def nothing_is_left(guest: Guest, nodes: Sequence[str]) -> None:
    """QEMU has neither a job nor a node that it had not before."""
    assert guest.qmp("query-jobs") == []
    assert node_names(guest) == sorted(nodes)


def node_names(guest: Guest) -> list[str]:
    """The names of all nodes."""
    return sorted(one["node-name"] for one in guest.qmp("query-named-block-nodes"))


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a manifest says."""
    found = json.loads((folder / "manifest.json").read_text())
    assert isinstance(found, dict)
    return found
