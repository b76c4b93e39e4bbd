"""Which of a guest's disks hold no file system that its agent knows. Pure.

A raw disk of a database, a member of a ZFS pool or a swap disk is in no list of file systems, and
no freeze covers it. ``guest-get-disks`` (agents since 5.2) names a guest's disks and what volumes
are made of; where it can't be had, QEMU's ``query-block`` tells at least how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agentclient.model.text import printable
from agentclient.protocol.qga_replies import Disk

# Made of memory, of files, or not there when the VM is copied.
_NO_DISK = re.compile(r"(?:/dev/)?(?:loop|ram|zram|sr|fd|nbd|mtdblock)\d+")


def without_file_systems(disks: Sequence[Disk], devices: Iterable[str]) -> tuple[str, ...] | None:
    """Return the disks on which none of `devices` is, in order; None if that can't be told.

    Args:
        disks: all that the guest has.
        devices: what its file systems are on, by the names of `disks`.
    """
    members = {one.name: one.dependencies for one in disks}
    todo = [name for name in devices if name in members]
    if not todo:
        return None  # the two lists do not speak of the same things
    used: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in used:
            used.add(name)
            todo += members.get(name, ())
    return tuple(
        sorted(
            printable(one.name.removeprefix("/dev/"), 60)
            for one in disks
            if not (one.name in used or one.partition or one.dependencies)
            and not _NO_DISK.fullmatch(one.name)
        )
    )


def writable_disks(value: object) -> tuple[str, ...] | None:
    """Read ``query-block``: the devices of a VM's writable disks; None if it can't be read.

    Left out are removable media, read-only ones, and the flash of the firmware.
    """
    if not isinstance(value, list):
        return None
    found = []
    for item in value:
        inserted = item.get("inserted") if isinstance(item, dict) else None
        if not isinstance(inserted, dict) or inserted.get("ro") is not False:
            continue
        name = str(item.get("device") or inserted.get("node-name") or item.get("qdev"))
        if item.get("removable") is not True and "flash" not in f"{item.get('qdev')} {name}":
            found.append(printable(name, 60))
    return tuple(sorted(found))
