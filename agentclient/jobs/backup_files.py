"""The files of a backup once they are copied: made durable, read again, and recorded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.jobs.archive import open_copy, write_manifest
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.checksum import Checksum
from agentclient.jobs.context import JobContext
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.manifest import DiskRecord, Manifest
from agentclient.jobs.patience import patiently
from agentclient.jobs.targets import Target
from agentclient.model.job import DiskProgress
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


def record_copy(
    context: JobContext,
    show: Callable[[DiskProgress, bool], None],
    one: FileCopy,
    copied: int,
) -> DiskRecord:
    """Make one file durable, take its checksum, and return what the manifest says of it.

    Args:
        context: the job's collaborators.
        show: is called with how far the checksum is, and whether listeners are told as well.
        one: the disk and its file.
        copied: bytes that were copied.

    Raises:
        JobFailed: the file can't be read again, or its storage hangs.
        JobCancelled: the operator has stopped the job.
    """
    path = one.target.path
    opening = partial(open_copy, path, one.target.inode)
    try:
        handle, size = patiently(context.control, "writing the copy out", opening)
    except OSError as error:
        why = f"{printable(path, 300)} can't be read again: {error.strerror}"
        raise JobFailed(why) from error
    name = one.disk.name
    ticks = count()

    def tick(done: int) -> None:
        context.control.check()
        show(DiskProgress(name, done, size), next(ticks) % _TELL_EACH == 0)

    digest = Checksum(handle).run(tick)
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
    )


def save_manifest(context: JobContext, folder: Path, manifest: Manifest) -> None:
    """Write a backup's manifest: from then on it is complete.

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


def versions(context: JobContext, block: BlockLayer) -> dict[str, str | None]:
    """Return the versions of all that took part; None for what is not known.

    Raises:
        JobFailed: the monitor does not answer.
    """
    try:
        own: str | None = metadata.version("frostwatch")
    except ModuleNotFoundError:  # run from its sources, without an installation
        own = None
    return {"frostwatch": own, "qemu": block.version(), "agent": context.agent_version}
