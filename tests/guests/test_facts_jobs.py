"""Facts about QEMU's block jobs on a real guest: what they count, what stops them, whom they stall.

The product builds on them.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guests.conftest import Boot
from tests.guests.copying import (
    action,
    add_target,
    backup,
    drop_target,
    failing_target,
    finish,
    frozen,
    job,
    mirror,
    node_of,
    transaction,
    wait_job,
)
from tests.guests.lab import Guest, QmpError, check_copy

DISKS = ("a", "b")
_SLOW = 256 << 10  # bytes per second
FULL = "No space left on device"


@pytest.fixture(params=["drive", "blockdev"])
def either(boot: Boot, request: pytest.FixtureRequest) -> Guest:
    """A guest whose disks are attached as Proxmox VE does, and as libvirt does."""
    return boot(name="either", mounts=DISKS, tools=True, attach=request.param)


@pytest.fixture
def writer(boot: Boot) -> Guest:
    """A guest with two disks."""
    return boot(name="writer", mounts=DISKS, tools=True, attach="blockdev")


def _counted(guest: Guest) -> dict[str, tuple[int, ...]]:
    """What the monitor counts as the guest's: bytes read and written, writes, and flushes."""
    names = ("rd_bytes", "wr_bytes", "wr_operations", "flush_operations")
    devices = guest.qmp("query-blockstats")
    return {one["qdev"]: tuple(one["stats"][name] for name in names) for one in devices}


def test_fact_what_a_job_reads_and_writes_is_not_counted_as_the_guests(
    either: Guest, tmp_path: Path
) -> None:
    for disk in DISKS:
        either.fill(disk, 8 << 20)
    with frozen(either):
        before = _counted(either)
        assert len(before) == 2
        for disk in DISKS:
            add_target(either, disk, tmp_path / f"backup-{disk}")
        transaction(either, [backup(either, disk, f"to-{disk}") for disk in DISKS])
        for disk in DISKS:
            assert finish(either, f"backup-{disk}") is None
            drop_target(either, disk)
        assert _counted(either) == before, "backup"
        for disk in DISKS:
            mirror(either, disk, add_target(either, disk, tmp_path / f"mirror-{disk}"))
        for disk in DISKS:
            wait_job(either, f"mirror-{disk}", "ready")
            either.qmp("block-job-cancel", device=f"mirror-{disk}")
            assert finish(either, f"mirror-{disk}") is None
            drop_target(either, disk)
        assert _counted(either) == before, "mirror"
        kind = "blockdev-snapshot-internal-sync"
        inside = [action(kind, device=node_of(either, disk), name="inside") for disk in DISKS]
        transaction(either, inside)
        assert _counted(either) == before, "internal snapshot"
        outside = [
            action(
                "blockdev-snapshot-sync",
                node_name=node_of(either, disk),
                snapshot_file=str(tmp_path / f"over-{disk}"),
                snapshot_node_name=f"over-{disk}",
            )
            for disk in DISKS
        ]
        transaction(either, outside)
        assert _counted(either) == before, "external snapshot: the counters go on, too"
        either.qmp("block-commit", job_id="commit", device="over-a", auto_dismiss=False)
        wait_job(either, "commit", "ready")
        either.qmp("job-complete", id="commit")
        assert finish(either, "commit") is None
        assert _counted(either) == before, "commit"
    either.fill("a", 1 << 20)
    assert _counted(either) != before


@pytest.mark.parametrize("kind", ["backup", "mirror"])
@pytest.mark.parametrize("sector", [None, 16384], ids=["start", "middle"])
def test_fact_a_full_target_ends_the_job(
    writer: Guest, kind: str, sector: int | None, tmp_path: Path
) -> None:
    writer.fill("a", 24 << 20)
    target = failing_target(writer, tmp_path / "full.raw", sector=sector)
    seen = len(writer.events)
    if kind == "backup":
        transaction(writer, [backup(writer, "a", target)])
    else:
        mirror(writer, "a", target)
    assert finish(writer, f"{kind}-a") == FULL
    told = writer.wait_event("BLOCK_JOB_ERROR", after=seen)["data"]
    assert told == {"device": f"{kind}-a", "operation": "write", "action": "report"}
    ended = writer.wait_event("BLOCK_JOB_COMPLETED", after=seen)["data"]
    assert (ended["error"], ended["offset"] < ended["len"]) == (FULL, True)
    assert (writer.status(), node_of(writer, "a")) == ("running", "a")
    # The node is free, and what was written of its file is left.
    writer.qmp("blockdev-del", node_name=target)
    assert (tmp_path / "full.raw").exists()
    writer.assert_thawed()


def test_fact_a_mirror_to_a_failing_target_does_not_touch_the_guest(
    writer: Guest, tmp_path: Path
) -> None:
    target = failing_target(writer, tmp_path / "failing.raw", errno.EIO)
    seen = len(writer.events)
    with writer.append_load("a") as load:
        mirror(writer, "a", target)
        assert finish(writer, "mirror-a") == "Input/output error"
        load.wait_for(10)
    assert "BLOCK_IO_ERROR" not in [event["event"] for event in writer.events[seen:]]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small file system")
@pytest.mark.parametrize("kind", ["backup", "mirror"])
def test_fact_a_full_file_system_ends_the_job(writer: Guest, kind: str, tmp_path: Path) -> None:
    with _small_file_system(tmp_path / "small", 8):
        target = add_target(writer, "a", tmp_path / "small" / "a.qcow2")
        writer.fill("a", 24 << 20)
        if kind == "backup":
            transaction(writer, [backup(writer, "a", target)])
        else:
            mirror(writer, "a", target)
        assert finish(writer, f"{kind}-a") == FULL
        drop_target(writer, "a")
    writer.assert_thawed()


