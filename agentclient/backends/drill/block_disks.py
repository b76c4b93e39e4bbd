"""The disks of a simulated guest, as its monitor tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(slots=True)
class DrillDisk:
    """One disk.

    Attributes:
        device: the drive's id.
        node: the name of the node that the guest's device uses.
        base: the name of its image's own node.
        file: its image's file.
        format: its image's format.
        size: what the guest sees, in bytes.
        behind: the files and formats of the images behind it, the nearest first.
        snapshots: the names of the snapshots inside of its image.
        bitmaps: its bitmaps' names, and whether each is stored in the image.
    """

    device: str
    node: str
    base: str
    file: str
    format: str
    size: int
    behind: list[tuple[str, str]] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    bitmaps: dict[str, bool] = field(default_factory=dict)

    @property
    def qdev(self) -> str:
        """The path of the guest's device, among QEMU's objects."""
        return f"/machine/peripheral/{self.device.removeprefix('drive-')}/virtio-backend"


CD_DRIVE: Final = {
    "device": "drive-ide2",
    "qdev": "ide2",
    "type": "unknown",
    "locked": False,
    "removable": True,
    "tray_open": False,
}


def query_block(disk: DrillDisk) -> dict[str, Any]:
    """Return a disk's entry in the reply to ``query-block``."""
    return {
        "device": disk.device,
        "qdev": disk.qdev,
        "type": "unknown",
        "locked": False,
        "removable": False,
        "io-status": "ok",
        "inserted": _inserted(disk),
    }


def _inserted(disk: DrillDisk) -> dict[str, Any]:
    return {
        "node-name": disk.node,
        "drv": disk.format,
        "file": disk.file,
        "ro": False,
        "backing_file_depth": len(disk.behind),
        "image": _image(disk),
        "dirty-bitmaps": [_bitmap(*one) for one in disk.bitmaps.items()],
        "cache": {"direct": False, "no-flush": False, "writeback": True},
        "detect_zeroes": "off",
    }


def _image(disk: DrillDisk) -> dict[str, Any]:
    """Return a disk's image, with those behind it."""
    image: dict[str, Any] = {
        "filename": disk.file,
        "format": disk.format,
        "virtual-size": disk.size,
        "actual-size": disk.size * 3 // 4,
        "snapshots": [
            {"id": str(number), "name": name, "vm-state-size": 0, "date-sec": 0}
            for number, name in enumerate(disk.snapshots, 1)
        ],
    }
    above = image
    for file, kind in disk.behind:
        above["backing-image"] = {"filename": file, "format": kind, "virtual-size": disk.size}
        above = above["backing-image"]
    return image


def _bitmap(name: str, persistent: bool) -> dict[str, Any]:
    return {
        "name": name,
        "persistent": persistent,
        "recording": True,
        "busy": False,
        "granularity": 65536,
        "count": 0,
    }
