"""What a dead frostwatch has left: what is ended and deleted, and what is never touched."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import cast

import pytest

from agentclient.access.host.process import process_of
from agentclient.access.monitor import Monitor
from agentclient.jobs import cancel, left
from agentclient.jobs.archive import Begun, write_begun
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.chain import PREFIX
from agentclient.jobs.left import Cleared, LeftCopy, clear, find_copies
from agentclient.jobs.opened import inode, written_by
from agentclient.jobs.snapshots.names import RECORD_SUFFIX
from agentclient.model.vm import Process
from agentclient.protocol.job_names import CLAIM, JobId
from tests.unit.fake_qemu import FakeJob, FakeQemu

DEAD = Process(7, 9)
BACKUP = JobId("backup", DEAD, "abcdef01")


@pytest.fixture
def qemu() -> FakeQemu:
    return FakeQemu()


@pytest.fixture
def block(qemu: FakeQemu, monkeypatch: pytest.MonkeyPatch) -> BlockLayer:
    monkeypatch.setattr(cancel, "TICK_S", 0.0)
    return BlockLayer(cast(Monitor, qemu))


def _find(block: BlockLayer, *, gone: bool | None = True) -> LeftCopy:
    (copy,) = find_copies(block, lambda _: gone)
    return copy


def _target(
    qemu: FakeQemu, path: Path, monkeypatch: pytest.MonkeyPatch, name: JobId = BACKUP
) -> None:
    """Let QEMU have a target open."""
    path.write_bytes(b"x")
    qemu.nodes[name.node("t0-f")] = str(path)
    qemu.nodes[name.node("t0")] = str(path)
    opened = {inode(path): str(path)}
    monkeypatch.setattr(left, "names_of_opened", lambda _: opened)
    monkeypatch.setattr(left, "written_by", lambda _: frozenset(opened))


def test_an_incomplete_copy_is_ended_and_its_file_deleted(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _target(qemu, tmp_path / "a", monkeypatch)
    job = BACKUP.job(0)
    qemu.jobs[job] = FakeJob(job, "backup", 100, 40, stalls=True)
    copy = _find(block)
    assert str(copy) == "a backup of frostwatch (pid 7, which has ended): 40 % copied"
    cleared = clear(block, copy, None)
    assert cleared == Cleared((str(tmp_path / "a"),), (), ())
    assert (qemu.jobs, qemu.nodes, list(tmp_path.iterdir())) == ({}, {}, [])
    assert find_copies(block, lambda _: True) == ()


def test_a_complete_copy_is_kept(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _target(qemu, tmp_path / "a", monkeypatch)
    job = BACKUP.job(0)
    qemu.jobs[job] = FakeJob(job, "backup", 100, 100, "concluded")
    cleared = clear(block, _find(block), None)
    assert (cleared.removed, cleared.kept, cleared.left) == ((), (str(tmp_path / "a"),), ())
    assert (tmp_path / "a").exists()


def test_a_file_that_took_its_place_is_not_deleted(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _target(qemu, tmp_path / "a", monkeypatch)
    copy = _find(block)
    monkeypatch.setattr(left, "names_of_opened", lambda _: {})
    monkeypatch.setattr(left, "written_by", lambda _: frozenset())
    assert clear(block, copy, None).removed == ()
    assert (tmp_path / "a").exists()


def test_a_file_that_its_qemu_can_only_read_is_not_deleted(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path
) -> None:
    """A user's own QEMU can call any file a copy's that it may read: /etc/passwd, say."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for number, path in enumerate((theirs, ours)):
        path.write_bytes(b"x")
        qemu.nodes[BACKUP.node(f"t{number}-f")] = str(path)
    process = process_of(os.getpid())
    with theirs.open("rb"), ours.open("r+b"), Path("/dev/null").open("r+b") as null:
        assert inode(Path(null.name)) not in (written_by(process) or ()), "it is no plain file"
        cleared = clear(block, _find(block), process)
    assert cleared.removed == (str(ours),)
    assert any(str(theirs) in clause for clause in cleared.left)
    assert (theirs.exists(), ours.exists()) == (True, False)


