"""What the console needs of the core, and nothing more: tests and pictures put their own behind it.

The core's `OperationManager` and `Watcher` have these shapes; the console knows no more of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from agentclient.model.outcome import Outcome
from agentclient.model.place import Place
from agentclient.model.vm import Vm, VmId

if TYPE_CHECKING:
    from concurrent.futures import Future
    from datetime import datetime
    from pathlib import Path

    from agentclient.jobs.left import Cleared, LeftCopy
    from agentclient.jobs.mirror import MirrorRequest
    from agentclient.jobs.request import BackupRequest
    from agentclient.jobs.snapshots.create import SnapshotRequest
    from agentclient.jobs.survey import CopySurvey, FolderSurvey
    from agentclient.journal.handover import Handover
    from agentclient.journal.history import VmHistory
    from agentclient.model.events import OnEvent
    from agentclient.model.guest_report import GuestReport
    from agentclient.model.job import JobKind, JobOutcome
    from agentclient.model.outcome import ExtendOutcome, ThawOutcome
    from agentclient.model.request import FreezeRequest
    from agentclient.model.rescue import RescueOutcome, Rung, Step
    from agentclient.operations.rescue.ladder import Offer


class OperationPort(Protocol):
    """One freeze or thaw of one VM, or a rung of its rescue, in flight or done."""

    @property
    def vm(self) -> Vm:
        """The VM that it was started on."""

    @property
    def kind(self) -> str:
        """Return ``"freeze"``, ``"thaw"`` or ``"rescue"``."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    @property
    def place(self) -> Place:
        """Which one it is of those that wait for their turn; 0 once it has begun."""

    def cancel(self) -> None:
        """Stop waiting, and thaw as soon as the agent answers."""

    def end_hold(self) -> None:
        """Thaw now: the window has served its purpose."""

    def fail_together(self, why: str) -> None:
        """Its group was not frozen together: it is not certified."""

    def note(self, text: str) -> None:
        """Write a sentence into the VM's log and journal."""

    def extend_hold(self, seconds: float) -> None:
        """Hold the window for so many seconds more."""

    def keep(self) -> None:
        """Leave a window to its holder, which holds it to its end."""

    def give_up(self) -> None:
        """Leave at once, and say loudly what is left."""

    def wait(self, timeout_s: float | None = None) -> Outcome | ThawOutcome | RescueOutcome | None:
        """Return how it ended, None if it still runs."""


class OperationsPort(Protocol):
    """What starts operations; every method returns at once, but for `close`."""

    @property
    def freezes_at_once(self) -> int:
        """How many freezes run at once; further ones wait for their turn."""

    def prepare(self) -> object:
        """Import what the first operation would have to wait for; in any thread."""

    def freeze(
        self, vm: Vm, request: FreezeRequest, on_event: OnEvent | None = None
    ) -> OperationPort:
        """Begin a freeze."""

    def thaw(
        self, vm: Vm, *, foreign: bool = False, on_event: OnEvent | None = None
    ) -> OperationPort:
        """Begin a thaw; of a VM with a freeze in flight it ends that freeze."""

    def attach(self, vm: Vm, on_event: OnEvent | None = None) -> OperationPort:
        """Take over a window that a frostwatch has left to its holder."""

    def extend_elsewhere(self, vm: Vm, longer: float | datetime) -> Future[ExtendOutcome]:
        """Ask another frostwatch to hold its window for longer; returns at once."""

    def rescue(
        self, vm: Vm, step: Step, *, person: bool = True, on_event: OnEvent | None = None
    ) -> OperationPort:
        """Take one rung of the rescue ladder."""

    def ladder(
        self, vm: Vm, *, serial: str | None = None, tried: frozenset[Rung] = frozenset()
    ) -> Future[tuple[Offer, ...]]:
        """Look what rungs make sense; returns at once."""

    def history(self, vm: Vm, limit: int = 50) -> Future[VmHistory | None]:
        """Look what the journal knows of a VM; returns at once."""

    def inspect(self, vm: Vm) -> Future[GuestReport]:
        """Ask the agent about its guest, if nothing speaks against it; returns at once."""

    def active(self) -> Sequence[OperationPort]:
        """Return what is in flight."""

    def on(self, vm_id: VmId) -> OperationPort | None:
        """Return what is in flight on a VM."""

    def cancel_all(self) -> None:
        """Cancel everything that is in flight."""

    def stop(self, timeout_s: float) -> bool:
        """Cancel everything, and wait; return whether nothing is left."""


