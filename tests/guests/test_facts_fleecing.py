"""Facts about backup jobs and the guest's own writes, on a real guest, and how fleecing helps.

A backup job copies what the guest is about to overwrite to the target first. So a target that is
slow, full or broken is so for the guest as well. A filter that keeps it elsewhere does away with
that. The product builds on both.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.guests.conftest import Boot
from tests.guests.copying import (
    Fleece,
    add_target,
    backup,
    drop_target,
    failing_target,
    finish,
    frozen,
    mirror,
    node_of,
    slow_target,
    transaction,
    use_node,
    wait_job,
)
from tests.guests.lab import PATIENCE_S, Guest, LabError, check_copy
from tests.guests.lab.shell import wait_until

DISKS = ("a", "b")
_SLOW = 2 << 20  # bytes per second


@pytest.fixture(params=["drive", "blockdev"])
def writer(boot: Boot, request: pytest.FixtureRequest) -> Guest:
    """A guest whose disks are attached as Proxmox VE does, and as libvirt does."""
    return boot(name="writer", mounts=DISKS, tools=True, attach=request.param)


def _write(guest: Guest, disk: str = "a") -> None:
    """Have the guest write a file to a disk, and do not wait for it."""
    guest.shell(f"(echo written >/mnt/{disk}/written; sync) >/dev/null 2>&1 &")


def test_fact_a_backup_to_a_full_target_pauses_the_vm(writer: Guest, tmp_path: Path) -> None:
    target = failing_target(writer, tmp_path / "full.raw")
    seen = len(writer.events)
    transaction(writer, [backup(writer, "a", target, on_target_error="enospc")])
    wait_job(writer, "backup-a", "paused")
    (block_job,) = writer.qmp("query-block-jobs")
    assert block_job["io-status"] == "nospace"
    _write(writer)
    told = writer.wait_event("BLOCK_IO_ERROR", after=seen)["data"]
    assert (told["nospace"], told["action"], told["operation"]) == (True, "stop", "write")
    wait_until(lambda: writer.status() == "io-error", PATIENCE_S, "the pause")
    seen = len(writer.events)
    writer.resume()
    writer.wait_event("BLOCK_IO_ERROR", after=seen)
    # With the job gone the write succeeds, and the guest has noticed nothing.
    writer.qmp("block-job-cancel", device="backup-a", force=True)
    assert finish(writer, "backup-a") == "Operation canceled"
    writer.resume()
    writer.assert_thawed()
    assert writer.shell("sync; cat /mnt/a/written") == "written\n"


def test_fact_a_backup_to_a_failing_target_fails_the_guests_writes(
    writer: Guest, tmp_path: Path
) -> None:
    target = failing_target(writer, tmp_path / "failing.raw", errno.EIO)
    seen = len(writer.events)
    transaction(writer, [backup(writer, "a", target, on_target_error="stop")])
    wait_job(writer, "backup-a", "paused")
    _write(writer)
    told = writer.wait_event("BLOCK_IO_ERROR", after=seen)["data"]
    assert (told["nospace"], told["action"], told["operation"]) == (False, "report", "write")
    assert writer.status() == "running"
    wait_until(lambda: "Aborting journal" in writer.shell("dmesg"), PATIENCE_S, "the journal's end")
    writer.qmp("block-job-cancel", device="backup-a", force=True)
    assert finish(writer, "backup-a") == "Operation canceled"
    with pytest.raises(AssertionError, match="not writable: a"):
        writer.assert_thawed(timeout=0.0)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_fact_where_fleecing_fails_the_snapshot_breaks_and_not_the_guest(
    writer: Guest, number: int, tmp_path: Path
) -> None:
    own = node_of(writer, "a")
    target = add_target(writer, "a", tmp_path / "a.qcow2")
    seen = len(writer.events)
    with writer.append_load("a") as load:
        fleece = Fleece(writer, "a", failing_target(writer, tmp_path / "full.raw", number))
        load.wait_for(20)
        fleece.backup(target)
        assert finish(writer, "backup-a") == "Permission denied"
        load.wait_for(20)
        fleece.drop()
    assert node_of(writer, "a") == own
    assert "BLOCK_IO_ERROR" not in [event["event"] for event in writer.events[seen:]]
    writer.assert_thawed()


def test_fact_a_fleece_put_in_under_a_freeze_is_a_copy_of_that_instant(
    writer: Guest, tmp_path: Path
) -> None:
    for disk in DISKS:
        writer.fill(disk, 8 << 20)
    targets = {disk: add_target(writer, disk, tmp_path / f"{disk}.qcow2") for disk in DISKS}
    places = {d: add_target(writer, d, tmp_path / f"place-{d}", f"place-{d}") for d in DISKS}
    with writer.append_load(*DISKS) as load:
        load.wait_for(10)
        with frozen(writer):
            held = load.durable()
            fleeces = {disk: Fleece(writer, disk, places[disk]) for disk in DISKS}
        load.wait_for(10)
        # The job itself may begin at any time.
        for disk in DISKS:
            fleeces[disk].backup(targets[disk])
        load.wait_for(10)
        for disk in DISKS:
            assert finish(writer, f"backup-{disk}") is None
            fleeces[disk].drop()
            drop_target(writer, disk)
        load.wait_for(10)
    for disk in DISKS:
        verdict = check_copy(tmp_path / f"{disk}.qcow2")
        assert verdict.consistent, verdict.said
        assert verdict.last in (held[disk], held[disk] + 1)


def test_fact_a_device_that_is_given_the_node_that_it_has_ends_qemu(writer: Guest) -> None:
    """So the product looks what a device has, before it takes a filter out."""
    node = node_of(writer, "a")
    with suppress(LabError):
        use_node(writer, "a", node)
    wait_until(lambda: not writer.alive, PATIENCE_S, "QEMU's end")


@pytest.mark.parametrize(
    ("kind", "stalls"), [("backup", True), ("mirror", False), ("fleece", False)]
)
def test_fact_a_slow_target_stalls_the_guest_under_a_backup_alone(
    boot: Boot, kind: str, stalls: bool, tmp_path: Path
) -> None:
    writer = boot(name="slow", mounts=("a",), tools=True)
    slow = slow_target(writer, add_target(writer, "a", tmp_path / "a.qcow2"), _SLOW)
    place = add_target(writer, "a", tmp_path / "place.qcow2", "place")
    writer.fill("a", 12 << 20)
    with writer.append_load("a") as load:
        load.wait_for(20)
        since = load.counter()
        with _started(writer, kind, slow, place):
            time.sleep(3.0)
            worst = load.stalls(since=since).worst_ms
    print(f"{kind}: {worst:.0f} ms")
    assert (worst > 1000.0) is stalls, f"{worst:.0f} ms"


@contextmanager
def _started(guest: Guest, kind: str, slow: str, place: str) -> Iterator[None]:
    """Have a copy to a slow target under way."""
    fleece = Fleece(guest, "a", place) if kind == "fleece" else None
    if fleece is not None:
        fleece.backup(slow)
    elif kind == "backup":
        transaction(guest, [backup(guest, "a", slow)])
    else:
        mirror(guest, "a", slow)
    job = "mirror-a" if kind == "mirror" else "backup-a"
    wait_job(guest, job, "running")
    yield
    # It ends when all is written that is under way, which may be the whole disk.
    guest.qmp("qom-set", path="/objects/rate", property="limits", value={"bps-write": 0})
    guest.qmp("block-job-cancel", device=job, force=True)
    finish(guest, job)
    if fleece is not None:
        fleece.drop()
