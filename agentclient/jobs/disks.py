"""Chooses the disks that a job copies, and refuses what can't be copied, before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.access.host.process import PROC
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.disk_port import DiskPort
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.model.job import JobRefusal, LeftOut, WhyLeftOut
from agentclient.model.text import printable
from agentclient.model.vm import Process
from agentclient.protocol.qmp_block import Disk

_SHOWN: Final = 12


def choose_disks(port: DiskPort, found: Sequence[Disk], names: Sequence[str]) -> tuple[Disk, ...]:
    """Return the disks to copy: those that are named, or all that the guest can write to.

    Args:
        port: reaches the VM's disks.
        found: the VM's disks.
        names: their names; empty for all. That of a node means the disk whose image it is, or is
            behind: a snapshot has put an overlay above it.

    Raises:
        JobRefused: one is not there, or can't be copied, or a job runs on the VM.
        JobFailed: the monitor does not answer.
    """
    if names:
        chosen = tuple(dict.fromkeys(_named(port, found, name) for name in names))
    else:
        chosen = tuple(one for one in found if one.is_written)
    if not chosen:
        raise JobRefused(JobRefusal.NO_DISK, "the VM has no disk that it can write to")
    for disk in chosen:
        check_disk(disk)
    _check_devices(port, chosen)
    return chosen


def check_none_new(found: Iterable[Disk], chosen: Iterable[Disk]) -> None:
    """Make sure that a copy of all disks leaves none out that came after they were chosen.

    Args:
        found: the VM's disks now.
        chosen: the disks that are copied.

    Raises:
        JobFailed: one has come.
    """
    known = {one.place for one in chosen}
    for disk in found:
        if disk.is_written and disk.place not in known:
            raise JobFailed(
                f"the VM has a disk {printable(disk.name, 60)} that it had not when all were "
                "chosen: the copy would lack it",
                "begin again, or name the disks to copy with --disk",
            )


def left_out(
    found: Iterable[Disk], chosen: Iterable[Disk], names: Sequence[str]
) -> tuple[LeftOut, ...]:
    """Return the disks with a medium that a copy lacks, and why.

    Args:
        found: the VM's disks.
        chosen: the disks that are copied.
        names: which were asked for; empty for all.
    """
    known = {one.place for one in chosen}
    return tuple(
        LeftOut(one.name, WhyLeftOut.NOT_NAMED if names else why_left_out(one))
        for one in found
        if not one.empty and one.place not in known
    )


def why_left_out(disk: Disk) -> WhyLeftOut:
    """Return why a disk that has a medium is none of all that are copied."""
    return WhyLeftOut.READ_ONLY if disk.read_only else WhyLeftOut.REMOVABLE


def is_encrypted(disk: Disk) -> bool:
    """Return whether a disk's own image is encrypted."""
    return bool(disk.chain) and disk.chain[0].encrypted


def check_commands(block: BlockLayer, *names: str) -> None:
    """Refuse where the VM's QEMU lacks a command.

    Args:
        block: the VM's block layer.
        names: the commands that are needed.

    Raises:
        JobRefused: one is missing.
        JobFailed: the monitor does not answer.
    """
    missing = sorted(set(names) - block.commands())
    if missing:
        raise JobRefused(
            JobRefusal.TOO_OLD,
            f"the VM's QEMU has no {', '.join(missing)}",
            "start the VM with a newer QEMU, or copy it with the VM off",
        )


def image_path(disk: Disk, process: Process | None) -> Path | None:
    """Return the path of a disk's image on this host; None if it can't be told.

    Args:
        disk: the disk.
        process: the VM's QEMU, to whose working directory a path may be relative.
    """
    if disk.file.startswith("/"):
        return Path(disk.file)
    if process is None or ":" in disk.file.partition("/")[0]:
        return None
    with suppress(OSError):
        return (PROC / str(process.pid) / "cwd").readlink() / disk.file
    return None


def _named(port: DiskPort, found: Sequence[Disk], name: str) -> Disk:
    named = [one for one in found if name == one.name]
    named = named or [one for one in found if name in one.names]
    if not named:
        file = port.nodes().get(name)
        named = [one for one in found if file and any(file == each.file for each in one.chain[1:])]
    if len(named) == 1:
        return named[0]
    known = ", ".join(printable(one.name, 60) for one in found[:_SHOWN]) or "none"
    what = "several disks" if named else "no disk of the VM"
    raise JobRefused(JobRefusal.NO_DISK, f"{printable(name, 60)} is {what}; its disks are: {known}")


def _check_devices(port: DiskPort, chosen: Sequence[Disk]) -> None:
    """Refuse disks that are passed through: QEMU does not see what is written to them."""
    for disk in chosen:
        kind = port.passed_through(disk)
        if kind is not None:
            raise JobRefused(
                JobRefusal.PASSED_THROUGH,
                f"{printable(disk.name, 60)} is passed through ({kind}): its data don't go "
                "through QEMU",
                "copy it on the host, under: frostwatch freeze VM -- COMMAND",
            )


def check_disk(disk: Disk) -> None:
    """Refuse a disk that can't be copied, by what QEMU says of it.

    Raises:
        JobRefused: it has no medium, or is read-only.
    """
    name = printable(disk.name, 60)
    if disk.empty:
        raise JobRefused(JobRefusal.EMPTY_DRIVE, f"there is no medium in the drive {name}")
    if disk.read_only:
        raise JobRefused(
            JobRefusal.READ_ONLY_DISK, f"the guest can't write to {name}: it is read-only"
        )
