"""Fleets with copies in each of their states, at a clock that stands still."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from agentclient.fleet.store import Fleet
from agentclient.jobs.survey import CopySurvey, SurveyedDisk
from agentclient.model.job import (
    Consistency,
    DiskCopy,
    DiskProgress,
    FreezePolicy,
    JobKind,
    JobOutcome,
    JobProgress,
    JobRefusal,
    JobResult,
    JobStage,
    JobTimes,
    QemuJob,
    UnendedCopy,
)
from agentclient.model.vm import Process, VmId
from agentclient.protocol.qmp_block import Disk, Image
from tests.console.fakes import StillClock
from tests.console.fleets import put, verified

MIB = 1 << 20
FOLDER = Path("/srv/backups/db-1/20250909T115920Z")
LEFT = QemuJob(
    "frostwatch.backup.812.9.cafe0000.0",
    "backup",
    300 * MIB,
    640 * MIB,
    kind=JobKind.BACKUP,
    process=Process(812, 9),
    token="cafe0000",
    left=True,
)
OTHERS = QemuJob("drive-scsi0", "backup", 30 * MIB, 640 * MIB)


def disk(name: str, size: int, kind: str = "qcow2", **more: Any) -> Disk:
    given: dict[str, Any] = {
        "device": name,
        "node": f"#{name}",
        "qdev": "",
        "format": kind,
        "file": f"/images/{name}",
        "size": size,
        "allocated": size // 2,
        "read_only": False,
        "removable": False,
        "empty": False,
        "depth": 0,
    }
    return Disk(name, **{**given, **more})


SYSTEM, DATA = disk("drive-scsi0", 384 * MIB), disk("drive-scsi1", 640 * MIB)
READ_ONLY = disk("drive-scsi2", 10 * MIB, read_only=True)
SURVEY = CopySurvey((SurveyedDisk(SYSTEM, None), SurveyedDisk(DATA, None)))
WITH_READ_ONLY = CopySurvey((*SURVEY.disks, SurveyedDisk(READ_ONLY, "it is read-only")))

CARD = disk("sd0", 30 * MIB, "raw", removable=True)
VAULT = disk("vault", 20 * MIB, "luks", chain=(Image("/images/vault", "luks", None, (), True),))
WITH_CARD_AND_LUKS = CopySurvey((SurveyedDisk(CARD, None), SurveyedDisk(VAULT, None)))


def progress(clock: StillClock, **changes: Any) -> JobProgress:
    """Return a backup that is at 43 %, and was frozen for 39 ms."""
    found = JobProgress(
        JobKind.BACKUP,
        JobStage.COPYING,
        "copying what the disks held when it was taken",
        clock.mono - 40.0,
        (
            DiskProgress("drive-scsi0", 220 * MIB, 384 * MIB),
            DiskProgress("drive-scsi1", 220 * MIB, 640 * MIB),
        ),
        12.0 * MIB,
        48.7,
        0,
        clock.mono - 37.039,
        clock.mono - 37.0,
    )
    return found._replace(**changes)


def outcome(clock: StillClock, **changes: Any) -> JobOutcome:
    """Return a backup that is complete and consistent."""
    now = clock.wall()

    def ago(seconds: float) -> Any:
        return now - timedelta(seconds=seconds)

    found = JobOutcome(
        VmId("qemu", "db-1"),
        JobKind.BACKUP,
        JobResult.COMPLETE,
        Consistency.CONSISTENT,
        "backup: complete, and certified consistent: it was taken within a certified freeze window",
        FreezePolicy.REQUIRE,
        JobTimes(ago(47), ago(44.039), ago(44.035), ago(44.01), ago(44), ago(4)),
        window=verified(),
        disks=(
            DiskCopy("drive-scsi0", str(FOLDER / "a.qcow2"), "qcow2", 384 * MIB, 384 * MIB),
            DiskCopy("drive-scsi1", str(FOLDER / "b.qcow2"), "qcow2", 640 * MIB, 640 * MIB),
        ),
        seconds=43.0,
    )
    return found._replace(**changes)


def crash_consistent(clock: StillClock) -> JobOutcome:
    return outcome(
        clock,
        consistency=Consistency.CRASH_CONSISTENT,
        policy=FreezePolicy.PREFER,
        window=None,
        times=JobTimes(clock.wall() - timedelta(seconds=47), ended=clock.wall()),
        reason="backup: complete, and crash-consistent only: "
        "the guest was not frozen: refused: no-agent: no agent runs",
    )


def failed(clock: StillClock) -> JobOutcome:
    return outcome(
        clock,
        result=JobResult.FAILED,
        consistency=Consistency.NONE,
        reason="backup: failed: the copy of drive-scsi1 failed: No space left on device",
        next="make room, or name another folder",
    )


def refused(clock: StillClock) -> JobOutcome:
    return outcome(
        clock,
        result=JobResult.REFUSED,
        consistency=Consistency.NONE,
        refusal=JobRefusal.JOB_RUNNING,
        reason="backup: refused: a block job runs on the VM: backup drive-scsi0",
        window=None,
        disks=(),
        times=JobTimes(clock.wall()),
    )


def ended(fleet: Fleet, vm_id: VmId, found: JobOutcome) -> None:
    """Have a copy end as its reporter shows it."""
    put(fleet, vm_id, job=None, last_job=found, job_is_newest=True, last=found.window)


def unended(clock: StillClock) -> UnendedCopy:
    """Return a mirror that QEMU could not end."""
    return UnendedCopy(JobKind.MIRROR, clock.wall(), "QEMU did not end it")
