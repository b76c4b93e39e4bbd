"""Which of a guest's file systems a freeze must cover, and which it can't. Pure.

The agent counts file systems by device, skips silently what can't freeze (protocol §3.14) and
ignores unknown mount points silently (§3.10); so what it should freeze is worked out here, from
``guest-get-fsinfo`` asked just before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agentclient.vm import FileSystem

# Kinds without the kernel's freeze operation: FIFREEZE answers EOPNOTSUPP. A kind that is named
# here by mistake would weaken the proof, one that is missing only makes it stricter.
CANNOT_FREEZE = frozenset(
    {
        "vfat", "msdos", "exfat", "fat", "fat12", "fat16", "fat32",
        "iso9660", "udf", "cdfs", "squashfs", "erofs", "cramfs", "romfs",
        "ntfs3", "fuseblk", "fuse", "minix", "hfs", "hfsplus", "ufs", "affs", "qnx4", "sysv",
        "tmpfs", "ramfs", "devtmpfs", "overlay", "nfs", "nfs4", "cifs", "smbfs", "smb3", "9p",
    }
)  # fmt: skip
_DRIVE = re.compile(r"[A-Za-z]:\\")


class Coverage(NamedTuple):
    """What a freeze should cover.

    Attributes:
        file_systems: all that the guest reports.
        mounts: the mount points that were asked for; empty for everything.
    """

    file_systems: tuple[FileSystem, ...]
    mounts: tuple[str, ...] = ()

    @property
    def wanted(self) -> tuple[FileSystem, ...]:
        """The file systems that were asked for."""
        if not self.mounts:
            return self.file_systems
        return tuple(one for one in self.file_systems if one.mountpoint in self.mounts)

    @property
    def unknown_mounts(self) -> tuple[str, ...]:
        """Mount points that were asked for and that the guest does not have."""
        known = {one.mountpoint for one in self.file_systems}
        return tuple(path for path in self.mounts if path not in known)

    @property
    def expected(self) -> int:
        """How many the agent must count for the freeze to be whole."""
        return len(_devices(one for one in self.wanted if _can_freeze(one)))

    @property
    def total(self) -> int:
        """How many distinct devices were asked for, those that can't freeze included."""
        return len(_devices(self.wanted))

    @property
    def not_covered(self) -> tuple[FileSystem, ...]:
        """The file systems that were asked for and are of kinds that can't freeze."""
        return tuple(one for one in self.wanted if not _can_freeze(one))

    @property
    def windows(self) -> bool:
        """Whether it is a Windows guest: its mount points begin with a drive's letter."""
        return any(_DRIVE.match(one.mountpoint) for one in self.file_systems)

    @property
    def text(self) -> str:
        """Coverage *n of m*."""
        return f"{self.expected} of {self.total}"


def count(number: int | None) -> str:
    """Return a number of file systems as a person reads it: ``1 file system``."""
    return f"{number} file system" + ("" if number == 1 else "s")


def describe(file_systems: Sequence[FileSystem], most: int = 6) -> str:
    """Return file systems as a person reads them: ``/boot/efi (vfat on vda1)``."""
    shown = [f"{one.mountpoint} ({one.kind} on {one.device})" for one in file_systems[:most]]
    rest = len(file_systems) - most
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def _can_freeze(one: FileSystem) -> bool:
    return one.kind.lower() not in CANNOT_FREEZE


def _devices(file_systems: Iterable[FileSystem]) -> set[str]:
    return {one.device for one in file_systems}
