"""Facts about copies that QEMU makes of a real guest's disks while it writes, and of its freeze.

The product builds on them. Each copy is made in plain monitor commands, under a freeze by anybody,
and once more without one: such a copy needs recovery, or the test would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import pytest

from tests.guests.conftest import Boot
from tests.guests.copying import (
    action,
    add_target,
    backup,
    drop_target,
    finish,
    frozen,
    mirror,
    mounted,
    node_of,
    transaction,
    wait_job,
)
from tests.guests.lab import Guest, QmpError, Verdict, check_copy, check_database
from tests.guests.lab.copies import parse_records, snapshots
from tests.guests.lab.process import make_disk

DISKS = ("a", "x")
KINDS: dict[str, Literal["ext4", "xfs"]] = {"a": "ext4", "b": "ext4", "x": "xfs"}
# Gives, for each disk, the image and the internal snapshot in it that are the copy.
Made = dict[str, tuple[Path, str | None]]


@pytest.fixture(params=["drive", "blockdev"])
def writer(boot: Boot, request: pytest.FixtureRequest) -> Guest:
    """A guest with an ext4 and an xfs, attached as Proxmox VE does, and as libvirt does."""
    return boot(name="writer", mounts=DISKS, tools=True, attach=request.param)


def _prove(
    guest: Guest,
    make: Callable[[str], Made],
    end: Callable[[], None] = lambda: None,
    prepare: Callable[[str], None] = lambda _: None,
) -> None:
    """Make copies under a freeze and without one, and hold them against what the guest knows.

    Args:
        guest: where.
        make: makes a copy of this instant; given "cold", under a freeze, then "hot".
        end: waits for its end, while the guest writes again.
        prepare: does what can be done before.
    """
    with guest.append_load(*DISKS) as load, guest.database("a") as database:
        prepare("cold")
        load.wait_for(20)
        with frozen(guest):
            held, committed = load.durable(), database.committed()
            cold = make("cold")
        load.wait_for(20)
        end()
        prepare("hot")
        hot = make("hot")
        load.wait_for(20)
        end()
    checked = {disk: _checked(cold, disk) for disk in DISKS}
    for disk, verdict in checked.items():
        assert verdict.consistent, (disk, verdict.complaints, verdict.said)
        assert verdict.gapless
        assert verdict.last in (held[disk], held[disk] + 1)
    assert checked["a"].last - checked["x"].last in (0, 1)
    rows = check_database(cold["a"][0], snapshot=cold["a"][1])
    assert rows.whole
    assert rows.last >= committed > 0
    for disk in DISKS:
        assert _checked(hot, disk).needs_recovery


def _checked(made: Made, disk: str) -> Verdict:
    path, snapshot = made[disk]
    return check_copy(path, KINDS[disk], snapshot=snapshot)


def test_fact_internal_snapshots_of_one_transaction(writer: Guest) -> None:
    def make(name: str) -> Made:
        kind = "blockdev-snapshot-internal-sync"
        transaction(
            writer, [action(kind, device=node_of(writer, disk), name=name) for disk in DISKS]
        )
        return {disk: (writer.places.disk(disk, "qcow2"), name) for disk in DISKS}

    _prove(writer, make)


def test_fact_external_snapshots_of_one_transaction(writer: Guest, tmp_path: Path) -> None:
    newest = {disk: writer.places.disk(disk, "qcow2") for disk in DISKS}

    def make(name: str) -> Made:
        made: Made = {disk: (path, None) for disk, path in newest.items()}
        over = {disk: tmp_path / f"{name}-{disk}.qcow2" for disk in DISKS}
        actions = [
            action(
                "blockdev-snapshot-sync",
                node_name=node_of(writer, disk),
                snapshot_file=str(over[disk]),
                snapshot_node_name=f"{name}-{disk}",
                format="qcow2",
            )
            for disk in DISKS
        ]
        transaction(writer, actions)
        newest.update(over)
        return made

    _prove(writer, make)


def test_fact_backups_of_one_transaction_are_of_their_start(writer: Guest, tmp_path: Path) -> None:
    def make(name: str) -> Made:
        made: Made = {disk: (tmp_path / f"{name}-{disk}.qcow2", None) for disk in DISKS}
        targets = {disk: add_target(writer, disk, made[disk][0]) for disk in DISKS}
        # Slow enough that they run for long after the thaw, while the guest writes.
        jobs = [backup(writer, disk, targets[disk], speed=4 << 20) for disk in DISKS]
        transaction(writer, jobs, grouped=True)
        return made

    def end() -> None:
        for disk in DISKS:
            assert wait_job(writer, f"backup-{disk}", "running")["status"] == "running"
        for disk in DISKS:
            writer.qmp("block-job-set-speed", device=f"backup-{disk}", speed=0)
        for disk in DISKS:
            assert finish(writer, f"backup-{disk}") is None
            drop_target(writer, disk)

    for disk in DISKS:
        writer.fill(disk, 24 << 20)
    _prove(writer, make, end)


def test_fact_a_ready_mirror_that_is_cancelled_is_a_copy(writer: Guest, tmp_path: Path) -> None:
    nodes = [node_of(writer, disk) for disk in DISKS]

    def prepare(name: str) -> None:
        for disk in DISKS:
            mirror(writer, disk, add_target(writer, disk, tmp_path / f"{name}-{disk}.qcow2"))
        for disk in DISKS:
            wait_job(writer, f"mirror-{disk}", "ready")

    def make(name: str) -> Made:
        for disk in DISKS:
            writer.qmp("block-job-cancel", device=f"mirror-{disk}")
        for disk in DISKS:
            assert finish(writer, f"mirror-{disk}") is None
            drop_target(writer, disk)
        return {disk: (tmp_path / f"{name}-{disk}.qcow2", None) for disk in DISKS}

    _prove(writer, make, prepare=prepare)
    assert [node_of(writer, disk) for disk in DISKS] == nodes, "the guest is on its own disks"


def test_fact_a_completed_mirror_is_what_the_guest_goes_on_with(
    writer: Guest, tmp_path: Path
) -> None:
    sources = {disk: node_of(writer, disk) for disk in DISKS}
    with writer.append_load(*DISKS) as load:
        for disk in DISKS:
            mirror(writer, disk, add_target(writer, disk, tmp_path / f"{disk}.qcow2"))
        for disk in DISKS:
            wait_job(writer, f"mirror-{disk}", "ready")
        with frozen(writer):
            held = load.durable()
            for disk in DISKS:
                writer.qmp("job-complete", id=f"mirror-{disk}")
            for disk in DISKS:
                assert finish(writer, f"mirror-{disk}") is None
        load.wait_for(20)
        assert [node_of(writer, disk) for disk in DISKS] == [f"to-{disk}" for disk in DISKS]
    # The source is the copy then, and the target is written to.
    for disk in DISKS:
        verdict = check_copy(writer.places.disk(disk, "qcow2"), KINDS[disk])
        assert verdict.consistent, verdict.said
        assert verdict.last in (held[disk], held[disk] + 1)
        assert check_copy(tmp_path / f"{disk}.qcow2", KINDS[disk]).needs_recovery
    named = {node["node-name"] for node in writer.qmp("query-named-block-nodes")}
    # Who is named on the command line stays open.
    attached = writer.options.attach == "blockdev"
    assert all((source in named) is attached for source in sources.values())


def test_fact_while_paused_copies_are_of_one_instant_and_need_recovery(
    writer: Guest, tmp_path: Path
) -> None:
    with writer.append_load(*DISKS) as load:
        load.wait_for(20)
        targets = {d: add_target(writer, d, tmp_path / f"{d}.qcow2") for d in DISKS}
        writer.pause()
        transaction(writer, [backup(writer, disk, targets[disk]) for disk in DISKS])
        writer.resume()
        load.wait_for(20)
        for disk in DISKS:
            assert finish(writer, f"backup-{disk}") is None
            drop_target(writer, disk)
    for disk in DISKS:
        assert check_copy(tmp_path / f"{disk}.qcow2", KINDS[disk]).needs_recovery


def test_fact_one_disk_that_can_not_leaves_no_snapshot_on_the_other(
    boot: Boot, tmp_path: Path
) -> None:
    guest = boot(mounts=("a",), tools=True)
    make_disk(tmp_path / "raw", 1 << 20)
    guest.qmp("blockdev-add", driver="file", node_name="raw", filename=str(tmp_path / "raw"))
    kind = "blockdev-snapshot-internal-sync"
    both = [action(kind, device=device, name="one") for device in (node_of(guest, "a"), "raw")]
    with pytest.raises(QmpError, match="not support"):
        transaction(guest, both)
    assert snapshots(guest.places.disk("a", "qcow2")) == []


def test_fact_a_deleted_file_that_is_open_is_an_orphan_in_the_copy(
    boot: Boot, tmp_path: Path
) -> None:
    guest = boot(mounts=DISKS, tools=True)
    for disk in DISKS:
        hold = f"exec 7>/mnt/{disk}/gone; echo gone >&7; rm /mnt/{disk}/gone; sleep 600"
        guest.shell(f"({hold}) >/dev/null 2>&1 &")
    guest.shell("while [ -e /mnt/a/gone ] || [ -e /mnt/x/gone ]; do sleep 0.1; done")
    targets = {disk: add_target(guest, disk, tmp_path / f"{disk}.qcow2") for disk in DISKS}
    with frozen(guest):
        transaction(guest, [backup(guest, disk, targets[disk]) for disk in DISKS])
    for disk in DISKS:
        assert finish(guest, f"backup-{disk}") is None
        drop_target(guest, disk)
    # Mounting it clears that away, on a copy as after any crash; the checkers do not know.
    ext4, xfs = (check_copy(tmp_path / f"{disk}.qcow2", KINDS[disk]) for disk in DISKS)
    assert not ext4.needs_recovery
    assert not ext4.clean
    assert "Deleted inode 13 has zero dtime.  Fix? no" in ext4.complaints
    assert not xfs.needs_recovery
    assert not xfs.clean
    assert any(line.startswith("agi unlinked bucket") for line in xfs.complaints)


@pytest.mark.parametrize("under_a_freeze", [True, False])
def test_fact_a_guest_that_mounts_a_copy_has_it_all_without_recovery(
    boot: Boot, under_a_freeze: bool, tmp_path: Path
) -> None:
    guest = boot(mounts=DISKS, tools=True, attach="blockdev")
    jobs = [
        backup(guest, d, add_target(guest, d, tmp_path / f"{d}.qcow2"), speed=64 << 20)
        for d in DISKS
    ]
    with guest.append_load(*DISKS) as load:
        load.wait_for(50)
        with frozen(guest) if under_a_freeze else nullcontext():
            held = load.durable()
            transaction(guest, jobs)
        for disk in DISKS:
            assert finish(guest, f"backup-{disk}") is None
            drop_target(guest, disk)
    for disk, without_recovery in (("a", "ro,noload"), ("x", "ro,norecovery")):
        last = {}
        for options in (without_recovery, "rw"):
            guest.shell("dmesg -c >/dev/null")
            with mounted(guest, disk, tmp_path / f"{disk}.qcow2", options):
                said = guest.shell("dmesg")
                # Without its journal a crashed copy may not even have the file.
                content = guest.shell(f"cat /mnt/{disk}/counter 2>/dev/null || true")
            records = parse_records(content.encode())
            assert records.gapless
            last[options] = records.last
        # After a recovery everything that was durable is there in any case.
        assert last["rw"] >= held[disk]
        assert (last[without_recovery] == last["rw"]) is under_a_freeze
        if disk == "a":
            assert ("recovery complete" in said) is not under_a_freeze
        else:
            assert "Starting recovery" in said, "an xfs always says so: of its superblock alone"
