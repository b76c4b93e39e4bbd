"""What an agent tells of its guest when it is asked: its system, file systems and commands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple


class GuestDisk(NamedTuple):
    """A disk that a file system is on, as the guest sees it; None for what it does not tell.

    Attributes:
        bus: ``virtio``, ``scsi``, ``ide``, …
        device: its name in the guest.
        serial: its serial number.
        address: where it is plugged in, in words.
    """

    bus: str | None
    device: str | None = None
    serial: str | None = None
    address: str | None = None


class MountedFileSystem(NamedTuple):
    """A mounted file system, with how full it is.

    Attributes:
        device: what the agent counts file systems by (``vda1``).
        mountpoint: where it is mounted.
        kind: ``ext4``, ``vfat``, ``NTFS``, …
        used: bytes in use; None if the agent does not tell (before 3.0).
        total: its size in bytes, without what is kept for root; None as above.
        disks: the disks that it is on.
    """

    device: str
    mountpoint: str
    kind: str
    used: int | None = None
    total: int | None = None
    disks: tuple[GuestDisk, ...] = ()


class GuestReport(NamedTuple):
    """What an agent has told.

    Attributes:
        at: when it was asked (wall clock).
        problem: why it was not asked, or has not answered, as a clause; None if it has told.
        version: the agent's version.
        enabled: the commands that it takes.
        known: all commands that it has.
        system: what ``guest-get-osinfo`` tells; empty if it can't.
        file_systems: the mounted file systems, in the agent's order.
        not_told: why a part of it is missing, as a clause, by the command.
    """

    at: datetime
    problem: str | None = None
    version: str | None = None
    enabled: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    system: Mapping[str, str] = MappingProxyType({})
    file_systems: tuple[MountedFileSystem, ...] = ()
    not_told: Mapping[str, str] = MappingProxyType({})
