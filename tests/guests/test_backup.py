"""Backups of real guests under a write load: consistent, incremental, restored, verified."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from agentclient.model.job import Consistency, FreezePolicy, JobRefusal, JobResult
from tests.guests.backing_up import (
    Backups,
    bitmaps,
    in_the_window,
    node_names,
    nothing_is_left,
    read_manifest,
    restore,
    truth,
)
from tests.guests.command import Frostwatch
from tests.guests.conftest import Boot
from tests.guests.copying import size_of
from tests.guests.lab import PATIENCE_S, Guest, check_copy, check_database
from tests.guests.lab.release import tool
from tests.guests.lab.shell import wait_until
from tests.guests.snapshotting import Photographer

Attach = Literal["drive", "blockdev"]
MANY = 20
# By how much a backup's stall may exceed a bare freeze's, in the median.
MORE_MS = 20.0


@pytest.fixture(scope="module")
def writer(module_boot: Boot) -> Guest:
    """A guest with tools, two ext4 and an xfs, for all tests of this module."""
    return module_boot(name="saved", mounts=("a", "b", "x"), tools=True)


def _check(backups: Backups, count: int) -> None:
    """Make backups under load, and look at each as one would after a restore."""
    guest = backups.guest
    nodes = node_names(guest)
    with guest.append_load("a", "b") as load, guest.append_load("x"), guest.database("b") as rows:
        for _ in range(count):
            load.wait_for(10)
            held: dict[str, int] = {}

            def look(held: dict[str, int] = held) -> None:
                held.update(load.durable())

            _, folder = backups.make(on_event=in_the_window(look))
            committed = rows.committed()
            nothing_is_left(guest, nodes)
            first, second = (check_copy(folder / f"{disk}.qcow2") for disk in "ab")
            for one in (first, second, check_copy(folder / "x.qcow2", "xfs")):
                assert one.consistent, one.said
                assert one.gapless
            # Both disks are of one instant, and have all that was durable then.
            assert first.last - second.last in (0, 1)
            assert held["a"] <= first.last <= held["a"] + 1
            assert held["b"] <= second.last <= held["b"] + 1
            database = check_database(folder / "b.qcow2")
            assert database.whole
            assert 0 < database.last <= committed
    guest.assert_thawed()


def test_backups_under_load_are_consistent(writer: Guest, tmp_path: Path) -> None:
    with Backups(writer, tmp_path / "to") as backups:
        _check(backups, 2)
        assert all(one.ok for one in backups.verify())


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_many_backups_under_load_are_consistent(writer: Guest, tmp_path: Path) -> None:
    with Backups(writer, tmp_path / "to") as backups:
        _check(backups, MANY)
        assert [one.ok for one in backups.verify()] == [True] * MANY


def test_without_a_freeze_it_needs_recovery_and_is_called_so(writer: Guest, tmp_path: Path) -> None:
    with Backups(writer, tmp_path / "to") as backups, writer.append_load("a", "x") as load:
        load.wait_for(30)
        outcome, folder = backups.make("a", "x", policy=FreezePolicy.NEVER)
        (verified,) = backups.verify()
    assert outcome.consistency is Consistency.CRASH_CONSISTENT
    assert "crash-consistent" in outcome.reason
    assert read_manifest(folder)["consistency"] == "crash-consistent"
    assert read_manifest(folder)["window"] is None
    assert check_copy(folder / "a.qcow2").needs_recovery
    assert check_copy(folder / "x.qcow2", "xfs").needs_recovery
    assert verified.ok
    assert verified.manifest is not None
    assert not verified.manifest.certified


@pytest.mark.parametrize("attach", ["drive", pytest.param("blockdev", marks=pytest.mark.soak)])
def test_a_chain_restores_each_window(boot: Boot, attach: Attach, tmp_path: Path) -> None:
    guest = boot(name="chain", mounts=("a", "b"), tools=True, attach=attach)
    truths = []
    name_of = {"drive": "{}", "blockdev": "disk-{}"}[attach].format
    with Backups(guest, tmp_path / "to") as backups, guest.append_load("a", "b") as load:
        for turn in range(3):
            load.wait_for(10)
            # What is discarded and zeroed counts as written as well.
            guest.shell(
                "rm -f /mnt/a/big && dd if=/dev/zero of=/mnt/b/zero bs=1M count=3 2>/dev/null"
                " && dd if=/dev/urandom of=/mnt/a/big bs=1M count=4 conv=fsync 2>/dev/null"
                " && { fstrim /mnt/a || true; }"
            )
            kept: dict[str, bytes] = {}

            def keep(kept: dict[str, bytes] = kept, turn: int = turn) -> None:
                for disk in "ab":
                    kept[name_of(disk)] = truth(guest, disk, tmp_path / f"{turn}-{disk}")

            _, folder = backups.make(
                incremental=turn > 0, compress=turn == 2, on_event=in_the_window(keep)
            )
            truths.append(kept)
            name = f"frostwatch-{read_manifest(folder)['chain']}-{read_manifest(folder)['id']}"
            assert bitmaps(guest) == {"a": [f"{name}-0"], "b": [f"{name}-1"]}
        verified = backups.verify()
        assert [len(one.needs) for one in verified] == [1, 2, 3]
        sizes = [(one.folder / f"{name_of('a')}.qcow2").stat().st_size for one in verified]
        assert sizes[2] < sizes[0]
        for number, one in enumerate(verified):
            restored = restore(one, tmp_path / f"restored-{number}")
            assert restored == truths[number], f"backup {number} is not what its window held"
    guest.assert_thawed()


def test_the_record_of_writes_survives_the_end_of_qemu(boot: Boot, tmp_path: Path) -> None:
    guest = boot(name="ended", mounts=("a",))
    with Backups(guest, tmp_path / "to") as backups:
        _, folder = backups.make()
        name = f"frostwatch-{read_manifest(folder)['chain']}-{read_manifest(folder)['id']}"
        guest.qmp("quit")
    info = subprocess.run(
        ["qemu-img", "info", "-U", "--output=json", str(guest.places.disk("a", "qcow2"))],
        check=True,
        capture_output=True,
    )
    stored = json.loads(info.stdout)["format-specific"]["data"]["bitmaps"]
    assert [(one["name"], "in-use" in one["flags"]) for one in stored] == [(f"{name}-0", False)]


def test_a_record_that_a_killed_qemu_has_left_is_not_relied_on_and_goes_with_a_full_one(
    boot: Boot, tmp_path: Path
) -> None:
    image = tmp_path / "a.qcow2"

    def booted() -> Guest:
        drive = f"if=none,id=a,file={image},format=qcow2"
        extra = ["-drive", drive, "-device", "virtio-blk-pci,drive=a"]
        return boot(name="crashed", mounts=("b",), fresh=True, extra=extra)

    guest = boot(name="crashed", mounts=("a", "b"))
    with Backups(guest, tmp_path / "to") as backups:
        _, first = backups.make("a")
        guest.qmp("quit")  # QEMU stores the record, and marks it as in use when it opens it again
    shutil.copyfile(guest.places.disk("a", "qcow2"), image)
    guest.close()
    booted().kill_qemu()
    again = booted()
    with Backups(again, tmp_path / "to") as backups:
        assert list(bitmaps(again)["a"]) == [recorder(first)]
        refused = backups.start("a", incremental=True).wait(PATIENCE_S)
        assert refused is not None
        assert refused.refusal is JobRefusal.BITMAP
        assert "can't be relied on" in refused.reason
        _, second = backups.make("a", incremental=True, or_full=True)
        assert read_manifest(second)["mode"] == "full"
        assert list(bitmaps(again)["a"]) == [recorder(second)]
        backups.make("a", incremental=True)
        assert all(one.ok for one in backups.verify())


def test_a_disk_stays_the_same_whatever_its_node_is_called(boot: Boot, tmp_path: Path) -> None:
    guest = boot(name="exchanged", mounts=("a", "b"), attach="blockdev")
    kept: dict[str, bytes] = {}

    def keep() -> None:
        for disk in "ab":
            kept[disk] = truth(guest, disk, tmp_path / f"truth-{disk}")

    with Backups(guest, tmp_path / "to") as backups, Photographer(guest) as photographer:
        _, folder = backups.make()
        # As of a frostwatch that called such disks by their nodes.
        manifest = json.loads((folder / "manifest.json").read_text())
        for disk in manifest["disks"]:
            disk["name"] = disk["node"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        guest.shell("echo new > /mnt/a/new; sync")
        outcome, _ = backups.make(incremental=True, on_event=in_the_window(keep))
        assert [one.disk for one in outcome.disks] == ["a", "b"], "what its chain calls them"
        restored = restore(backups.verify()[-1], tmp_path / "restored")
        assert restored == {f"disk-{disk}": kept[disk] for disk in "ab"} or restored == kept
        # An overlay has another node: the disk's own name, and the node's behind, mean the same.
        assert photographer.take("over", external=True, policy=FreezePolicy.NEVER).ok
        for name in ("a", "disk-a"):
            outcome, _ = backups.make(name, policy=FreezePolicy.NEVER, record=False)
            assert [one.disk for one in outcome.disks] == ["disk-a"]
        assert photographer.delete("over", external=True).ok
        _exchange_names(guest)
        backups.make(incremental=True)
        assert all(one.ok for one in backups.verify())


def _exchange_names(guest: Guest) -> None:
    """Have the node of disk a called b, and that of b called a, as after another start."""
    nodes = {"a": "b", "b": "a"}
    guest.pause()
    for disk in nodes:
        guest.qmp(
            "blockdev-add", driver="null-co", node_name=f"no-{disk}", size=size_of(guest, disk)
        )
        place = {"path": f"/machine/peripheral/disk-{disk}", "property": "drive"}
        guest.qmp("qom-set", **place, value=f"no-{disk}")
        guest.qmp("blockdev-del", node_name=disk)
        guest.qmp("blockdev-del", node_name=f"{disk}-file")
    for disk, node in nodes.items():
        file = {"driver": "file", "filename": str(guest.places.disk(disk, "qcow2"))}
        guest.qmp("blockdev-add", driver="qcow2", node_name=node, file=file, discard="unmap")
        place = {"path": f"/machine/peripheral/disk-{disk}", "property": "drive"}
        guest.qmp("qom-set", **place, value=node)
        guest.qmp("blockdev-del", node_name=f"no-{disk}")
    guest.resume()


def test_an_incremental_one_needs_something_to_build_on(writer: Guest, tmp_path: Path) -> None:
    def refused() -> str:
        outcome = backups.start("a", incremental=True).wait(PATIENCE_S)
        assert outcome is not None
        assert outcome.refusal is JobRefusal.BITMAP
        assert outcome.result is JobResult.REFUSED
        assert outcome.window is None
        assert outcome.next == "make a full one: --mode full"
        return outcome.reason

    with Backups(writer, tmp_path / "to") as backups:
        assert "no complete backup" in refused()
        _, folder = backups.make("a")
        backups.make("a", incremental=True)
        (folder / "a.qcow2").rename(tmp_path / "away")
        assert "a.qcow2 can't be opened" in refused()
        (tmp_path / "away").rename(folder / "a.qcow2")
        manifest = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(manifest.replace("drive", "drivE") + " ")
        assert "its chain is broken" in refused()
        (folder / "manifest.json").write_text(manifest)
        for name in bitmaps(writer)["a"]:
            device = next(one for one in writer.qmp("query-block") if one["device"] == "a")
            node = device["inserted"]["node-name"]
            writer.qmp("block-dirty-bitmap-remove", node=node, name=name)
        assert "has not recorded" in refused()
        assert [one.ok for one in backups.verify()] == [True, True]


def test_a_vm_that_was_renamed_ends_the_chain_of_its_former_name(
    writer: Guest, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    with Backups(writer, to) as before, Backups(writer, tmp_path / "elsewhere") as elsewhere:
        _, old = before.make("a")
        elsewhere.make("a")
        (kept,) = set(bitmaps(writer)["a"]) - {recorder(old)}
    with Backups(writer, to, name="renamed") as after:
        refused = after.start("a", incremental=True).wait(PATIENCE_S)
        assert refused is not None
        assert (
            f"it was called {writer.name} then, and has backups in {old.parent}" in refused.reason
        )
        assert (refused.next or "").endswith(f"mv {old.parent} {to}/renamed")
        _, new = after.make("a")
        assert f"the VM was called {writer.name}: no more is recorded" in after.texts
        assert set(bitmaps(writer)["a"]) == {kept, recorder(new)}, "that of another folder stays"
        after.make("a", incremental=True)
        assert all(one.ok for one in after.verify())


def recorder(folder: Path) -> str:
    """Return the bitmap that records since the backup of one disk."""
    (disk,) = read_manifest(folder)["disks"]
    return str(disk["bitmap"])


def test_a_raw_disk_has_full_backups_alone(boot: Boot, tmp_path: Path) -> None:
    guest = boot(name="rawly", mounts=("a",), disk_format="raw")
    with Backups(guest, tmp_path / "to") as backups:
        _, folder = backups.make()
        assert "no incremental backup can be built on this one" in backups.texts
        outcome = backups.start(incremental=True).wait(PATIENCE_S)
        assert outcome is not None
        assert outcome.refusal is JobRefusal.BITMAP
        assert "raw" in outcome.reason
        assert check_copy(folder / "a.qcow2").consistent
        (verified,) = backups.verify()
        assert verified.ok


def test_what_a_copy_lacks_and_what_is_in_the_clear_is_told(boot: Boot, tmp_path: Path) -> None:
    """A card that can be changed, a disk that the guest can't write to, and an encrypted image."""
    card, fixed, vault = (tmp_path / name for name in ("card.raw", "fixed.raw", "vault.luks"))
    for path in (card, fixed):
        path.write_bytes(bytes(4 << 20))
    secret = ["--object", "secret,id=key,data=abc"]
    luks = ["-f", "luks", "-o", "key-secret=key,iter-time=10", str(vault), "4M"]
    command = ["qemu-img", "create", "-q", *secret, *luks]
    # It measures how quick the CPU is, and fails where others use it as well.
    wait_until(lambda: subprocess.run(command).returncode == 0, PATIENCE_S, "an encrypted image")
    guest = boot(
        name="lacking",
        mounts=("a",),
        fresh=True,
        extra=[
            *("-drive", f"if=none,id=card,file={card},format=raw"),
            *("-device", "sdhci-pci", "-device", "sd-card,drive=card"),
            *("-drive", f"if=none,id=fixed,file={fixed},format=raw,read-only=on"),
            *("-device", "virtio-blk-pci,drive=fixed"),
            *("-object", "secret,id=key,data=abc"),
            *("-drive", f"if=none,id=vault,file={vault},format=luks,key-secret=key"),
            *("-device", "virtio-blk-pci,drive=vault"),
        ],
    )
    with Backups(guest, tmp_path / "to") as backups:
        outcome, folder = backups.make()
        assert [str(one.disk) for one in outcome.disks] == ["a", "vault"]
        assert [one.in_the_clear for one in outcome.disks] == [False, True]
        found = read_manifest(folder)
        assert found["left_out"] == [
            {"disk": "card", "why": "removable"},
            {"disk": "fixed", "why": "read-only"},
        ]
        assert [one["in_the_clear"] for one in found["disks"]] == [False, True]
        assert "the medium in card is left out, though the guest can write to it" in backups.texts
        assert "the disk fixed is left out: the guest can't write to it" in backups.texts
        assert "the image of vault is encrypted, and its copy is not" in backups.texts
        assert all(one.ok for one in backups.verify())


