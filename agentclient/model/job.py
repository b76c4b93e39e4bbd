"""The vocabulary of copies: what a job copies, under which freeze, how far it is, what came of it.

A copy is *consistent* only if it was taken within a certified freeze window. Any other complete
copy is *crash-consistent*: the guest finds its disks as after a power failure.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from agentclient.model.vm import Process, VmId

if TYPE_CHECKING:
    from agentclient.model.command import CommandRun
    from agentclient.model.outcome import Outcome


STALLED_AFTER_S = 10.0
_PIECE = 4 << 20  # QEMU copies no more at once, whatever the limit


class JobKind(StrEnum):
    """What a job does while, or just after, the guest is frozen."""

    COMMAND = "command"  # a command of the operator's
    SNAPSHOT = "snapshot"
    MIRROR = "mirror"
    BACKUP = "backup"
    DELETION = "deletion"  # of a snapshot; nothing is frozen for it


class FreezePolicy(StrEnum):
    """What a job does about the freeze, and where it fails."""

    REQUIRE = "require"  # without a verified freeze nothing is copied
    PREFER = "prefer"  # without one the copy is made all the same, and is crash-consistent
    NEVER = "never"  # nothing is frozen; the copy is crash-consistent
    SUSPEND = "suspend"  # as require; but a VM without an agent is paused instead


class JobStage(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    PREPARING = "preparing"  # checks, and makes its targets
    MIRRORING = "mirroring"  # copies until the targets are equal to the disks
    READY = "ready"  # the targets are equal to the disks, and are kept so
    FREEZING = "freezing"
    STARTING = "starting"  # the guest is frozen: the copy is taken now
    THAWING = "thawing"
    COPYING = "copying"  # the guest is thawed; the data as of the window are copied
    FINISHING = "finishing"  # closes its targets, and writes what it knows of them
    DONE = "done"


class Consistency(StrEnum):
    """What a copy is worth."""

    CONSISTENT = "consistent"
    CRASH_CONSISTENT = "crash-consistent"
    NONE = "none"  # there is no complete copy


class JobResult(StrEnum):
    """How a job ended."""

    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"  # nothing was begun
    LEFT = "left"  # QEMU goes on with it, and nobody follows


class JobRefusal(StrEnum):
    """Why a job was not begun."""

    NO_SPACE = "no-space"
    TARGET_EXISTS = "target-exists"
    TARGET = "target"  # the VM's QEMU can't write there
    NO_DISK = "no-disk"  # what was named is no disk of the VM, or it has none
    RAW_DISK = "raw-disk"  # its format has no snapshots of its own
    READ_ONLY_DISK = "read-only-disk"
    EMPTY_DRIVE = "empty-drive"
    PASSED_THROUGH = "passed-through"
    NAME = "name"  # a snapshot of that name exists, or there is none
    BITMAP = "bitmap"  # there is nothing to build an incremental backup on
    JOB_RUNNING = "job-running"
    LOCKED = "locked"
    MANAGED = "managed"  # its manager's own tools must do it
    TOO_OLD = "too-old"
    NO_MONITOR = "no-monitor"
    NOT_FROZEN = "not-frozen"
    READ_ONLY = "read-only"
    BUSY = "busy"
    NOT_BEGUN = "not-begun"  # this host failed before anything was begun
    CANCELLED = "cancelled"


class WhyLeftOut(StrEnum):
    """Why a copy lacks a disk of the VM that has a medium."""

    REMOVABLE = "removable"  # its medium can be changed, and all disks were asked for
    READ_ONLY = "read-only"  # the guest can't write to it
    NOT_NAMED = "not-named"  # others were named


class LeftOut(NamedTuple):
    """A disk of the VM that a copy lacks.

    Attributes:
        disk: the disk's name, as the operator may give it.
        why: why.
    """

    disk: str
    why: WhyLeftOut


class DiskCopy(NamedTuple):
    """What came of one disk.

    Attributes:
        disk: the disk's name, as the operator may give it.
        target: the file that holds the copy; None if the copy is inside the disk.
        format: the copy's format, such as ``qcow2``.
        size: the disk's size as the guest sees it, in bytes.
        copied: bytes that were copied.
        error: why its copy failed; None if it didn't.
        checksum: the SHA-256 of the file, in hexadecimal digits; None if it was not taken.
        in_the_clear: the disk's own image is encrypted, and the copy is not.
    """

    disk: str
    target: str | None
    format: str
    size: int
    copied: int = 0
    error: str | None = None
    checksum: str | None = None
    in_the_clear: bool = False


class JobTimes(NamedTuple):
    """When what happened, all on the wall clock of this host; None if it did not.

    Attributes:
        asked: the job was asked for.
        frozen: the freeze was acknowledged.
        began: the copy, or the command, began.
        taken: the copy was taken, or the command had ended; what follows needs no freeze.
        thawed: the thaw was acknowledged.
        ended: the job had ended.
    """

    asked: datetime
    frozen: datetime | None = None
    began: datetime | None = None
    taken: datetime | None = None
    thawed: datetime | None = None
    ended: datetime | None = None


class JobOutcome(NamedTuple):
    """How a job on one VM ended.

    Attributes:
        vm: the VM.
        kind: what the job does.
        result: how it ended, in one word.
        consistency: what its copy is worth.
        reason: one sentence for a person: what happened, and what it means.
        policy: what was to be done about the freeze.
        refusal: why it was not begun; only with `JobResult.REFUSED`.
        window: how its freeze ended; None if nothing was frozen.
        paused: the VM was paused instead of frozen.
        disks: what came of each disk.
        left: what is left behind, each as one clause; empty if nothing is.
        next: what a person should do now; None if nothing.
        times: when what happened.
        seconds: how long it took.
        command: the run of a command; None for any other kind.
        left_out: the disks that the copy lacks.
    """

    vm: VmId
    kind: JobKind
    result: JobResult
    consistency: Consistency
    reason: str
    policy: FreezePolicy
    times: JobTimes
    refusal: JobRefusal | None = None
    window: Outcome | None = None
    paused: bool = False
    disks: tuple[DiskCopy, ...] = ()
    left: tuple[str, ...] = ()
    next: str | None = None
    seconds: float = 0.0
    command: CommandRun | None = None
    left_out: tuple[LeftOut, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the copy is complete, and as consistent as its policy demands."""
        if self.result is not JobResult.COMPLETE:
            return False
        if self.policy in (FreezePolicy.PREFER, FreezePolicy.NEVER) or self.paused:
            return True
        return self.consistency is Consistency.CONSISTENT


