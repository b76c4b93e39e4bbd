"""A domain's disks, as its live XML and libvirt's statistics tell them. Pure.

A disk is called by its target (``vda``), as in all of virsh's commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

from agentclient.protocol.qmp_block import Bitmap, Disk, Image

_MOST_BYTES: Final = 4 << 20
_DEEPEST: Final = 200  # libvirt itself refuses longer chains
# A device of the guest's that hands its commands to the host's disk, past QEMU's block layer.
PASSED_THROUGH: Final = "lun"


class Checkpoint(NamedTuple):
    """What libvirt knows of a record of what is written.

    Attributes:
        name: its name.
        written: bytes that were written since, of each disk that records, by the disk's target;
            None where that isn't told.
    """

    name: str
    written: Mapping[str, int | None]


def parsed(xml: str) -> ET.Element:
    """Return the root of what libvirt has written.

    Raises:
        ValueError: it can't be read.
    """
    if len(xml) > _MOST_BYTES:
        raise ValueError(f"its XML has {len(xml)} bytes")
    try:
        return ET.fromstring(xml)  # noqa: S314 - libvirt's own, which can't hold entities
    except ET.ParseError as error:
        raise ValueError(f"its XML can't be read: {error}") from error


def disks_in(
    root: ET.Element, figures: Mapping[str, object], checkpoints: Iterable[Checkpoint] = ()
) -> tuple[Disk, ...]:
    """Return a domain's disks.

    Args:
        root: its live XML.
        figures: its statistics of disks, also of the images behind, as libvirt calls them.
        checkpoints: the records of what is written to them.
    """
    known = _Figures(figures)
    records = tuple(checkpoints)
    return tuple(
        _disk(element, known, records)
        for element in root.iterfind("devices/disk")
        if target_of(element)
    )


def target_of(element: ET.Element) -> str:
    """Return what libvirt calls a disk; empty if it has no name."""
    target = element.find("target")
    return "" if target is None else target.get("dev", "")


def passed_through(root: ET.Element) -> frozenset[str]:
    """Return the targets of the disks that are passed through."""
    disks = root.iterfind("devices/disk")
    return frozenset(target_of(one) for one in disks if one.get("device") == PASSED_THROUGH)


def file_of(element: ET.Element) -> str:
    """Return where a disk's, or an image's, source is; empty if it has none."""
    source = element.find("source")
    if source is None:
        return ""
    for name in ("file", "dev", "dir"):
        if (found := source.get(name)) is not None:
            return found
    kind = source.get("protocol") or element.get("type") or ""
    return f"{kind}:{source.get('name') or source.get('volume') or ''}"


class _Figures:
    """Libvirt's statistics of all images."""

    def __init__(self, figures: Mapping[str, object]) -> None:
        self._sizes: dict[str, int] = {}
        self._allocated: dict[tuple[str, str], int] = {}
        count = figures.get("block.count")
        for number in range(count if isinstance(count, int) else 0):
            name = figures.get(f"block.{number}.name")
            path = figures.get(f"block.{number}.path")
            capacity = figures.get(f"block.{number}.capacity")
            allocation = figures.get(f"block.{number}.allocation")
            if isinstance(name, str) and isinstance(capacity, int):
                self._sizes.setdefault(name, capacity)  # the image that is written to comes first
            if isinstance(name, str) and isinstance(path, str) and isinstance(allocation, int):
                self._allocated.setdefault((name, path), allocation)

    def size(self, target: str) -> int:
        return self._sizes.get(target, 0)

    def allocated(self, target: str, file: str) -> int | None:
        return self._allocated.get((target, file))


def _disk(element: ET.Element, known: _Figures, records: Iterable[Checkpoint]) -> Disk:
    target = target_of(element)
    alias, driver = element.find("alias"), element.find("driver")
    chain = tuple(_chain(element, target, known))
    kind = element.get("device", "disk")
    cache = "" if driver is None else driver.get("cache", "")
    return Disk(
        name=target,
        device="",
        node=target,
        qdev="" if alias is None else f"/machine/peripheral/{alias.get('name', '')}",
        format=chain[0].format if chain else "",
        file=chain[0].file if chain else "",
        size=known.size(target),
        allocated=chain[0].allocated if chain else None,
        read_only=element.find("readonly") is not None,
        removable=kind in ("cdrom", "floppy"),
        empty=not chain,
        depth=max(0, len(chain) - 1),
        bitmaps=tuple(
            _bitmap(one.name, known.size(target) if written is None else written)
            for one in records
            if target in one.written
            for written in (one.written[target],)
        ),
        chain=chain,
        direct=cache in ("none", "directsync"),
        no_flush=cache == "unsafe",
    )


def _bitmap(name: str, dirty: int) -> Bitmap:
    return Bitmap(name, persistent=True, usable=True, granularity=0, dirty=dirty)


def _chain(element: ET.Element, target: str, known: _Figures) -> Iterator[Image]:
    driver = element.find("driver")
    kind = "raw" if driver is None else driver.get("type", "raw")
    for _ in range(_DEEPEST):
        file = file_of(element)
        if not file:
            return
        encrypted = any(True for _ in element.iterfind("encryption"))
        encrypted = encrypted or element.find("source/encryption") is not None
        yield Image(file, kind, known.allocated(target, file), encrypted=encrypted)
        below = element.find("backingStore")
        if below is None:
            return
        element, found = below, below.find("format")
        kind = "raw" if found is None else found.get("type", "raw")


def checkpoint_of(root: ET.Element) -> Checkpoint:
    """Return what a checkpoint's XML, with sizes, tells."""
    written: dict[str, int | None] = {}
    for disk in root.iterfind("disks/disk"):
        if disk.get("checkpoint") == "bitmap":
            size = disk.get("size") or ""
            written[disk.get("name", "")] = int(size) if size.isdecimal() else None
    return Checkpoint(root.findtext("name") or "", written)