@contextmanager
def _small_file_system(place: Path, megabytes: int) -> Iterator[None]:
    place.mkdir()
    how = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "small", str(place)]
    done = subprocess.run(how, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small file system here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("grouped", [True, False])
def test_fact_grouped_jobs_end_together(writer: Guest, grouped: bool, tmp_path: Path) -> None:
    full = failing_target(writer, tmp_path / "full.raw")
    other = add_target(writer, "b", tmp_path / "b.qcow2")
    jobs = [backup(writer, "a", full), backup(writer, "b", other, speed=_SLOW)]
    transaction(writer, jobs, grouped=grouped)
    assert finish(writer, "backup-a") == FULL
    if grouped:
        assert finish(writer, "backup-b") == "Operation canceled"
        return
    running = job(writer, "backup-b")
    assert running is not None
    assert running["status"] == "running"


def test_fact_a_job_outlives_a_reset(writer: Guest, tmp_path: Path) -> None:
    transaction(writer, [backup(writer, "a", add_target(writer, "a", tmp_path / "a"), speed=_SLOW)])
    writer.reset()
    wait_job(writer, "backup-a", "running")
    writer.qmp("block-job-set-speed", device="backup-a", speed=0)
    assert finish(writer, "backup-a") is None


def test_fact_a_job_is_seen_above_the_disk_and_keeps_others_off(
    either: Guest, tmp_path: Path
) -> None:
    own = node_of(either, "a")
    target = add_target(either, "a", tmp_path / "a")
    transaction(either, [backup(either, "a", target, speed=_SLOW, filter_node_name="above")])
    assert node_of(either, "a") == "above"
    snapshot = action(
        "blockdev-snapshot-sync",
        node_name="above",
        snapshot_file=str(tmp_path / "over"),
        snapshot_node_name="over",
    )
    with pytest.raises(QmpError, match="busy: block device is in use by block job: backup"):
        transaction(either, [snapshot])
    either.qmp("block-job-cancel", device="backup-a", force=True)
    assert finish(either, "backup-a") == "Operation canceled"
    assert node_of(either, "a") == own


def test_fact_a_bitmap_of_the_same_transaction_makes_the_next_backup_incremental(
    either: Guest, tmp_path: Path
) -> None:
    full = {disk: tmp_path / f"full-{disk}.qcow2" for disk in DISKS}
    part = {disk: tmp_path / f"part-{disk}.qcow2" for disk in DISKS}
    nodes = {disk: node_of(either, disk) for disk in DISKS}
    for disk in DISKS:
        either.fill(disk, 8 << 20)
    with either.append_load(*DISKS) as load:
        bitmaps = [
            action("block-dirty-bitmap-add", node=nodes[disk], name="since", persistent=True)
            for disk in DISKS
        ]
        jobs = [backup(either, d, add_target(either, d, full[d])) for d in DISKS]
        with frozen(either):
            with pytest.raises(QmpError, match="completion-mode = grouped"):
                transaction(either, [*bitmaps, *jobs], grouped=True)
            transaction(either, [*bitmaps, *jobs])
        for disk in DISKS:
            assert finish(either, f"backup-{disk}") is None
            drop_target(either, disk)
        load.wait_for(20)
        more = {"sync": "incremental", "bitmap": "since"}
        jobs = [backup(either, d, add_target(either, d, part[d]), **more) for d in DISKS]
        with frozen(either):
            held = load.durable()
            transaction(either, jobs, grouped=True)
        for disk in DISKS:
            assert finish(either, f"backup-{disk}") is None
            drop_target(either, disk)
        load.wait_for(20)
    for disk in DISKS:
        assert part[disk].stat().st_blocks * 4 < full[disk].stat().st_blocks
        assert check_copy(full[disk]).consistent
        rebase = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b"]
        subprocess.run([*rebase, str(full[disk]), str(part[disk])], check=True)
        verdict = check_copy(part[disk])
        assert verdict.consistent, verdict.said
        assert verdict.last in (held[disk], held[disk] + 1)
    (bitmap,) = next(
        node["dirty-bitmaps"]
        for node in either.qmp("query-named-block-nodes")
        if node["node-name"] == nodes["a"]
    )
    assert (bitmap["name"], bitmap["persistent"]) == ("since", True)


def test_fact_a_raw_disk_keeps_no_bitmap(boot: Boot) -> None:
    guest = boot(mounts=("a",), disk_format="raw")
    bitmap = action("block-dirty-bitmap-add", node=node_of(guest, "a"), name="since")
    transaction(guest, [bitmap])
    bitmap["data"] |= {"name": "kept", "persistent": True}
    with pytest.raises(QmpError, match="persistent"):
        transaction(guest, [bitmap])


def test_fact_a_target_is_whole_only_once_it_is_closed(writer: Guest, tmp_path: Path) -> None:
    """The tables of a qcow2 are in QEMU's memory until then, though its job has ended well."""
    closed, left = tmp_path / "closed.qcow2", tmp_path / "left.qcow2"
    writer.pause()
    for target in (closed, left):
        transaction(writer, [backup(writer, "a", add_target(writer, "a", target))])
        assert finish(writer, "backup-a") is None
        if target is closed:
            drop_target(writer, "a")
    writer.kill_qemu()
    words = ["qemu-img", "compare", str(closed), str(left)]
    assert subprocess.run(words, check=False, capture_output=True).returncode == 1, "they differ"
