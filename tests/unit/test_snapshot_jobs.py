"""Taking and deleting snapshots without a guest: what fails, and what is left."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentclient.access.host.process import process_of
from agentclient.jobs.opened import inode
from agentclient.jobs.snapshots import create
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.snapshots.deletion import DeletionRequest, SnapshotDeletion, files_of
from agentclient.jobs.snapshots.external import ExternalSnapshot
from agentclient.jobs.snapshots.fold import Fold
from agentclient.jobs.snapshots.internal import InternalSnapshot
from agentclient.model.disk_snapshot import SnapshotDisk
from agentclient.model.job import Consistency, FreezePolicy, JobRefusal, JobResult
from agentclient.model.vm import MonitorChannel
from tests.unit.copy_harness import BROKEN, VERIFIED, FakeFreeze
from tests.unit.snapshot_harness import SnapshotHarness

# -- taking ----------------------------------------------------------------------------------------


def test_all_disks_are_taken_in_one_transaction_and_it_is_kept() -> None:
    harness = SnapshotHarness()
    kept: list[dict[str, Any]] = []
    freeze = FakeFreeze(VERIFIED, VERIFIED._replace(certified=True, settled=True))
    freeze.context.entry = SimpleNamespace(copied=kept.append)
    harness.freeze = lambda: freeze
    outcome = harness.take()
    assert (outcome.result, outcome.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
    assert harness.images.inside == {"a": ["s1"], "b": ["s1"]}
    assert harness.images.asked.count("transaction") == 1
    assert [one.target for one in outcome.disks] == [None, None]
    (facts,) = kept
    assert (facts["name"], facts["consistency"]) == ("s1", "consistent")
    assert json.loads(json.dumps(facts)) == facts


def test_one_disk_alone_and_a_name_that_exists() -> None:
    harness = SnapshotHarness()
    assert harness.take(disks=("b",)).ok
    assert harness.images.inside == {"b": ["s1"]}
    harness.images.asked.clear()
    refused = harness.take(disks=("a",))
    assert harness.images.asked.count("query-block") == 2, "the claim, and the choice"
    assert (refused.refusal, len(harness.freezes)) == (JobRefusal.NAME, 1)
    assert refused.next == (
        "choose another name, or delete that one: frostwatch snapshot delete qemu:web1 s1"
    )


@pytest.mark.parametrize(
    ("format_", "file", "step"),
    [
        ("raw", "/images/{}.raw", "--external"),
        ("raw", "rbd:pool/{}", "rbd snap create"),
        ("raw", 'json:{{"driver": "raw", "file": {{"driver": "rbd"}}}}', "rbd snap create"),
        ("vmdk", "/images/{}.vmdk", "--external"),
    ],
)
def test_a_format_without_snapshots_is_refused(format_: str, file: str, step: str) -> None:
    harness = SnapshotHarness()
    harness.images.format, harness.images.file = format_, file
    refused = harness.take()
    assert (refused.result, refused.refusal) == (JobResult.REFUSED, JobRefusal.RAW_DISK)
    assert step in (refused.next or "")
    assert f"a is {format_}" in refused.reason
    assert harness.freezes == []


@pytest.mark.parametrize("made", [InternalSnapshot, ExternalSnapshot])
def test_a_qemu_that_lacks_a_command_is_too_old(
    made: type[InternalSnapshot] | type[ExternalSnapshot],
) -> None:
    for name in ("transaction", made.needed[0]):
        harness = SnapshotHarness()
        harness.images.commands.remove(name)
        external = made is ExternalSnapshot
        request = SnapshotRequest(name="s1", external=external)
        outcome = made(harness.context(), request).run()
        assert (outcome.result, outcome.refusal) == (JobResult.REFUSED, JobRefusal.TOO_OLD)
        assert name in outcome.reason
        assert harness.freezes == []


def test_an_encrypted_image_takes_no_overlay_in_the_clear() -> None:
    harness = SnapshotHarness()
    harness.images.encrypted = True
    job = ExternalSnapshot(harness.context(), SnapshotRequest(name="s1", external=True))
    outcome = job.run()
    assert outcome.refusal is JobRefusal.TARGET
    assert "the image of a is encrypted" in outcome.reason
    assert harness.take().ok


def test_an_image_that_is_no_file_of_this_host_takes_no_overlay(tmp_path: Path) -> None:
    harness = SnapshotHarness()
    for file in ("rbd:pool/{}", str(tmp_path / "missing-{}"), "/dev/null"):
        harness.images.file = file
        job = ExternalSnapshot(harness.context(), SnapshotRequest(name="s1", external=True))
        outcome = job.run()
        assert (outcome.refusal, outcome.left) == (JobRefusal.TARGET, ())
    assert "--to DIR" in (outcome.next or "")
    assert harness.freezes == []


def test_a_refused_transaction_leaves_nothing_and_deletes_nothing() -> None:
    harness = SnapshotHarness()
    harness.images.refuses["transaction"] = "Snapshot with name 's1' already exists"
    harness.images.on_ask = lambda ask: (
        harness.images.inside.update(b=["s1"]) if ask.command == "transaction" else None
    )
    outcome = harness.take()
    assert (outcome.result, outcome.left) == (JobResult.FAILED, ())
    assert "already exists" in outcome.reason
    assert harness.images.inside == {"b": ["s1"]}


def test_what_was_taken_after_the_answer_was_given_up_is_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = SnapshotHarness()
    harness.images.too_late = True
    outcome = harness.take()
    assert (outcome.result, outcome.left) == (JobResult.FAILED, ())
    assert harness.images.inside == {"a": [], "b": []}
    assert any("is deleted again" in event.text for event in harness.events)


@pytest.mark.parametrize("gone", [True, None])
def test_where_it_cant_be_found_out_what_may_be_left_is_named(
    monkeypatch: pytest.MonkeyPatch, gone: bool | None
) -> None:
    monkeypatch.setattr(create, "FOUND_OUT_WITHIN_S", 0.3)
    harness = SnapshotHarness()
    harness.access.gone = gone
    harness.images.on_ask = lambda ask: (
        harness.images.hangs.update({"transaction", "query-block"})
        if ask.command == "transaction"
        else None
    )
    outcome = harness.take()
    assert outcome.result is JobResult.FAILED
    assert len(outcome.left) == 2
    assert "qemu-img snapshot -d s1 /images/a.qcow2" in outcome.left[0]


def test_an_uncertified_one_is_undone_or_kept_and_marked_as_the_policy_says() -> None:
    harness = SnapshotHarness()
    harness.freeze = lambda: FakeFreeze(VERIFIED, BROKEN)
    outcome = harness.take()
    assert (outcome.result, outcome.left) == (JobResult.FAILED, ())
    assert harness.images.inside == {"a": [], "b": []}
    kept = harness.take(policy=FreezePolicy.PREFER)
    assert (kept.ok, kept.consistency) == (True, Consistency.CRASH_CONSISTENT)
    assert harness.images.inside == {"a": ["s1"], "b": ["s1"]}


def test_what_cant_be_deleted_again_is_named() -> None:
    harness = SnapshotHarness()
    harness.freeze = lambda: FakeFreeze(VERIFIED, BROKEN)
    harness.images.refuses["blockdev-snapshot-delete-internal-sync"] = "No space left on device"
    outcome = harness.take()
    assert [one.split(" (")[0] for one in outcome.left] == [
        "the snapshot s1 on a",
        "the snapshot s1 on b",
    ]


# -- deleting --------------------------------------------------------------------------------------


def test_a_deletion_freezes_nothing_and_tells_what_it_has_deleted() -> None:
    harness = SnapshotHarness()
    harness.images.inside = {"a": ["s1", "s2"], "b": ["s1"]}
    outcome = harness.delete("s1")
    assert (outcome.ok, outcome.consistency) == (True, Consistency.NONE)
    assert outcome.reason == "deletion: complete: the snapshot s1 is deleted on a, b"
    assert harness.images.inside == {"a": ["s2"], "b": []}
    assert harness.freezes == []


def test_a_deletion_that_fails_half_way_says_what_is_left() -> None:
    harness = SnapshotHarness()
    harness.images.inside = {"a": ["s1"], "b": ["s1"]}
    name = "blockdev-snapshot-delete-internal-sync"
    harness.images.on_ask = lambda ask: (
        harness.images.refuses.update({name: "busy"})
        if ask.command == name and ask.arguments["device"] == "b"
        else None
    )
    outcome = harness.delete("s1")
    assert (outcome.result, outcome.ok) == (JobResult.FAILED, False)
    assert outcome.left == ("the snapshot s1 on b: it is incomplete now",)


def test_only_what_is_named_exactly_is_deleted() -> None:
    harness = SnapshotHarness()
    harness.images.inside = {"a": ["s1", "s2"]}
    refused = harness.delete("s")
    assert refused.refusal is JobRefusal.NAME
    assert "there are: s1, s2" in refused.reason
    assert harness.delete("s1", external=True).next == "name it without --external"
    assert harness.delete("s1", disks=("b",)).refusal is JobRefusal.NAME
    assert harness.images.inside == {"a": ["s1", "s2"]}


def test_proxmox_is_told_its_own_commands() -> None:
    harness = SnapshotHarness()
    harness.vm = harness.vm._replace(monitor=MonitorChannel(Path("/run/qemu-server/101.qmp")))
    taken, deleted = harness.take(), harness.delete("s1")
    assert [one.refusal for one in (taken, deleted)] == [JobRefusal.MANAGED] * 2
    assert "frostwatch freeze qemu:web1 -- qm snapshot 101 NAME" in (taken.next or "")
    assert "qm delsnapshot 101 NAME" in (deleted.next or "")
    assert harness.images.asked == []


@pytest.mark.parametrize("what", ["read-only", "locked"])
def test_what_nobody_may_touch_is_not_deleted(what: str) -> None:
    harness = SnapshotHarness(locked_by="backup" if what == "locked" else None)
    harness.images.inside = {"a": ["s1"]}
    context = harness.context(read_only="it is read-only" if what == "read-only" else None)
    outcome = SnapshotDeletion(context, DeletionRequest(name="s1")).run()
    assert outcome.refusal is JobRefusal(what)
    assert harness.images.inside == {"a": ["s1"]}


def test_an_overlay_that_its_qemu_does_not_write_to_is_not_deleted(tmp_path: Path) -> None:
    """A user's own QEMU can call any file its overlay."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for path in (theirs, ours):
        path.touch()
    parts = [SnapshotDisk("a", "/images/a", str(path)) for path in (theirs, ours)]
    with theirs.open("rb"), ours.open("r+b"):
        found = files_of(parts, process_of(os.getpid()))
    assert found == {str(ours): inode(ours)}


@pytest.mark.parametrize("folded", [True, False])
def test_an_overlay_that_is_folded_back_and_not_deleted_is_named(
    tmp_path: Path, *, folded: bool
) -> None:
    harness = SnapshotHarness()
    overlay = tmp_path / "a.s1.qcow2"
    overlay.touch()
    harness.images.file = str(tmp_path / "{}.s1.qcow2")
    port = harness.context().block()
    job = SnapshotDeletion(harness.context(), DeletionRequest(name="s1", external=True))
    job.chosen = port.disks()[:1]
    job.parts = (SnapshotDisk("a", "/images/a.qcow2", str(overlay)),)
    job._block, job._folds = port, (Fold("job", job.chosen[0], "base"),)
    if folded:
        harness.images.file = "/images/{}.qcow2"
    words = f"the overlay {overlay}, of which nothing is needed any more"
    assert job.undo() == ([words] if folded else [])
