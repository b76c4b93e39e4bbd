"""The files of a copy once they are complete: made durable, read again, and recorded."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.jobs.archive import open_copy, write_manifest
from agentclient.jobs.checksum import Checksum
from agentclient.jobs.context import JobContext
from agentclient.jobs.disk_port import DiskPort
from agentclient.jobs.disks import is_encrypted
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.job import CopyJob
from agentclient.jobs.manifest import FULL, INCREMENTAL, DiskRecord, Manifest, Parent
from agentclient.jobs.patience import patiently
from agentclient.jobs.targets import Target
from agentclient.model.job import DiskProgress, JobProgress, JobStage
from agentclient.model.json_contract import job_times_object, outcome_object
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk

# Of the ten times a second that a checksum tells how far it is.
_TELL_EACH: Final = 10


class FileCopy(NamedTuple):
    """One disk, and the file that takes it.

    Attributes:
        disk: the disk.
        target: the file.
        bitmap: the name of the bitmap that the disk records in from now on; None without one.
    """

    disk: Disk
    target: Target
    bitmap: str | None


class Ids(NamedTuple):
    """Which copy it is, and of which VM.

    Attributes:
        id: its id.
        chain: its chain's id.
        uuid: the VM's UUID; None if it isn't known.
        parent: on which backup it builds; None for a full one.
        compressed: its data are compressed.
    """

    id: str
    chain: str
    uuid: str | None
    parent: Parent | None = None
    compressed: bool = False


def record_copy(job: CopyJob, one: FileCopy, copied: int, *, checksum: bool = True) -> DiskRecord:
    """Make one file durable, take its checksum, and return what the manifest says of it.

    Args:
        job: the job.
        one: the disk and its file.
        copied: bytes that were copied.
        checksum: take it; else the file is not read again.

    Raises:
        JobFailed: the file can't be read again, or its storage hangs.
        JobCancelled: the operator has stopped the job.
    """
    path, control = one.target.path, job.context.control
    opening = partial(open_copy, path, one.target.inode)
    try:
        handle, size = patiently(control, "writing the copy out", opening)
    except OSError as error:
        why = f"{printable(path, 300)} can't be read again: {error.strerror}"
        raise JobFailed(why) from error
    name = one.disk.name
    ticks = count()

    def tick(done: int) -> None:
        control.check()
        _show(job, DiskProgress(name, done, size), listeners=next(ticks) % _TELL_EACH == 0)

    digest = None
    if checksum:
        digest = Checksum(handle).run(tick)
    else:
        os.close(handle)
    return DiskRecord(
        name=name,
        node=one.disk.node,
        source_format=one.disk.format,
        size=one.disk.size,
        file=path.name,
        format=one.target.format,
        bytes=size,
        sha256=digest,
        bitmap=one.bitmap,
        copied=copied,
        in_the_clear=is_encrypted(one.disk),
    )


def manifest_of(
    job: CopyJob, port: DiskPort, kind: str, ids: Ids, disks: tuple[DiskRecord, ...]
) -> Manifest:
    """Return what the manifest of a complete copy says.

    Args:
        job: the job.
        port: reaches the VM's disks.
        kind: the kind of the manifest.
        ids: which copy it is, and of which VM.
        disks: what is recorded of its files.
    """
    window = job.window
    return Manifest(
        id=ids.id,
        chain=ids.chain,
        mode=FULL if ids.parent is None else INCREMENTAL,
        parent=ids.parent,
        vm={"id": str(job.vm.id), "name": job.vm.name, "uuid": ids.uuid},
        host=socket.gethostname(),
        versions=versions(job.context, port),
        consistency=window.consistency,
        why=window.why,
        policy=job.request.policy.value,
        paused=window.paused,
        compressed=ids.compressed,
        times=job_times_object(job.times()),
        window=outcome_object(window.outcome) if window.outcome is not None else None,
        disks=disks,
        kind=kind,
        left_out=job.left_out,
    )


def _show(job: CopyJob, disk: DiskProgress, *, listeners: bool) -> None:
    progress = JobProgress(
        kind=job.kind,
        stage=JobStage.FINISHING,
        text=f"taking the checksum of the copy of {printable(disk.disk, 60)}",
        began_at=job.began_at,
        disks=(disk,),
        frozen_at=job.window.frozen_at,
        thawed_at=job.window.thawed_at,
    )
    job.context.reporter.progress(progress, listeners=listeners)


def save_manifest(context: JobContext, folder: Path, manifest: Manifest) -> None:
    """Write a copy's manifest: from then on it is complete.

    Raises:
        JobFailed: it can't be written, or its storage hangs.
        JobCancelled: the operator has stopped the job.
    """
    try:
        patiently(
            context.control, "writing the manifest", partial(write_manifest, folder, manifest)
        )
    except OSError as error:
        raise JobFailed(f"the manifest can't be written: {error.strerror}") from error


def versions(context: JobContext, port: DiskPort) -> dict[str, str | None]:
    """Return the versions of all that took part; None for what is not known."""
    try:
        own: str | None = metadata.version("frostwatch")
    except ModuleNotFoundError:  # run from its sources, without an installation
        own = None
    qemu = None
    with suppress(JobFailed):  # the copy is complete: a VM that has ended since takes nothing away
        qemu = port.version()
    return {"frostwatch": own, "qemu": qemu, "agent": context.agent_version}
