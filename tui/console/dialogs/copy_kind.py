"""The kinds of copies that can be asked for, each of them one entry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentclient.model.job import FreezePolicy, JobKind
from agentclient.model.vm import Vm


@dataclass(frozen=True, slots=True)
class CopyKind:
    """One kind of copy, as the form offers it.

    Attributes:
        name: what it is called.
        kind: what the job is.
        meaning: what it does, as a clause.
        to_folder: it makes files in a folder.
        is_whole: it copies all that the disks hold, so that the folder needs room for it.
        limited: its speed can be limited.
        named: it has a name.
        by_libvirt: it is made of libvirt's VMs as well.
    """

    name: str
    kind: JobKind
    meaning: str
    to_folder: bool = True
    is_whole: bool = True
    limited: bool = True
    named: bool = False
    by_libvirt: bool = True


BACKUP: Final = CopyKind("backup", JobKind.BACKUP, "all disks as of one moment, to files")
INCREMENTAL: Final = CopyKind(
    "incremental backup",
    JobKind.BACKUP,
    "what was written since the last backup in that folder",
    is_whole=False,
)
MIRROR: Final = CopyKind(
    "mirror",
    JobKind.MIRROR,
    "to files, until they are equal; then completed in a freeze",
    by_libvirt=False,
)
SNAPSHOT: Final = CopyKind(
    "snapshot",
    JobKind.SNAPSHOT,
    "inside of the disks' images (qcow2)",
    to_folder=False,
    limited=False,
    named=True,
    by_libvirt=False,
)
EXTERNAL: Final = CopyKind(
    "external snapshot",
    JobKind.SNAPSHOT,
    "overlays beside the images take what is written from now on",
    to_folder=False,
    limited=False,
    named=True,
)
KINDS: Final = (BACKUP, INCREMENTAL, MIRROR, SNAPSHOT, EXTERNAL)


def offered(vms: Iterable[Vm]) -> tuple[tuple[CopyKind, ...], tuple[FreezePolicy, ...]]:
    """Return the kinds of copies, and the policies, that at least one of some VMs can have."""
    if any(not one.is_libvirts for one in vms):
        return KINDS, tuple(FreezePolicy)
    kinds = tuple(one for one in KINDS if one.by_libvirt)
    return kinds, tuple(one for one in FreezePolicy if one is not FreezePolicy.SUSPEND)


@dataclass(frozen=True, slots=True)
class CopyAnswer:
    """What is to be copied, and how.

    Attributes:
        kind: the kind of copy.
        policy: what is done about the freeze.
        disks: the names of the disks; empty for all that the guest can write to.
        folder: where files go; None where none are made.
        limit: the most bytes a second; 0 without a limit.
        name: its name; empty where it has none.
    """

    kind: CopyKind
    policy: FreezePolicy
    disks: tuple[str, ...] = ()
    folder: Path | None = None
    limit: int = 0
    name: str = ""
