"""Somebody who copies the disks of a real guest under libvirt, and looks at what libvirt says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree as ET

from agentclient import Engine
from agentclient.backends.libvirt.backend import LibvirtBackend
from agentclient.backends.libvirt.uris import wanted
from agentclient.jobs.job import CopyJob
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.snapshots.deletion import DeletionRequest
from agentclient.model.events import Event, JobProgressed
from agentclient.model.job import Consistency, JobOutcome, JobProgress, JobResult
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import VmState
from agentclient.model.vm import Vm
from tests.guests.copy_window import LONG_WINDOW
from tests.guests.lab import DomainGuest, check_copy
from tests.guests.lab.image import Image
from tests.guests.lab.release import tool
from tests.guests.lab.shell import wait_until

PATIENCE_S = 150.0


# A disk of which 8 MB a second are read at the most, however fast the machine is: a copy of it
# can be told a limit before it is done. It is served, since libvirt has no such disk of its own.
LARGE = "vdx"
_SERVED = {
    "driver": "throttle",
    "throttle-group": "slow",
    "file.driver": "null-co",
    "file.size": str(1 << 30),
    "file.read-zeroes": "off",  # zeroes would be copied in no time
}
_LARGE_DISK = """
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='unsafe'/>
      <source protocol='nbd' name='slow'><host transport='unix' socket='{socket}'/></source>
      <target dev='{target}' bus='virtio'/>
    </disk>
  </devices>"""


class RoomyGuest(DomainGuest):
    """A guest with a large disk beside its own, whose copy takes as long as is asked."""

    _server: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the guest, and what serves its disk."""
        super().close()
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def _xml(self, built: Image) -> str:
        socket = self.places.directory / "large.sock"
        group = f"throttle-group,id=slow,x-bps-read={8 << 20}"
        options = ",".join(f"{name}={value}" for name, value in _SERVED.items())
        words = ["-t", "-e", "0", "-k", str(socket), "-x", "slow", "--object", group]
        program = tool("qemu-nbd") or "qemu-nbd"
        self._server = subprocess.Popen([program, *words, "--image-opts", options])
        wait_until(socket.exists, PATIENCE_S, "the server of its large disk")
        more = _LARGE_DISK.format(socket=socket, target=LARGE)
        return super()._xml(built).replace("  </devices>", more, 1)


def domains_alone(uri: str, folder: Path) -> Engine:
    """Return an engine for one daemon's domains: the guests of other tests are not visited.

    Args:
        uri: the daemon's address.
        folder: where its journal is.
    """
    return Engine(backends=[LibvirtBackend(wanted([uri]))], journal=folder / "journal.db")


