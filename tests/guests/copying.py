"""Copies of a guest's disks as QEMU makes them, in plain monitor commands, for tests.

Nothing of the product is used: what it builds on is tried without it.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.guests.lab import PATIENCE_S, Guest, LabError, RawClient
from tests.guests.lab.copies import raw_copy
from tests.guests.lab.process import make_disk

Json = dict[str, Any]


@contextmanager
def frozen(guest: Guest) -> Iterator[None]:
    """Everything in the guest that can be is frozen while the context lasts, by anybody."""
    with RawClient(guest.agent_socket) as client:
        client.sync()
        client.freeze()
        try:
            yield
        finally:
            client.thaw()


def node_of(guest: Guest, disk: str) -> str:
    """The block node at the top of a disk, whatever its name."""
    for device in guest.qmp("query-block"):
        if device["qdev"].startswith(f"/machine/peripheral/disk-{disk}/"):
            return str(device["inserted"]["node-name"])
    raise LabError(f"{guest.name} has no disk {disk}")


def use_node(guest: Guest, disk: str, node: str) -> None:
    """Have the device of a disk use a node."""
    guest.qmp("qom-set", path=f"/machine/peripheral/disk-{disk}", property="drive", value=node)


def size_of(guest: Guest, disk: str) -> int:
    """The bytes of a disk."""
    for device in guest.qmp("query-block"):
        if device["qdev"].startswith(f"/machine/peripheral/disk-{disk}/"):
            return int(device["inserted"]["image"]["virtual-size"])
    raise LabError(f"{guest.name} has no disk {disk}")


def action(kind: str, **data: Any) -> Json:
    """A part of a transaction; `_` in an argument's name stands for `-`."""
    return {"type": kind, "data": {name.replace("_", "-"): it for name, it in data.items()}}


def transaction(guest: Guest, actions: Sequence[Json], grouped: bool = False) -> None:
    """Run actions as one; with `grouped` their jobs end as one as well."""
    more: Json = {"properties": {"completion-mode": "grouped"}} if grouped else {}
    guest.qmp("transaction", actions=list(actions), **more)


def add_target(guest: Guest, disk: str, path: Path, name: str | None = None) -> str:
    """Have an empty qcow2 of a disk's size in QEMU; gives its node's name, `to-<disk>` if none."""
    make_disk(path, size_of(guest, disk))
    node = name or f"to-{disk}"
    file = {"driver": "file", "filename": str(path)}
    cache = {"no-flush": True}
    guest.qmp("blockdev-add", driver="qcow2", node_name=node, file=file, cache=cache)
    return node


def drop_target(guest: Guest, disk: str) -> None:
    """Take the node of `add_target` out of QEMU: the file is whole then."""
    guest.qmp("blockdev-del", node_name=f"to-{disk}")


def job(guest: Guest, name: str) -> Json | None:
    """What the monitor says of a job; None when there is none of this name."""
    return next((one for one in guest.qmp("query-jobs") if one["id"] == name), None)


def wait_job(guest: Guest, name: str, *states: str, timeout: float = PATIENCE_S) -> Json:
    """Wait until a job is in one of some states, and give what the monitor says of it then.

    Raises:
        LabError: it is not in time (seconds), or there is no such job.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = job(guest, name)
        if found is None:
            raise LabError(f"no job {name}")
        if found["status"] in states:
            return found
        if time.monotonic() > deadline:
            raise LabError(f"job {name} is not {' or '.join(states)} in {timeout:g} s: {found}")
        time.sleep(0.02)


def finish(guest: Guest, name: str, timeout: float = PATIENCE_S) -> str | None:
    """Wait until a job has ended, take it off the monitor's list, and give its error."""
    ended = wait_job(guest, name, "concluded", timeout=timeout)
    guest.qmp("job-dismiss", id=name)
    return ended.get("error")


def backup(guest: Guest, disk: str, target: str, **more: Any) -> Json:
    """The action that starts a full backup of a disk to a node, as the job `backup-<disk>`."""
    return action(
        "blockdev-backup",
        job_id=f"backup-{disk}",
        device=node_of(guest, disk),
        target=target,
        auto_dismiss=False,
        **{"sync": "full", **more},
    )


