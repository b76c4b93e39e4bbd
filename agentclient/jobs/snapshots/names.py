"""Names: of snapshots, and of the files beside a disk's image that belong to one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Final

from agentclient.model.disk_snapshot import SnapshotDisk, SnapshotKind
from agentclient.model.errors import BadInput
from agentclient.model.shell_words import quoted
from agentclient.model.text import printable

LONGEST_NAME: Final = 60
RECORD_SUFFIX: Final = ".frostwatch.json"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def checked_name(name: str) -> str:
    """Return the name of a new snapshot, if it can be one.

    Raises:
        BadInput: it can't.
    """
    shown = printable(name, LONGEST_NAME)
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise BadInput(
            f"{shown!r} is no name for a snapshot: it has 1 to {LONGEST_NAME} letters, digits, "
            "'.', '_' or '-', and begins with none of the last two but '_'"
        )
    if name.isdecimal():
        raise BadInput(
            f"{shown!r} is no name for a snapshot: qemu-img takes a number for a snapshot's id"
        )
    return name


def overlay_name(image: PurePath, snapshot: str, replaced: str | None, number: int) -> str:
    """Return the name of the overlay's file.

    Args:
        image: the disk's present image.
        snapshot: the snapshot's name.
        replaced: the snapshot whose overlay the present image is; None if it is none's.
        number: the number of another overlay that would have the same name; 0 without one.
    """
    stem = image.stem
    if replaced is not None:
        stem = stem.removesuffix(f".{replaced}")
    again = f"-{number}" if number else ""
    return f"{stem}{again}.{snapshot}.qcow2"


def record_name(vm: str, snapshot: str) -> str:
    """Return the name of the file beside the overlays that tells what they are."""
    return f"{safe(vm)}.{snapshot}{RECORD_SUFFIX}"


def safe(name: str) -> str:
    """Return a name as it can be a part of a file's name."""
    return "".join(one if one.isalnum() or one in "._-" else "_" for one in name)[:80] or "vm"


def revert_steps(
    kind: SnapshotKind, snapshot: str, disks: Iterable[SnapshotDisk]
) -> tuple[str, ...]:
    """Return how to go back to a snapshot, with the VM off."""
    if kind is SnapshotKind.INTERNAL:
        return tuple(f"qemu-img snapshot -a {quoted(snapshot)} {quoted(one.file)}" for one in disks)
    return tuple(
        f"start the VM with {one.file} as its disk {printable(one.disk, 60)}; from then on "
        f"never with {one.overlay} again, which is built on it: what was written since is lost"
        for one in disks
    )
