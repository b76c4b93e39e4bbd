"""The vocabulary of the snapshots that a VM's disks have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from agentclient.model.job import Consistency

if TYPE_CHECKING:
    from agentclient.model.vm import VmId


class SnapshotKind(StrEnum):
    """Where a snapshot is."""

    INTERNAL = "internal"  # inside of the disk's image
    EXTERNAL = "external"  # the image as it was; what is written since goes to an overlay


class SnapshotDisk(NamedTuple):
    """One disk's part of a snapshot.

    Attributes:
        disk: the disk's name.
        file: the image that holds the disk as it was.
        overlay: the file that takes what is written since; None for an internal one.
        size: what the overlay takes on its storage, in bytes; None if that isn't known.
    """

    disk: str
    file: str
    overlay: str | None = None
    size: int | None = None


class SnapshotFound(NamedTuple):
    """A snapshot that disks of a VM have.

    Attributes:
        vm: the VM.
        name: its name.
        kind: where it is.
        made: when it was taken; None if that isn't known.
        disks: the disks that have it.
        missing: the names of the disks that the guest writes to and that don't have it.
        memory: it holds the VM's memory as well.
        consistency: what it is worth; None where that isn't known.
        reason: why, as a clause for a person.
        window: how the freeze ended within which it was taken, as in docs/json.md; None if there
            was none, or it isn't known.
        revert: how to go back to it, with the VM off: commands and sentences.
    """

    vm: VmId
    name: str
    kind: SnapshotKind
    made: datetime | None
    disks: tuple[SnapshotDisk, ...]
    missing: tuple[str, ...]
    memory: bool
    consistency: Consistency | None
    reason: str
    window: Mapping[str, Any] | None
    revert: tuple[str, ...]

    @property
    def size(self) -> int | None:
        """What its overlays take, in bytes; None if that isn't known."""
        sizes = [one.size for one in self.disks]
        return None if None in sizes else sum(one for one in sizes if one is not None)
