"""What an operator is shown before a copy: the disks, why it would be refused, where it may go."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from agentclient.jobs.claim import check_no_job
from agentclient.jobs.context import JobContext
from agentclient.jobs.disks import check_disk, is_encrypted
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.managed import check_manager
from agentclient.model.job import JobKind
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk


class SurveyedDisk(NamedTuple):
    """One disk of a VM.

    Attributes:
        disk: what QEMU says of it.
        why_not: why it can't be copied, as a clause; None if it can.
    """

    disk: Disk
    why_not: str | None

    @property
    def is_offered(self) -> bool:
        """Whether it is one of all disks that are copied."""
        return self.why_not is None and self.disk.is_written

    @property
    def is_encrypted(self) -> bool:
        """Whether its own image is encrypted, so that a copy in a file is in the clear."""
        return is_encrypted(self.disk)


class CopySurvey(NamedTuple):
    """What speaks for and against copies of one VM's disks now.

    Attributes:
        disks: its disks with a medium, in QEMU's order.
        why_not: why any copy would be refused, as a clause; None if nothing is known.
        next: what a person can do about that; None if nothing.
    """

    disks: tuple[SurveyedDisk, ...] = ()
    why_not: str | None = None
    next: str | None = None


class FolderSurvey(NamedTuple):
    """What is known of a folder.

    Attributes:
        free: bytes that are free in it; None if it is no folder that can be seen.
        why_not: why nothing can be written to it, as a clause; None if something can.
    """

    free: int | None = None
    why_not: str | None = None


def survey_copies(context: JobContext, kind: JobKind) -> CopySurvey:
    """Look at a VM's disks, and at what would keep them from being copied; blocking.

    Args:
        context: the VM's, of no job.
        kind: what kind of copy it is to be.
    """
    disks: tuple[SurveyedDisk, ...] = ()
    try:
        if context.read_only is not None:
            return CopySurvey(why_not=context.read_only)
        check_manager(context.vm, kind)
        port = context.port()
        found = port.disks()
        disks = tuple(SurveyedDisk(one, _why_not(one)) for one in found if not one.empty)
        check_no_job(port, context.vm)
    except JobRefused as error:
        return CopySurvey(disks, error.reason, error.next_step)
    except JobFailed as error:
        return CopySurvey(disks, error.reason)
    return CopySurvey(disks)


def survey_folder(folder: Path) -> FolderSurvey:
    """Look at a folder; blocking, and for as long as its storage hangs."""
    try:
        if not folder.is_dir():
            return FolderSurvey(why_not="there is no such folder")
        free = shutil.disk_usage(folder).free
        if not os.access(folder, os.W_OK | os.X_OK):
            return FolderSurvey(free, "it can't be written to")
    except (OSError, ValueError) as error:
        return FolderSurvey(why_not=f"it can't be seen: {printable(str(error), 120)}")
    return FolderSurvey(free)


def _why_not(disk: Disk) -> str | None:
    try:
        check_disk(disk)
    except JobRefused as error:
        return error.reason
    return None
