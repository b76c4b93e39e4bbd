"""The states of guests just after their boot: the next guest of the same kind goes on from there.

A boot takes seconds of a core under emulation, and to go on from such a state a tenth of that. QEMU
is started as for a boot and loads the state through its monitor, so that its command line, its
sockets and its process are those of any guest. What is kept is bound to the image, to QEMU and to
every argument: a changed word gives a new state beside the old one.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.guests.lab import process
from tests.guests.lab.errors import LabError
from tests.guests.lab.image import Image
from tests.guests.lab.options import Options, Places, qemu_arguments
from tests.guests.lab.patience import PATIENCE_S
from tests.guests.lab.qmp import LabMonitor
from tests.guests.lab.release import keep, wanted

_TOO_OLD = ("bullseye",)  # its QEMU is 5.2
_TAG = "booted"
_MEMORY = "memory.qcow2"
_CONSOLE = "console.log"
_JOB = "lab-state"
_NODE = "lab-memory"
# Each takes some 100 MB, and is made anew in a few seconds.
_KEPT_FOR_S = 24 * 3600.0
# What loading says on the monitor, and a boot does not.
_OWN_EVENTS = ("JOB_STATUS_CHANGE", "STOP", "RESUME")


@dataclass(frozen=True)
class Saved:
    """A place for the state of guests that are made of the same.

    Attributes:
        directory: holds it, if there is one.
    """

    directory: Path

    @property
    def exists(self) -> bool:
        """Whether a state was saved."""
        return self.directory.exists()

    def disk(self, name: str, disk_format: str) -> Path:
        """A disk as it was at that moment, to copy."""
        return self.directory / f"{name}.{disk_format}"

    def forget(self) -> None:
        """Remove the state: it can't be loaded."""
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from saving the same; freed by the kernel should this one die."""
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        with self.directory.with_suffix(".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def place(options: Options, image: Image) -> Saved | None:
    """Where the state of such guests is kept; None where none can be.

    The disks take part in a state, so that they must be of a kind that can; and the monitor has the
    commands for it since QEMU 6.0 only. An agent on a serial port hears nothing afterwards.
    """
    if options.fresh or options.disk_format != "qcow2" or not options.disks:
        return None
    if options.agent == "isa":
        return None
    if wanted(options.release).codename in _TOO_OLD:
        return None
    arguments = qemu_arguments(options, image, Places(Path("/guest")))
    name = arguments.index("-name")
    program = Path(image.qemu.program).stat()
    made_of = [
        *arguments[:name], *arguments[name + 2 :], *image.qemu.arguments, image.qemu.program,
        str(program.st_size), str(program.st_mtime_ns), Path(__file__).read_text(),
    ]  # fmt: skip
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    return Saved(image.directory.parent.parent / "booted" / key)


def save(saved: Saved, monitor: LabMonitor, options: Options, places: Places) -> None:
    """Keep the state of a guest that has just booted; it is of no more use then.

    Its monitor would tell of a migration that was completed, which no guest does after its boot.

    Raises:
        LabError: QEMU can't.
    """
    with tempfile.TemporaryDirectory(dir=saved.directory.parent, prefix="saving-") as name:
        folder = Path(name) / "state"
        folder.mkdir()
        memory = folder / _MEMORY
        process.make_disk(memory, 1 << 20)
        monitor.execute("stop")
        with _attached(monitor, memory):
            _run(monitor, "snapshot-save", [_NODE, *_disks(monitor)])
            for disk in options.disks:
                source = places.disk(disk, options.disk_format)
                process.copy_disk(source, folder / source.name)
        shutil.copy(places.console, folder / _CONSOLE)
        folder.rename(saved.directory)
    keep(saved.directory, _KEPT_FOR_S)


def load(saved: Saved, monitor: LabMonitor, places: Places) -> None:
    """Have a QEMU that was just started, on copies of the saved disks, go on from the state.

    Raises:
        LabError: it can't.
    """
    seen = len(monitor.events)
    # Whatever it has begun to boot.
    monitor.execute("stop")
    memory = places.directory / _MEMORY
    process.copy_disk(saved.directory / _MEMORY, memory)
    with _attached(monitor, memory):
        disks = _disks(monitor)
        _run(monitor, "snapshot-load", [_NODE, *disks])
        _run(monitor, "snapshot-delete", disks)
    memory.unlink()
    with places.console.open("ab") as console:
        console.write((saved.directory / _CONSOLE).read_bytes())
    keep(saved.directory, _KEPT_FOR_S)
    monitor.execute("cont")
    monitor.forget(seen, _OWN_EVENTS)


def _disks(monitor: LabMonitor) -> list[str]:
    """The block nodes of the guest's disks."""
    devices = monitor.execute("query-block")
    return [one["inserted"]["node-name"] for one in devices if "inserted" in one]


@contextmanager
def _attached(monitor: LabMonitor, memory: Path) -> Iterator[None]:
    """Have the file for the guest's memory in QEMU, and out again."""
    file = {"driver": "file", "filename": str(memory)}
    node = {"driver": "qcow2", "node-name": _NODE, "cache": {"no-flush": True}, "file": file}
    monitor.execute("blockdev-add", node)
    try:
        yield
    finally:
        monitor.execute("blockdev-del", {"node-name": _NODE})


def _run(monitor: LabMonitor, command: str, devices: list[str]) -> None:
    """Run one of the jobs on snapshots to its end.

    Raises:
        LabError: it failed, or takes too long.
    """
    arguments: dict[str, object] = {"job-id": _JOB, "tag": _TAG, "devices": devices}
    if command != "snapshot-delete":
        arguments["vmstate"] = _NODE
    deadline = time.monotonic() + PATIENCE_S
    monitor.execute(command, arguments)
    while True:
        (job,) = [one for one in monitor.execute("query-jobs") if one["id"] == _JOB]
        if job["status"] == "concluded":
            break
        if time.monotonic() > deadline:
            raise LabError(f"{command} is not done in {PATIENCE_S:g} s")
        time.sleep(0.005)
    monitor.execute("job-dismiss", {"id": _JOB})
    if "error" in job:
        raise LabError(f"{command}: {job['error']}")
