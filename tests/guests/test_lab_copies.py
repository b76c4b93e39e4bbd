"""The lab tests what it proves copies with: guests that write, and the look at a copy."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Literal

import pytest

from tests.guests.conftest import Boot
from tests.guests.copying import frozen, node_of
from tests.guests.lab import Guest, LabError, ShellError, check_copy, check_database
from tests.guests.lab.copies import Records, parse_records, raw_copy, read_file
from tests.guests.lab.process import copy_disk
from tests.guests.lab.release import tool

Attach = Literal["drive", "blockdev"]


@pytest.fixture(scope="module")
def writer(module_boot: Boot) -> Guest:
    """A guest with tools, two ext4 and an xfs, for all tests of this module."""
    return module_boot(name="writer", mounts=("a", "b", "x"), tools=True)


def _copied(guest: Guest, disk: str, folder: Path) -> Path:
    """What a paused guest's disk holds, without its QEMU's help."""
    source = guest.places.disk(disk, guest.options.disk_format)
    folder.mkdir(exist_ok=True)
    target = folder / source.name
    guest.pause()
    copy_disk(source, target)
    guest.resume()
    return target


@pytest.mark.parametrize("attach", ["drive", "blockdev"])
@pytest.mark.parametrize("disk_format", ["qcow2", "raw"])
def test_disks_are_attached_in_either_way(
    boot: Boot, attach: Attach, disk_format: Literal["qcow2", "raw"]
) -> None:
    guest = boot(mounts=("a", "x"), attach=attach, disk_format=disk_format)
    kinds = [line.split()[1:3] for line in guest.shell("grep /mnt /proc/mounts").splitlines()]
    assert kinds == [["/mnt/a", "ext4"], ["/mnt/x", "xfs"]]
    drives = [device["device"] for device in guest.qmp("query-block")]
    assert drives == (["a", "x"] if attach == "drive" else ["", ""])
    assert (node_of(guest, "a") == "a") is (attach == "blockdev")
    names = {node["node-name"]: node["drv"] for node in guest.qmp("query-named-block-nodes")}
    assert names[node_of(guest, "x")] == disk_format
    guest.throttle(1 << 20, "a")
    started = time.monotonic()
    guest.fill("a", 2 << 20)
    assert time.monotonic() - started > 1.0
    with frozen(guest):
        assert guest.frozen_mounts() == {"a", "x"}
    guest.assert_thawed()


def test_without_tools_there_is_no_load(guest: Guest) -> None:
    with pytest.raises(LabError, match="no tools"), guest.append_load("a"):
        pass
    with pytest.raises(LabError, match="no tools"), guest.database("a"):
        pass


def test_a_load_that_cannot_write_says_so(writer: Guest) -> None:
    with pytest.raises(ShellError, match="/mnt/y/nowhere"), writer.append_load("y/nowhere"):
        pass


@pytest.mark.parametrize(("disk", "fs"), [("a", "ext4"), ("x", "xfs")])
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_copy_under_a_freeze_is_consistent_and_one_without_is_not(
    writer: Guest,
    disk: str,
    fs: Literal["ext4", "xfs"],
    mode: Literal["wal", "delete"],
    tmp_path: Path,
) -> None:
    with writer.append_load("a", "x") as load, writer.database(disk, mode) as database:
        load.wait_for(30)
        with frozen(writer):
            durable, committed = load.durable(), database.committed()
            copy = _copied(writer, disk, tmp_path / "copy")
        load.wait_for(30)
        crashed = _copied(writer, disk, tmp_path / "crashed")
    verdict = check_copy(copy, fs)
    assert verdict.consistent, verdict.said
    assert verdict.last in (durable[disk], durable[disk] + 1)
    assert verdict.gapless
    rows = check_database(copy, fs)
    assert rows.whole
    assert rows.last >= committed > 0
    control = check_copy(crashed, fs)
    assert control.needs_recovery
    assert not control.consistent


def test_two_disks_differ_by_one_record_at_most(writer: Guest, tmp_path: Path) -> None:
    with writer.append_load("a", "b") as load:
        load.wait_for(20)
        with frozen(writer):
            held = load.durable()
            copies = [_copied(writer, disk, tmp_path) for disk in "ab"]
    first, second = (check_copy(copy).last for copy in copies)
    assert first - second in (0, 1)
    assert held["a"] <= first <= held["a"] + 1


def test_a_stall_is_a_gap_in_the_records(writer: Guest) -> None:
    with writer.append_load("a", "b") as load:
        load.wait_for(20)
        begun = load.counter()
        writer.freeze_inside("b")
        time.sleep(1.0)
        held = load.durable()
        assert load.durable() == held
        assert load.stalls(over_ms=900.0, since=begun).worst_ms > 900.0, "it lasts"
        writer.thaw_inside("b")
        load.wait_for(20)
        stalls = load.stalls(over_ms=900.0, since=begun)
    (stall,) = stalls.each
    assert (stall.after, stall.mount) == (held["a"], "a")
    assert 1000.0 < stall.ms == stalls.worst_ms < 6000.0
    assert 0.0 < stalls.usual_ms < 100.0
    assert stalls.count > 20
    assert load.stalls(since=10**9).count == 0
    assert load.stalls(since=begun).worst_ms == stalls.worst_ms, "the end of the load is no gap"


def test_writers_end_with_their_context_and_leave_their_files(writer: Guest) -> None:
    with writer.append_load("b") as load, writer.database("b"):
        load.wait_for(5)
    assert writer.shell("pidof perl sqlite3 || echo none") == "none\n"
    assert {"counter", "churn", "rows.db"} <= set(writer.shell("ls /mnt/b").split())
    with writer.append_load("b", churn=False) as again:
        assert again.counter() < 100


@pytest.mark.parametrize(("disk", "fs"), [("a", "ext4"), ("x", "xfs")])
def test_files_are_read_out_of_a_copy(
    writer: Guest, disk: str, fs: Literal["ext4", "xfs"], tmp_path: Path
) -> None:
    writer.shell(f"mkdir -p /mnt/{disk}/folder && seq 9000 >/mnt/{disk}/folder/numbers")
    writer.shell(f"truncate -s 200k /mnt/{disk}/folder/numbers; : >/mnt/{disk}/empty")
    with frozen(writer):
        copy = _copied(writer, disk, tmp_path)
    numbers = "".join(f"{n}\n" for n in range(1, 9001)).encode()
    assert read_file(copy, "folder/numbers", fs) == numbers.ljust(200 << 10, b"\0")
    assert read_file(copy, "empty", fs) == b""
    assert read_file(copy, "folder/none", fs) is None


@pytest.mark.parametrize(("disk", "fs"), [("a", "ext4"), ("x", "xfs")])
def test_damage_is_found(
    writer: Guest, disk: str, fs: Literal["ext4", "xfs"], tmp_path: Path
) -> None:
    writer.shell(f"mkdir -p /mnt/{disk}/victim && touch /mnt/{disk}/victim/inside")
    with frozen(writer):
        copy = _copied(writer, disk, tmp_path)
    assert check_copy(copy, fs).consistent
    raw = raw_copy(copy, tmp_path)
    if fs == "ext4":
        damage = ["debugfs", "-w", "-R", "clri /victim", str(raw)]
    else:
        path = ["-c", "path /victim", "-c", "write core.nlinkv2 77"]
        damage = ["xfs_db", "-x", "-f", *path, str(raw)]
    subprocess.run([tool(damage[0]) or damage[0], *damage[1:]], check=True, capture_output=True)
    verdict = check_copy(raw, fs)
    assert not verdict.clean
    assert verdict.complaints
    assert not verdict.consistent


def test_records_with_a_gap_or_anything_else_are_told() -> None:
    def record(counter: int) -> bytes:
        return b"%010d %020d\n" % (counter, 1000 * counter)

    assert parse_records(b"") == Records(0, gapless=True)
    assert parse_records(record(1) + record(2)) == Records(2, gapless=True)
    assert parse_records(record(1) + record(3)) == Records(3, gapless=False)
    assert parse_records(record(2)) == Records(2, gapless=False)
    assert parse_records(record(1) + record(2)[:-1]) == Records(1, gapless=False)
    assert parse_records(record(1) + bytes(32)) == Records(1, gapless=False)
