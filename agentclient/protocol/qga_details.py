"""What an agent tells of its system and its file systems, for a person to read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentclient.model.guest_report import GuestDisk, MountedFileSystem
from agentclient.model.text import printable

MOST_FILE_SYSTEMS: Final = 512
_MOST_DISKS: Final = 16
_MOST_FACTS: Final = 32
_MOST_BYTES: Final = 2**70
_MOST_PLACE: Final = 2**31
_NAME: Final = 120


def mounted(value: object) -> tuple[MountedFileSystem, ...] | None:
    """Read the answer of ``guest-get-fsinfo``; None if it is none.

    Entries that can't be read are left out, and so are those beyond 512: it is for a person.
    """
    if not isinstance(value, list):
        return None
    read = (_mounted(item) for item in value[:MOST_FILE_SYSTEMS])
    return tuple(one for one in read if one is not None)


def system(value: object) -> Mapping[str, str] | None:
    """Read the answer of ``guest-get-osinfo``; None if it is none."""
    if not isinstance(value, dict):
        return None
    told = list(value.items())[:_MOST_FACTS]
    return {printable(key, 60): printable(text, 200) for key, text in told}


def _mounted(item: object) -> MountedFileSystem | None:
    entry = item if isinstance(item, dict) else {}
    device, mountpoint, kind = (entry.get(key) for key in ("name", "mountpoint", "type"))
    if not (isinstance(device, str) and isinstance(mountpoint, str) and isinstance(kind, str)):
        return None
    listed = entry.get("disk")
    members = listed[:_MOST_DISKS] if isinstance(listed, list) else []
    return MountedFileSystem(
        printable(device, _NAME),
        printable(mountpoint, _NAME),
        printable(kind, 40),
        _bytes(entry.get("used-bytes")),
        _bytes(entry.get("total-bytes")),
        tuple(_disk(member) for member in members if isinstance(member, dict)),
    )


def _disk(member: Mapping[str, object]) -> GuestDisk:
    bus, device, serial = (_text(member.get(key)) for key in ("bus-type", "dev", "serial"))
    return GuestDisk(bus, device, serial, _address(member))


def _address(member: Mapping[str, object]) -> str | None:
    """Return where a disk is plugged in: its PCI address, or else its place on its bus."""
    controller = member.get("pci-controller")
    pci = controller if isinstance(controller, dict) else {}
    numbers = [_place(pci.get(key)) for key in ("domain", "bus", "slot", "function")]
    domain, bus, slot, function = numbers
    if domain is not None and bus is not None and slot is not None and function is not None:
        return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"
    places = [(key, _place(member.get(key))) for key in ("bus", "target", "unit")]
    return ", ".join(f"{key} {place}" for key, place in places if place is not None) or None


def _place(value: object) -> int | None:
    return _whole(value, _MOST_PLACE)


def _text(value: object) -> str | None:
    return printable(value, _NAME) if isinstance(value, str) and value else None


def _bytes(value: object) -> int | None:
    return _whole(value, _MOST_BYTES)


def _whole(value: object, most: int) -> int | None:
    """Return a whole number that is not negative, and below `most`; None for anything else."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < most else None