def test_a_file_that_was_moved_away_is_named_with_what_qemu_has_open(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _target(qemu, tmp_path / "a", monkeypatch)
    (tmp_path / "a").rename(tmp_path / "away")
    names = {(1, 2): str(tmp_path / "away"), (1, 3): "/dev/kvm", (1, 4): "", (1, 5): "socket:[1]"}
    monkeypatch.setattr(left, "names_of_opened", lambda _: names)
    cleared = clear(block, _find(block), None)
    (clause,) = cleared.left
    assert f"the incomplete file {tmp_path / 'a'}, if it was moved away" in clause
    assert clause.endswith(f"QEMU has open {tmp_path / 'away'}")
    assert (tmp_path / "away").exists()


def test_a_node_that_a_disk_needs_stays_with_its_file(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _target(qemu, tmp_path / "a", monkeypatch)
    qemu.refuses["blockdev-del"] = "Node is in use"
    cleared = clear(block, _find(block), None)
    assert (cleared.removed, len(cleared.left)) == ((), 2)
    assert (tmp_path / "a").exists()


def test_the_overlay_of_a_snapshot_is_named_and_never_deleted(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = JobId("snapshot", DEAD, "abcdef01")
    _target(qemu, tmp_path / "a", monkeypatch, snapshot)
    qemu.jobs[snapshot.job("t0")] = FakeJob(snapshot.job("t0"), "create", 1, 1, "concluded")
    cleared = clear(block, _find(block), None)
    assert (cleared.removed, cleared.kept) == ((), ())
    (clause,) = cleared.left
    assert clause.startswith(f"the overlay {tmp_path / 'a'}, which no disk of the VM uses")
    assert (tmp_path / "a").exists()


def test_a_claim_alone_is_nothing_that_was_left(qemu: FakeQemu, block: BlockLayer) -> None:
    qemu.nodes[BACKUP.node(CLAIM)] = ""
    assert find_copies(block, lambda _: True) == ()
    assert _find(block, gone=False).running


def _backup_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "20260301T000000Z"
    folder.mkdir()
    write_begun(folder, Begun("0123abcd", "89ab4567"))
    return folder


def test_the_folder_and_the_bitmaps_of_a_backup_go_with_it(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _backup_folder(tmp_path)
    _target(qemu, folder / "a.qcow2", monkeypatch)
    mine, others = f"{PREFIX}89ab4567-0123abcd-0", f"{PREFIX}89ab4567-11111111-0"
    qemu.bitmaps["#blocka"] = {name: {"name": name} for name in (mine, others)}
    cleared = clear(block, _find(block), None)
    assert cleared.removed == (str(folder / "a.qcow2"), f"the bitmap {mine}", str(folder))
    assert cleared.left == ()
    assert (list(qemu.bitmaps["#blocka"]), list(tmp_path.iterdir())) == ([others], [])


def test_a_folder_in_which_somebody_has_put_a_file_is_named_and_stays_what_it_is(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _backup_folder(tmp_path)
    _target(qemu, folder / "a.qcow2", monkeypatch)
    (folder / "notes").write_text("mine")
    cleared = clear(block, _find(block), None)
    assert cleared.left == (f"the folder {folder} (Directory not empty)",)
    assert sorted(one.name for one in folder.iterdir()) == ["begun.json", "notes"]


def _overlay(path: Path, first: int) -> None:
    """Write the head and the table of an image that has one behind it."""
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 72, 4, 16, 1 << 26, 0, 1, 80, 0, 0, 0, 0)
    path.write_bytes(head + b"base" + bytes(4) + struct.pack(">Q", first))


@pytest.mark.parametrize("first", [0, 1 << 20])
def test_an_overlay_goes_with_its_record_if_it_certainly_holds_nothing(
    qemu: FakeQemu,
    block: BlockLayer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: int,
) -> None:
    overlay, record = tmp_path / "a.s1.qcow2", tmp_path / f"web1.s1{RECORD_SUFFIX}"
    _target(qemu, overlay, monkeypatch, JobId("snapshot", DEAD, "abcdef01"))
    _overlay(overlay, first)
    part = {"disk": "a", "file": "/images/a.qcow2", "overlay": str(overlay)}
    facts = {"name": "s1", "kind": "external", "disks": [part], "began": None, "taken": None}
    record.write_text(json.dumps({**facts, "consistency": None, "reason": "it is being taken"}))
    cleared = clear(block, _find(block), None)
    if first:
        assert cleared.removed == ()
        (first_clause, second_clause) = cleared.left
        assert str(overlay) in first_clause
        assert str(record) in second_clause
    else:
        assert (cleared.removed, cleared.left) == ((str(overlay), str(record)), ())
    assert (overlay.exists(), record.exists()) == (bool(first), bool(first))


@pytest.mark.parametrize(
    ("status", "filtered", "resumed"),
    [("io-error", False, True), ("io-error", True, False), ("paused", False, False)],
)
def test_a_vm_that_its_copy_has_stopped_goes_on_and_no_other(
    qemu: FakeQemu, block: BlockLayer, status: str, filtered: bool, resumed: bool
) -> None:
    job = BACKUP.job(0)
    qemu.jobs[job] = FakeJob(job, "backup", 100, 40, stalls=True)
    qemu.running, qemu.stopped_at = False, status
    if filtered:
        qemu.nodes[BACKUP.node("c0")] = ""
    assert clear(block, _find(block), None).resumed is resumed
    assert qemu.running is resumed


def test_a_vm_whose_copy_cannot_be_ended_is_told_to_stand_still(
    qemu: FakeQemu, block: BlockLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "ENDS_WITHIN_S", 0.05)
    job = BACKUP.job(0)
    qemu.jobs[job] = FakeJob(job, "backup", 100, stalls=True)
    qemu.refuses = {"job-cancel": "busy", "block-job-cancel": "busy"}
    qemu.running, qemu.stopped_at = False, "io-error"
    cleared = clear(block, _find(block), None)
    assert not cleared.resumed
    assert "io-error" in cleared.left[-1]
    assert not qemu.running


@pytest.mark.parametrize("gone", [False, None])
def test_what_is_not_proven_to_be_left_is_not_touched(
    qemu: FakeQemu, block: BlockLayer, gone: bool | None
) -> None:
    job = BACKUP.job(0)
    qemu.jobs[job] = FakeJob(job, "backup", 100)
    with pytest.raises(ValueError, match="is not left"):
        clear(block, _find(block, gone=gone), None)
    assert job in qemu.jobs
    assert "job-cancel" not in qemu.asked


def test_jobs_of_others_are_none_of_ours(qemu: FakeQemu, block: BlockLayer) -> None:
    qemu.jobs["drive0"] = FakeJob("drive0", "backup", 100)
    qemu.nodes["libvirt-1-storage"] = "/images/a"
    assert find_copies(block) == ()


def test_a_job_that_does_not_end_is_told_and_keeps_its_file(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "ENDS_WITHIN_S", 0.05)
    _target(qemu, tmp_path / "a", monkeypatch)
    job = BACKUP.job(0)
    qemu.jobs[job] = FakeJob(job, "backup", 100, stalls=True)
    qemu.refuses = {"job-cancel": "busy", "block-job-cancel": "busy"}
    cleared = clear(block, _find(block), None)
    assert "QEMU may go on" in cleared.left[0]
    assert (tmp_path / "a").exists()