class JobPort(Protocol):
    """One copy of one VM, in flight or done."""

    @property
    def vm(self) -> Vm:
        """The VM that it was begun on."""

    @property
    def kind(self) -> JobKind:
        """What it does."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    @property
    def place(self) -> Place:
        """Which one it is of those that wait for their turn; 0 once it has begun."""

    def cancel(self) -> None:
        """Stop it; what was begun is undone."""

    def leave(self) -> None:
        """Leave it to QEMU if that can go on alone; else stop it."""

    def set_limit(self, limit: int) -> None:
        """Limit its speed to so many bytes a second; 0 for no limit."""

    def wait(self, timeout_s: float | None = None) -> JobOutcome | None:
        """Return how it ended, None if it still runs."""


class JobsPort(Protocol):
    """What begins copies, and looks at what copies are about."""

    def backup(
        self, vm: Vm, request: BackupRequest, on_event: OnEvent | None = None, *, limit: int = 0
    ) -> JobPort:
        """Begin a backup; returns at once."""

    def mirror(
        self, vm: Vm, request: MirrorRequest, on_event: OnEvent | None = None, *, limit: int = 0
    ) -> JobPort:
        """Begin a mirror; returns at once."""

    def snapshot(
        self, vm: Vm, request: SnapshotRequest, on_event: OnEvent | None = None
    ) -> JobPort:
        """Begin a snapshot; returns at once."""

    def survey(self, vm: Vm, kind: JobKind) -> CopySurvey:
        """Look at a VM's disks, and at what speaks against a copy; blocking."""

    def survey_folder(self, folder: Path) -> FolderSurvey:
        """Look how much room a folder has; blocking."""

    def in_qemu(self, vm: Vm) -> Sequence[LeftCopy]:
        """Return the copies that frostwatches have begun in a VM's QEMU; blocking."""

    def clear(self, vm: Vm, copy: LeftCopy) -> Cleared:
        """End a copy that was left, and delete its incomplete files; blocking."""

    def active(self) -> Sequence[JobPort]:
        """Return the copies that run or wait."""

    def on(self, vm_id: VmId) -> JobPort | None:
        """Return the copy that runs or waits on a VM."""

    def unended(self) -> Sequence[JobPort]:
        """Return the copies that have ended for their callers, and that QEMU goes on with."""

    def cancel_all(self) -> None:
        """Stop all copies."""

    def leave_all(self) -> None:
        """Leave to QEMU what can go on alone, and stop all other copies."""


class WatcherPort(Protocol):
    """What visits the VMs."""

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each source that could not look the last time."""

    def start(self) -> None:
        """Begin to visit, unless it has begun; what could not be begun is tried again."""

    def visit_soon(self, vm_id: VmId) -> None:
        """Visit a VM before its time."""


class RunningWatcherPort(WatcherPort, Protocol):
    """A watcher that the console begins with, and stops in the end."""

    def list_first(self, wait_s: float = 0.0) -> None:
        """Find the VMs, wait so long for them, and do no more until `start`."""

    def stop(self) -> None:
        """Visit no more."""


class HandoverPort(Protocol):
    """What keeps when the operator last left the console."""

    def open(self) -> Handover | None:
        """Note that it is open, and return what has happened since; blocking, for some seconds."""

    def leave(self) -> None:
        """Note that it is left now; waits for a moment at the most."""


class MemoryPort(Protocol):
    """What is done about the memory of the whole process; an app in a test leaves it alone."""

    def limit_heaps(self) -> None:
        """Let all threads that are started from now on share the heaps that there are."""

    def exempt_loaded_objects(self) -> None:
        """Look for garbage from now on, but not among what has been loaded; in any thread."""

    def return_free_memory(self) -> None:
        """Give back what is free to the system."""