def test_on_the_command_line(writer: Guest, tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.mkdir()
    frostwatch = Frostwatch(writer)
    code, events, _ = frostwatch.run("backup", writer.name, "--to", str(to), "--disk", "a")
    assert code == 0
    last = events[-1]
    assert last["event"] == "job"
    assert (last["job"], last["ok"], last["consistency"]) == ("backup", True, "consistent")
    (disk,) = last["disks"]
    manifest = read_manifest(Path(disk["target"]).parent)
    assert disk["checksum"] == manifest["disks"][0]["sha256"]
    assert manifest["window"] == last["window"]
    code, found, _ = frostwatch.run("backup", "verify", str(to))
    assert code == 0
    assert found[0]["ok"] is True
    Path(disk["target"]).write_bytes(b"no image")
    code, found, _ = frostwatch.run("backup", "verify", str(to))
    assert code == 1
    assert "bytes, and the manifest says" in found[0]["problems"][0]


def test_an_operators_week_of_backups(writer: Guest, tmp_path: Path) -> None:
    """Made, listed, restored and pruned on the command line alone."""
    to, told = tmp_path / "to", []
    to.mkdir()
    frostwatch = Frostwatch(writer)
    words = ("backup", writer.name, "--to", str(to), "--disk", "a", "--mode", "auto")
    for turn in range(3):
        writer.shell(f"echo {turn} > /mnt/a/turn; sync")
        code, events, _ = frostwatch.run(*words)
        assert code == 0
        told.append([one["text"] for one in events if one["event"] == "note"])
    assert any("a full backup is made" in text for text in told[0])
    assert not any("a full backup is made" in text for text in (*told[1], *told[2]))
    code, _, _ = frostwatch.run("mirror", writer.name, "--to", str(to), "--disk", "a")
    assert code == 0
    code, listed, _ = frostwatch.run("backup", "list", str(to))
    assert code == 0
    assert [one["mode"] for one in listed] == ["full", "incremental", "incremental", "full"]
    assert [one["kind"] for one in listed] == ["backup", "backup", "backup", "mirror"]
    assert all(one["complete"] and one["consistency"] == "consistent" for one in listed)
    for number in (1, 3):
        new = tmp_path / f"new-{number}"
        code, _, _ = frostwatch.run(
            "backup", "restore", listed[number]["backup"], "--to", str(new), "--format", "raw"
        )
        assert code == 0
        assert check_copy(new / "a.raw").clean
        turn = 2 if number == 3 else number
        read = [tool("debugfs") or "debugfs", "-R", "cat /turn", str(new / "a.raw")]
        said = subprocess.run(read, check=True, capture_output=True, text=True).stdout
        assert said == f"{turn}\n"
    code, pruned, _ = frostwatch.run("backup", "prune", str(to), "--keep", "1")
    assert code == 0
    assert {one["action"] for one in pruned} == {"kept"}  # the next incremental one builds on them
    assert frostwatch.run(*words)[0] == 0
    code, found, _ = frostwatch.run("backup", "verify", str(to))
    assert code == 0
    assert len(found) == 5
    assert frostwatch.run("backup", writer.name, "--to", str(to), "--disk", "a")[0] == 0
    code, pruned, _ = frostwatch.run("backup", "prune", str(to), "--keep", "1")
    assert code == 0
    assert [one["action"] for one in pruned] == ["kept"] + ["deleted"] * 5
    code, found, _ = frostwatch.run("backup", "verify", str(to))
    assert (code, len(found)) == (0, 1)


@pytest.mark.soak
@pytest.mark.alone
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fleece", ["auto", "off"])
def test_the_write_stall_of_a_backup_is_that_of_a_bare_freeze(
    writer: Guest, fleece: Literal["auto", "off"], tmp_path: Path
) -> None:
    """Without a fleece the copies begin in the window: what QEMU takes for that is told."""
    bare: list[float] = []
    copied: list[float] = []
    starts: list[float] = []
    every = writer.append_load("a", "b", pause_ms=0)
    with Backups(writer, tmp_path / "to") as backups, every as load:
        for _ in range(MANY):
            for kind in (bare, copied):
                load.wait_for(15)
                since = load.counter()
                if kind is bare:
                    backups.freeze()
                else:
                    backups.make(fleece=fleece)
                    starts.append(backups.started_in_ms())
                load.wait_for(15)
                kind.append(load.stalls(since=since).worst_ms)
    more = statistics.median(copied) - statistics.median(bare)
    print(
        f"fleece {fleece}: write stall, median and worst of {MANY}: bare freeze and thaw "
        f"{statistics.median(bare):.0f} and {max(bare):.0f} ms, backup "
        f"{statistics.median(copied):.0f} and {max(copied):.0f} ms: {more:+.0f} ms, of which the "
        f"copies' begin {statistics.median(starts):.0f} ms"
    )
    assert more < MORE_MS + (statistics.median(starts) if fleece == "off" else 0.0)
