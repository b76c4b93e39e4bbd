"""What a dead frostwatch has left: what is ended and deleted, and what is never touched."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from agentclient.access.monitor import Monitor
from agentclient.jobs import cancel, left
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.left import LeftCopy, clear, find_copies
from agentclient.jobs.targets import inode
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
    opened = frozenset({inode(path)})
    monkeypatch.setattr(left, "opened_by", lambda _: opened)


def test_an_incomplete_copy_is_ended_and_its_file_deleted(
    qemu: FakeQemu, block: BlockLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _target(qemu, tmp_path / "a", monkeypatch)
    job = BACKUP.job(0)
    qemu.jobs[job] = FakeJob(job, "backup", 100, 40, stalls=True)
    copy = _find(block)
    assert str(copy) == "a backup of frostwatch (pid 7, which has ended): 40 % copied"
    cleared = clear(block, copy, None)
    assert cleared == ((str(tmp_path / "a"),), (), ())
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
    monkeypatch.setattr(left, "opened_by", lambda _: frozenset())
    assert clear(block, copy, None).removed == ()
    assert (tmp_path / "a").exists()


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
    assert cleared.left == (f"the overlay {tmp_path / 'a'}, which no disk of the VM uses",)
    assert (tmp_path / "a").exists()


def test_a_claim_alone_is_nothing_that_was_left(qemu: FakeQemu, block: BlockLayer) -> None:
    qemu.nodes[BACKUP.node(CLAIM)] = ""
    assert find_copies(block, lambda _: True) == ()
    assert _find(block, gone=False).running


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