class DiskProgress(NamedTuple):
    """How far one disk's copy is.

    Attributes:
        disk: the disk's name.
        done: bytes that are copied.
        total: bytes to copy, as far as QEMU knows now.
        ready: the copy is equal to the disk, and is kept so.
    """

    disk: str
    done: int
    total: int
    ready: bool = False


class JobProgress(NamedTuple):
    """A job that runs on a VM; times are seconds of the monotonic clock.

    Attributes:
        kind: what it does.
        stage: where it is.
        text: one clause that says what it is doing, or waits for.
        began_at: when it began.
        disks: how far each disk's copy is; empty before it has begun.
        speed: bytes a second; None if that isn't known yet.
        eta_s: how long the rest will take, in seconds, if it goes on as now; None if not known.
        limit: the most bytes a second that it may copy; 0 without a limit.
        frozen_at: when the freeze was acknowledged; None before.
        thawed_at: when the guest was thawed again; None before.
        cancelled: the operator asked to stop it.
        still_s: for how many seconds nothing has been copied, as far as that is looked at.
        place: its place in the queue, from 1; 0 once it has begun.
    """

    kind: JobKind
    stage: JobStage
    text: str
    began_at: float
    disks: tuple[DiskProgress, ...] = ()
    speed: float | None = None
    eta_s: float | None = None
    limit: int = 0
    frozen_at: float | None = None
    thawed_at: float | None = None
    cancelled: bool = False
    place: int = 0
    still_s: float = 0.0

    @property
    def stalled(self) -> bool:
        """Whether nothing has been copied for long, though something should have been."""
        if self.stage not in (JobStage.COPYING, JobStage.MIRRORING):
            return False
        piece_s = _PIECE / self.limit if self.limit else 0.0
        return self.still_s >= max(STALLED_AFTER_S, piece_s)

    @property
    def done(self) -> int:
        """Bytes that are copied, of all disks."""
        return sum(one.done for one in self.disks)

    @property
    def total(self) -> int:
        """Bytes to copy, of all disks; 0 while that isn't known."""
        return sum(one.total for one in self.disks)


class UnendedCopy(NamedTuple):
    """A copy of this process that has ended for its caller, and that QEMU goes on with.

    Attributes:
        kind: what it was.
        since: since when it should have ended (wall clock).
        problem: why it did not, as a clause.
    """

    kind: JobKind
    since: datetime
    problem: str

    def __str__(self) -> str:
        """Return what goes on, since when and why, as a clause."""
        return f"a {self.kind} can't be ended since {self.since:%H:%M:%S}: {self.problem}"


class QemuJob(NamedTuple):
    """A job that a VM's QEMU runs, whoever has started it.

    Attributes:
        id: its id in QEMU.
        type: what it does, in QEMU's word (``backup``, ``mirror``, ``commit``, …).
        done: how far it is, in bytes for a job that copies.
        total: how far it has to come.
        ended: it has ended, well or not, and QEMU keeps it until it is dismissed.
        error: why it failed; None if it has not.
        kind: what a frostwatch does with it; None if no frostwatch has started it.
        process: the frostwatch that has started it; None if none has.
        token: what the jobs of one copy have in common; empty if no frostwatch has started it.
        left: the frostwatch that has started it has ended, so that nobody follows it.
    """

    id: str
    type: str
    done: int = 0
    total: int = 0
    ended: bool = False
    error: str | None = None
    kind: JobKind | None = None
    process: Process | None = None
    token: str = ""
    left: bool = False

    def __str__(self) -> str:
        """Return what runs, how far it is, and who has started it, as a clause."""
        share = f", {self.done * 100 // self.total} %" if self.total else ""
        state = "failed" if self.error else "ended" if self.ended else f"runs{share}"
        if self.process is None:
            return f"a block job of others: {self.type} ({self.id}) {state}"
        has = ", which has ended" if self.left else ""
        return f"a {self.kind} of frostwatch (pid {self.process.pid}{has}) {state}"
