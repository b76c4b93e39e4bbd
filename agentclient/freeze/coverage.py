"""Which of a guest's file systems a freeze must cover, and which it can't. Pure.

The agent counts file systems by device, skips silently what can't freeze (protocol §3.14) and
ignores unknown mount points silently (§3.10); so what it should freeze is worked out here, from
``guest-get-fsinfo`` asked just before. That list begins with the mount that was made last, on Linux
and on FreeBSD. A path leads to what was mounted there last: the agent, which opens paths, can't
reach a file system that is mounted over.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentclient.model.outcome import FileSystem


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
# Kinds that nobody can write to: what they hold is the same in any copy.
READ_ONLY = frozenset({"iso9660", "cdfs", "cd9660", "squashfs", "erofs", "cramfs", "romfs"})
# FreeBSD's agent suspends ufs and nothing else (qga/commands-bsd.c); these hold nothing on a disk.
_FREEBSD_CAN_FREEZE = frozenset({"ufs"})
_FREEBSD_WITHOUT_DISK = frozenset(
    {"devfs", "fdescfs", "procfs", "linprocfs", "linsysfs", "tmpfs", "nullfs", "unionfs", "autofs"}
)
# Kinds by which a guest may be a FreeBSD one: only then is it asked.
FREEBSD_HINTS = frozenset({"ufs", "zfs", "devfs", "fdescfs"})
_DRIVE = re.compile(r"[A-Za-z]:\\")


class System(StrEnum):
    """Whose kernel it is, as far as it decides which kinds can freeze."""

    FREEBSD = "freebsd"
    OTHER = "other"


@dataclass(frozen=True)
class Coverage:
    """What a freeze should cover.

    Attributes:
        file_systems: all that the guest reports, the last mounted first.
        mounts: the mount points that were asked for; empty for everything.
        system: whose kernel it is; None where only what is mounted tells that.
        disks: the guest's disks that hold none of these file systems (a raw one, a pool's, swap);
            None where that can't be told.
        problem: why the guest's list can't be relied on; None if it can.
    """

    file_systems: tuple[FileSystem, ...]
    mounts: tuple[str, ...] = ()
    system: System | None = None
    disks: tuple[str, ...] | None = None
    problem: str | None = None

    @cached_property
    def wanted(self) -> tuple[FileSystem, ...]:
        """The file systems that were asked for."""
        if not self.mounts:
            return self.file_systems
        return tuple(one for one in self.file_systems if one.mountpoint in self.mounts)

    @cached_property
    def unknown_mounts(self) -> tuple[str, ...]:
        """Mount points that were asked for and that the guest does not have."""
        known = {one.mountpoint for one in self.file_systems}
        return tuple(path for path in self.mounts if path not in known)

    @property
    def expected(self) -> int:
        """How many the agent must count for the freeze to be whole."""
        return len(self._expected)

    @property
    def total(self) -> int:
        """How many distinct devices that can be written to were asked for."""
        return len(_devices(one for one in self.wanted if self._matters(one)))

    @cached_property
    def covered(self) -> tuple[FileSystem, ...]:
        """What was asked for and is to freeze, each of its mounts."""
        return tuple(one for one in self.wanted if one.device in self._expected)

    @cached_property
    def not_covered(self) -> tuple[FileSystem, ...]:
        """What was asked for and won't freeze, one of each device, by its shortest path."""
        missing: dict[str, FileSystem] = {}
        for one in self.wanted:
            if self._matters(one) and one.device not in self._expected:
                known = missing.get(one.device)
                if known is None or len(one.mountpoint) < len(known.mountpoint):
                    missing[one.device] = one
        return tuple(missing.values())

    @cached_property
    def covered_by_others(self) -> tuple[FileSystem, ...]:
        """Those of `not_covered` that could freeze, if nothing were mounted over them."""
        return tuple(one for one in self.not_covered if self._can_freeze(one))

    @cached_property
    def along(self) -> tuple[FileSystem, ...]:
        """The mounts that freeze as well, since they are on the devices that were asked for."""
        return tuple(
            one
            for one in self.file_systems
            if one.device in self._expected and one.mountpoint not in self.mounts
        )

    @property
    def windows(self) -> bool:
        """Whether it is a Windows guest: its mount points begin with a drive's letter."""
        return any(_DRIVE.match(one.mountpoint) for one in self.file_systems)

    @property
    def text(self) -> str:
        """Coverage *n of m*, and how far that holds."""
        counted = f"{self.expected} of {self.total}"
        if not self.bare_disks:
            return counted
        are = "is" if len(self.bare_disks) == 1 else "are"
        return (
            f"{counted} that the agent knows; {_listed(self.bare_disks)} {are} not covered by any"
        )

    @property
    def gaps(self) -> str | None:
        """Which of the file systems that were asked for stay writable, and why; None if none."""
        kinds = [one for one in self.not_covered if not self._can_freeze(one)]
        parts = [f"can't freeze: {describe(kinds)}"] if kinds else []
        if self.covered_by_others:
            parts.append(
                f"out of the agent's reach, each time, since another file system is mounted over "
                f"it: {describe(self.covered_by_others)}"
            )
        return "; ".join(parts) or None

    @property
    def bare_disks(self) -> tuple[str, ...]:
        """The disks that a freeze of everything leaves out, as no file system is known on them."""
        return () if self.mounts else self.disks or ()

    @property
    def full(self) -> bool:
        """Whether nothing that was asked for stays writable, as far as it is known."""
        return self.gaps is None and not self.bare_disks

    @cached_property
    def _expected(self) -> frozenset[str]:
        reached = self._reached
        return frozenset(
            one.device
            for one in self.wanted
            if one in reached and self._can_freeze(one) and self._matters(one)
        )

    @cached_property
    def _reached(self) -> frozenset[FileSystem]:
        """The mounts that their paths lead to."""
        head: dict[str, FileSystem] = {}
        reached = []
        for one in _last_first(self.file_systems):
            if head.setdefault(one.mountpoint, one).device != one.device:
                continue  # another one was mounted there later
            if any(path in head for path in _above(one.mountpoint)):
                continue  # a directory on its way was mounted over later
            reached.append(one)
        return frozenset(reached)

    @cached_property
    def _freebsd(self) -> bool:
        return (self.system or system_by(self.file_systems)) is System.FREEBSD

    def _can_freeze(self, one: FileSystem) -> bool:
        kind = one.kind.lower()
        if self._freebsd:
            return kind in _FREEBSD_CAN_FREEZE
        return kind not in CANNOT_FREEZE

    def _matters(self, one: FileSystem) -> bool:
        """Whether anything could be written to a disk through it."""
        kind = one.kind.lower()
        if kind in READ_ONLY:
            return False
        return not self._freebsd or kind not in _FREEBSD_WITHOUT_DISK