class Copier:
    """Somebody with frostwatch, one guest under libvirt, and a folder for its copies.

    Args:
        guest: the guest.
        folder: where its backups go; the journal is beside it.
    """

    def __init__(self, guest: DomainGuest, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.guest = guest
        self.folder = folder
        self.told: list[Event] = []
        self.engine = domains_alone(guest.daemon.uri, folder.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    @property
    def vm(self) -> Vm:
        """The guest, as it is listed now."""
        return self.engine.find_one(f"libvirt:{self.guest.name}")

    def begin_backup(
        self,
        *disks: str,
        limit: int = 0,
        on_event: Callable[[Event], object] | None = None,
        **more: Any,
    ) -> CopyJob:
        """Begin a backup."""
        more = {"freeze": LONG_WINDOW} | more
        request = BackupRequest(folder=self.folder, disks=disks, **more)
        return self.engine.jobs.backup(self.vm, request, self.listener(on_event), limit=limit)

    def backup(self, *disks: str, **more: Any) -> tuple[JobOutcome, Path]:
        """Make a backup that has to be consistent; return its outcome and its folder."""
        job = self.begin_backup(*disks, **more)
        outcome = job.wait(PATIENCE_S)
        assert outcome is not None, self.texts
        assert_consistent(outcome, self.texts)
        return outcome, Path(outcome.disks[0].target or "").parent

    def snapshot(self, name: str, *disks: str, **more: Any) -> JobOutcome:
        """Take an external snapshot."""
        on_event = more.pop("on_event", None)
        given: dict[str, Any] = {"freeze": LONG_WINDOW, "external": True} | more
        request = SnapshotRequest(name=name, disks=disks, **given)
        job = self.engine.jobs.snapshot(self.vm, request, self.listener(on_event))
        outcome = job.wait(PATIENCE_S)
        assert outcome is not None, self.texts
        return outcome

    def freeze(self) -> Outcome:
        """Freeze and thaw, and nothing else."""
        outcome = self.engine.freeze(self.vm).wait(PATIENCE_S)
        assert outcome is not None
        return outcome

    def delete(self, name: str) -> JobOutcome:
        """Delete an external snapshot."""
        request = DeletionRequest(name=name, external=True)
        job = self.engine.jobs.delete_snapshot(self.vm, request, self.listener(None))
        outcome = job.wait(PATIENCE_S)
        assert outcome is not None, self.texts
        return outcome

    @property
    def texts(self) -> str:
        """All that was told."""
        return "\n".join(f"{one.at:%H:%M:%S.%f} {one.kind:10} {one.text}" for one in self.told)

    def listener(
        self, on_event: Callable[[Event], object] | None = None
    ) -> Callable[[Event], None]:
        """Return what keeps all that is told, and passes it on."""

        def listen(event: Event) -> None:
            self.told.append(event)
            if on_event is not None:
                on_event(event)

        return listen


def assert_consistent(outcome: JobOutcome, texts: str = "") -> None:
    """Assert that a copy is complete, certified, and has left nothing behind."""
    assert outcome.result is JobResult.COMPLETE, f"{outcome.reason}\n{texts}"
    assert outcome.consistency is Consistency.CONSISTENT, f"{outcome.reason}\n{texts}"
    assert outcome.ok
    assert outcome.left == ()
    assert outcome.window is not None
    assert outcome.window.certified


def assert_whole(images: dict[str, Path], durable: dict[str, int]) -> None:
    """Assert that all images are clean, complete up to the freeze, and of one instant."""
    last = {}
    for disk, image in images.items():
        verdict = check_copy(image)
        assert verdict.consistent, verdict.said
        assert verdict.gapless
        assert verdict.last in (durable[disk], durable[disk] + 1)
        last[disk] = verdict.last
    assert max(last.values()) - min(last.values()) in (0, 1), last


def nothing_is_left(guest: DomainGuest) -> None:
    """Assert that neither libvirt nor QEMU has anything of a copy any more.

    QEMU ends a cancelled job when what it reads from a slow disk has come, and what is said of a
    command's copy goes with it.
    """
    wait_until(lambda: guest.qmp("query-jobs") == [], PATIENCE_S, "the end of its jobs")
    wait_until(lambda: said_of_copies(guest) == [], PATIENCE_S, "what is said of copies to go")
    assert "None" in guest.daemon.virsh("domjobinfo", guest.name)
    guest.assert_thawed()


def said_of_copies(guest: DomainGuest) -> list[str]:
    """What copies say of themselves in the domain's metadata: the namespaces."""
    root = ET.fromstring(guest.daemon.virsh("dumpxml", guest.name))
    tags = [one.tag for one in root.iterfind("metadata/*")]
    return [one for one in tags if "urn:frostwatch:" in one]


def image_of(guest: DomainGuest, disk: str) -> Path:
    """The image that a disk was booted with."""
    return guest.places.disk(disk, guest.options.disk_format)


def told_progress(copier: Copier) -> list[JobProgress]:
    """How far each disk was, whenever that was told."""
    found = [one.details for one in copier.told]
    return [one.job for one in found if isinstance(one, JobProgressed) and one.job.disks]


def state_of(copier: Copier) -> VmState:
    """What is known of the guest now."""
    return copier.engine.fleet.get(copier.vm.id)