def mirror(guest: Guest, disk: str, target: str, **more: Any) -> None:
    """Start a full mirror of a disk to a node, as the job `mirror-<disk>`."""
    guest.qmp(
        "blockdev-mirror",
        job_id=f"mirror-{disk}",
        device=node_of(guest, disk),
        target=target,
        auto_dismiss=False,
        **{"sync": "full", **more},
    )


@contextmanager
def mounted(guest: Guest, disk: str, copy: Path, options: str) -> Iterator[None]:
    """Have a copy at /mnt/<disk> of a guest, in place of its disk; what is written there is lost.

    Args:
        guest: looks into it, as the one that restores a copy does; its disks are attached by
            "blockdev", since a drive that is put aside is gone.
        disk: of the same kind and size.
        copy: an image; it is only read.
        options: of the mount, such as "ro,noload" (ext4) or "ro,norecovery" (xfs).

    Raises:
        ShellError: the guest can't mount it.
    """
    device, _, kind, *_ = guest.shell(f"grep ' /mnt/{disk} ' /proc/mounts").split()
    own = node_of(guest, disk)
    raw = raw_copy(copy, guest.directory)
    file = {"driver": "file", "filename": str(raw)}
    guest.shell(f"umount /mnt/{disk}")
    guest.qmp("blockdev-add", driver="raw", node_name="copy", file=file)
    place = {"path": f"/machine/peripheral/disk-{disk}", "property": "drive"}
    guest.qmp("qom-set", **place, value="copy")
    try:
        guest.shell(f"mount -t {kind} -o {options} {device} /mnt/{disk}")
        yield
    finally:
        guest.shell(f"umount /mnt/{disk}; true")
        guest.qmp("qom-set", **place, value=own)
        guest.qmp("blockdev-del", node_name="copy")
        raw.unlink()
        guest.shell(f"mount -t {kind} -o strictatime {device} /mnt/{disk}")


def failing_target(
    guest: Guest, path: Path, number: int = errno.ENOSPC, sector: int | None = None
) -> str:
    """A node, called "failing", to which a write fails with an errno.

    Args:
        guest: whose QEMU gets it; it has the size of disk a.
        path: its file, which is made.
        number: the errno.
        sector: only a write to this one fails, and not each.
    """
    with path.open("wb") as file:
        file.truncate(size_of(guest, "a"))
    error: Json = {"event": "write_aio", "errno": number}
    if sector is not None:
        error["sector"] = sector
    image = {"driver": "file", "filename": str(path)}
    below = {"driver": "blkdebug", "image": image, "inject-error": [error]}
    guest.qmp("blockdev-add", driver="raw", node_name="failing", file=below)
    return "failing"


def slow_target(guest: Guest, below: str, rate: int) -> str:
    """A node, called "slow", above another one, that takes so many bytes per second."""
    guest.qmp("object-add", qom_type="throttle-group", id="rate", limits={"bps-write": rate})
    guest.qmp(
        "blockdev-add", driver="throttle", node_name="slow", throttle_group="rate", file=below
    )
    return "slow"


class Fleece:
    """A disk as it was at one instant, whatever the guest writes from then on.

    What the guest overwrites is first copied to a place of its own. Should that fail, this snapshot
    is broken and the guest goes on, where a backup job would fail the guest's write.

    Args:
        guest: whose.
        disk: which.
        place: the node that takes what is overwritten.

    Attributes:
        node: what holds the snapshot, to read.
    """

    def __init__(self, guest: Guest, disk: str, place: str) -> None:
        self.guest, self.disk, self.own = guest, disk, node_of(guest, disk)
        self.node = f"snapshot-{disk}"
        above = f"above-{disk}"
        guest.qmp(
            "blockdev-add",
            driver="copy-before-write",
            node_name=above,
            file=self.own,
            target=place,
            on_cbw_error="break-snapshot",
        )
        use_node(guest, disk, above)
        guest.qmp("blockdev-add", driver="snapshot-access", node_name=self.node, file=above)

    def drop(self) -> None:
        """Have the guest on its own disk again; no job may read the snapshot."""
        self.guest.qmp("blockdev-del", node_name=self.node)
        use_node(self.guest, self.disk, self.own)
        self.guest.qmp("blockdev-del", node_name=f"above-{self.disk}")

    def backup(self, target: str, **more: Any) -> None:
        """Start a backup of the snapshot to a node, as the job `backup-<disk>`."""
        data = backup(self.guest, self.disk, target, **more)
        data["data"]["device"] = self.node
        transaction(self.guest, [data])