def system_of(osinfo: object) -> System:
    """Read whose kernel it is from the answer of ``guest-get-osinfo``."""
    words = osinfo if isinstance(osinfo, dict) else {}
    kernel = str(words.get("kernel-version", ""))
    name = f"{words.get('id', '')} {words.get('name', '')}".lower()
    known = ("freebsd", "opnsense", "pfsense")
    if kernel.startswith("FreeBSD") or any(word in name for word in known):
        return System.FREEBSD
    return System.OTHER


def system_by(file_systems: Iterable[FileSystem]) -> System:
    """Guess whose kernel it is from what is mounted, where the guest does not say it."""
    kinds = {one.kind.lower() for one in file_systems}
    return System.FREEBSD if kinds & {"devfs", "fdescfs"} else System.OTHER


def count(number: int | None) -> str:
    """Return a number of file systems as a person reads it: ``1 file system``."""
    return f"{number} file system" + ("" if number == 1 else "s")


def describe(file_systems: Sequence[FileSystem], most: int = 6) -> str:
    """Return file systems as a person reads them, by device: ``vda1 (vfat at /boot/efi)``.

    Args:
        file_systems: any of a guest's; one device may have many paths.
        most: devices that are named; the others are counted.
    """
    paths: dict[str, list[FileSystem]] = {}
    for one in file_systems:
        paths.setdefault(one.device, []).append(one)
    shown = [_device(device, each) for device, each in list(paths.items())[:most]]
    rest = len(paths) - most
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def _device(device: str, mounts: Sequence[FileSystem]) -> str:
    """Return a device with its kind and its paths, the shortest of them first."""
    kind = mounts[0].kind
    paths = sorted({one.mountpoint for one in mounts}, key=lambda path: (len(path), path))
    more = f" and {len(paths) - 2} more paths" if len(paths) > 3 else ""
    named = paths[:2] if more else paths
    return f"{device} ({kind} at {', '.join(named)}{more})"


def _last_first(listed: tuple[FileSystem, ...]) -> Sequence[FileSystem]:
    """Return mounts with the last one first; a list that begins at the root is the other way."""
    turned = len(listed) > 1 and listed[0].mountpoint == "/" != listed[-1].mountpoint
    return listed[::-1] if turned else listed


def _above(path: str) -> Iterable[str]:
    """Return the directories on the way to `path`; the root, which everything is below, isn't."""
    if not path.startswith("/"):
        return
    while (path := posixpath.dirname(path)) != "/":
        yield path


def _listed(names: Sequence[str], most: int = 4) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _devices(file_systems: Iterable[FileSystem]) -> set[str]:
    return {one.device for one in file_systems}
