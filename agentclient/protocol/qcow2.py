"""The head of a qcow2 image (QEMU's docs/interop/qcow2.txt), as far as it leads elsewhere. Pure."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

# All of it lies in the first cluster, and clusters have 2 MiB at the most.
MOST_BYTES: Final = 2 << 20
_HEAD: Final = struct.Struct(">4sIQIIQ")
_FEATURES_AT: Final = 72
_EXTERNAL_DATA: Final = 1 << 2
_LONGEST_NAME: Final = 1023


# Up to where its table of clusters is, and how many snapshots are inside.
L1: Final = struct.Struct(">4sI28xIQ12xI")
_MOST_ENTRIES: Final = 4 << 20


class Table(NamedTuple):
    """Where an image says which clusters it has itself: the first level.

    Attributes:
        offset: where in the file it begins.
        entries: how many entries of 8 bytes it has; one that is 0 stands for no cluster.
    """

    offset: int
    entries: int


class Qcow2Head(NamedTuple):
    """What the head of an image says.

    Attributes:
        size: what a guest sees, in bytes.
        backing: the name of the file behind it, as it is written there; None without one.
        external_data: its data are in another file.
    """

    size: int
    backing: str | None
    external_data: bool


def parse_head(content: bytes) -> Qcow2Head | None:
    """Read the first bytes of an image; None if it is no qcow2, or its head is damaged."""
    if len(content) < _HEAD.size:
        return None
    magic, version, offset, length, _, size = _HEAD.unpack_from(content)
    if magic != b"QFI\xfb" or version not in (2, 3):
        return None
    backing = None
    if offset:
        name = content[offset : offset + length]
        if not 0 < length <= _LONGEST_NAME or len(name) != length:
            return None
        backing = name.decode("utf-8", "surrogateescape")
    features = 0
    if version == 3:
        if len(content) < _FEATURES_AT + 8:
            return None
        (features,) = struct.unpack_from(">Q", content, _FEATURES_AT)
    return Qcow2Head(size, backing, bool(features & _EXTERNAL_DATA))


def parse_l1(content: bytes) -> Table | None:
    """Read the first bytes of an image; None if it is no qcow2, or has snapshots inside."""
    if len(content) < L1.size:
        return None
    magic, version, entries, offset, snapshots = L1.unpack_from(content)
    if magic != b"QFI\xfb" or version not in (2, 3) or snapshots or entries > _MOST_ENTRIES:
        return None
    return Table(offset, entries)
