"""An archive of the kind that the kernel takes as its first root file system ("newc")."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One file of the archive.

    Attributes:
        mode: type and permission bits, as in `st_mode`.
        data: contents; a link's target.
        device: major and minor number of a device node.
    """

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def file(data: bytes, permissions: int = 0o755) -> Entry:
    """A regular file."""
    return Entry(stat.S_IFREG | permissions, data)


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


def character_device(major: int, minor: int) -> Entry:
    """A device node; written into the archive, so that making one needs no root here."""
    return Entry(stat.S_IFCHR | 0o600, b"", (major, minor))


def archive(entries: Mapping[str, Entry]) -> bytes:
    """Pack files by path (without a leading slash); the folders they need are added."""
    whole: dict[str, Entry] = {}
    for path, entry in entries.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            whole.setdefault("/".join(parts[:depth]), Entry(stat.S_IFDIR | 0o755))
        whole[path] = entry
    packed = [_packed(n, path, entry) for n, (path, entry) in enumerate(whole.items(), 1)]
    packed.append(_packed(0, "TRAILER!!!", Entry(0)))
    return b"".join(packed)


def _packed(number: int, path: str, entry: Entry) -> bytes:
    """One header, name and contents, each padded to four bytes."""
    name = path.encode() + b"\0"
    fields = (
        number,
        entry.mode,
        0,  # owner: root
        0,
        1,  # links
        0,  # time: always the same, so that the archive is
        len(entry.data),
        0,
        0,
        *entry.device,
        len(name),
        0,
    )
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(header) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
