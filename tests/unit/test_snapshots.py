"""Snapshots without a guest: names, what is kept of them, what is found, and what fails."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

import pytest

from agentclient.access.qmp_session import MonitorError
from agentclient.jobs.errors import JobRefused
from agentclient.jobs.snapshots import create
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.snapshots.deletion import DeletionRequest, SnapshotDeletion
from agentclient.jobs.snapshots.external import ExternalSnapshot
from agentclient.jobs.snapshots.finding import NOT_OURS, NOT_WRITTEN, find_snapshots
from agentclient.jobs.snapshots.internal import InternalSnapshot
from agentclient.jobs.snapshots.names import checked_name, overlay_name, record_name
from agentclient.jobs.snapshots.record import Record, RecordFile, records_in, records_of
from agentclient.journal.entry import begin_freeze
from agentclient.journal.writer import Journal
from agentclient.model.disk_snapshot import SnapshotDisk, SnapshotKind
from agentclient.model.errors import BadInput
from agentclient.model.job import Consistency, FreezePolicy, JobOutcome, JobRefusal, JobResult
from agentclient.model.json_contract import snapshot_object
from agentclient.model.request import FreezeRequest
from agentclient.protocol.qmp_block import disks
from tests.unit.copy_harness import BROKEN, VERIFIED, WEB, CopyHarness, FakeFreeze
from tests.unit.fake_qemu import FakeQemu

AT = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)


@dataclass
class SnapshotQemu(FakeQemu):
    """A QEMU whose images can have snapshots, by the name of their drive."""

    inside: dict[str, list[str]] = field(default_factory=dict)
    format: str = "qcow2"
    encrypted: bool = False
    file: str = "/images/{}.qcow2"
    # What else happens when it takes a snapshot: it answers too late, or never.
    too_late: bool = False

    def _drive(self, name: str, size: int) -> dict[str, Any]:
        found = super()._drive(name, size)
        image = found["inserted"]["image"] | {
            "filename": self.file.format(name),
            "format": self.format,
            "encrypted": self.encrypted,
            "snapshots": [
                {"name": one, "id": "1", "date-sec": int(AT.timestamp()), "vm-state-size": 0}
                for one in self.inside.get(name, [])
            ],
        }
        found["inserted"] |= {"image": image, "drv": self.format, "file": self.file.format(name)}
        return found

    def _transaction(self, *, actions: list[dict[str, Any]], **_: object) -> dict[str, Any]:
        assert {one["type"] for one in actions} == {"blockdev-snapshot-internal-sync"}
        for action in actions:
            data = action["data"]
            self.inside.setdefault(data["device"], []).append(data["name"])
        if self.too_late:
            raise MonitorError("the monitor did not answer in time", late=True)
        return {}

    def _blockdev_snapshot_delete_internal_sync(self, *, device: str, name: str) -> dict[str, Any]:
        self.inside[device].remove(name)
        return {}


class _Harness(CopyHarness):
    def __init__(self, **of_vm: Any) -> None:
        super().__init__(**of_vm)
        self.images = SnapshotQemu()
        self.access.monitor = self.qemu = self.images

    def take(self, name: str = "s1", **wanted: Any) -> JobOutcome:
        return InternalSnapshot(self.context(), SnapshotRequest(name=name, **wanted)).run()

    def delete(self, name: str, **wanted: Any) -> JobOutcome:
        return SnapshotDeletion(self.context(), DeletionRequest(name=name, **wanted)).run()


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["before-upgrade", "v1.2_3", "_x", "2026-03-01", "a" * 60])
def test_a_name_that_can_be_used(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "17", "a b", "-a", ".a", "a/b", "ä", "a\n", "a" * 61, "a'b"])
def test_a_name_that_cant_be_used_is_bad_input(name: str) -> None:
    with pytest.raises(BadInput, match="is no name for a snapshot"):
        SnapshotRequest(name=name).check()


def test_an_internal_snapshot_has_no_folder() -> None:
    with pytest.raises(BadInput, match="has no folder"):
        SnapshotRequest(name="a", folder=Path("/tmp")).check()


def test_the_names_of_files() -> None:
    image = PurePath("/images/disk.qcow2")
    assert overlay_name(image, "one", None, 0) == "disk.one.qcow2"
    assert overlay_name(image, "one", None, 2) == "disk-2.one.qcow2"
    # The overlay of a snapshot is replaced by that of the next one.
    assert overlay_name(PurePath("/images/disk.one.qcow2"), "two", "one", 0) == "disk.two.qcow2"
    assert record_name("a/b", "one") == "a_b.one.frostwatch.json"


# -- what is kept ----------------------------------------------------------------------------------


def _record(name: str = "s1", **changes: Any) -> Record:
    given = Record(
        name=name,
        kind=SnapshotKind.INTERNAL,
        disks=(SnapshotDisk("a", "/images/a.qcow2"), SnapshotDisk("b", "/images/b.qcow2")),
        began=AT - timedelta(seconds=0.2),
        taken=AT + timedelta(seconds=0.2),
        consistency=Consistency.CONSISTENT,
        reason="it was taken within a certified freeze window",
        window={"certified": True},
    )
    return given._replace(**changes)


def test_a_file_beside_the_overlays_is_read_as_it_was_written(tmp_path: Path) -> None:
    vm = CopyHarness().vm
    file = RecordFile(tmp_path / record_name("web1", "s1"))
    overlay = tmp_path / "a.s1.qcow2"
    disk = SnapshotDisk("a", "/images/a.qcow2", str(overlay))
    begun = _record(kind=SnapshotKind.EXTERNAL, disks=(disk,), taken=None, consistency=None)
    file.make(begun, vm)
    assert list(records_in([tmp_path, tmp_path])) == [begun._replace(path=file.path)]
    with pytest.raises(JobRefused, match="never completed") as refused:
        file.make(begun, vm)
    assert refused.value.refusal is JobRefusal.NAME
    overlay.touch()
    with pytest.raises(JobRefused, match="a snapshot of that name was taken"):
        file.make(begun, vm)
    whole = _record(kind=SnapshotKind.EXTERNAL, disks=(disk,))
    assert file.write(whole, vm) is None
    assert list(records_in([tmp_path])) == [whole._replace(path=file.path)]
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.remove() == []
    assert list(tmp_path.iterdir()) == [overlay]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"name": 1}',
        b'{"disks": 7, "name": "s"}',
        b"[" * 5000,
    ],
)
def test_a_file_that_is_none_of_ours_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"x{'.frostwatch.json'}").write_bytes(content)
    assert list(records_in([tmp_path, tmp_path / "missing"])) == []


def test_the_journal_knows_a_snapshot_by_its_window(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    vm = CopyHarness().vm
    try:
        entry = begin_freeze(journal, vm, FreezeRequest())
        assert entry is not None
        entry.copied(_record().facts(vm))
        other = begin_freeze(journal, vm, FreezeRequest())
        assert other is not None
        other.copied({"job": "backup", "name": "s1"})
        assert begin_freeze(journal, vm, FreezeRequest()) is not None
        (found,) = records_of(journal, vm)
        assert found == _record(window=None)
        assert records_of(journal, vm._replace(id=WEB._replace(name="web2"))) == ()
        assert records_of(None, vm) == ()
    finally:
        journal.close()


# -- what is found ---------------------------------------------------------------------------------


def _found(qemu: SnapshotQemu, *records: Record) -> dict[str, Any]:
    found = find_snapshots(WEB, disks(qemu._query_block()), records, None)
    return {one.name: snapshot_object(one) for one in found}


def test_what_is_known_of_an_internal_snapshot() -> None:
    qemu = SnapshotQemu(inside={"a": ["s1"], "b": ["s1"]})
    found = _found(qemu, _record("other"), _record())["s1"]
    assert (found["consistency"], found["window"]) == ("consistent", {"certified": True})
    assert (found["missing"], found["size"], found["memory"]) == ([], None, False)
    assert found["revert"] == [f"qemu-img snapshot -a s1 /images/{one}.qcow2" for one in "ab"]
    part = _found(SnapshotQemu(inside={"a": ["s1"]}), _record())["s1"]
    assert ([one["disk"] for one in part["disks"]], part["missing"]) == (["a"], ["b"])
    assert part["consistency"] == "consistent"


@pytest.mark.parametrize(
    "record",
    [
        _record(began=AT + timedelta(seconds=5), taken=AT + timedelta(seconds=6)),
        _record(began=AT - timedelta(seconds=6), taken=AT - timedelta(seconds=5)),
        _record(taken=None, consistency=None),
        _record(disks=(SnapshotDisk("a", "/images/a.qcow2"),)),
        _record("s2"),
        _record(kind=SnapshotKind.EXTERNAL),
    ],
    ids=["earlier", "later", "never-taken", "another-disk", "another-name", "external"],
)
def test_of_what_another_has_taken_nothing_is_known(record: Record) -> None:
    found = _found(SnapshotQemu(inside={"a": ["s1"], "b": ["s1"]}), record)["s1"]
    assert (found["consistency"], found["window"], found["reason"]) == (None, None, NOT_OURS)


def test_an_external_snapshot_is_found_by_the_file_beside_its_overlay(tmp_path: Path) -> None:
    vm = CopyHarness().vm
    base, overlay = str(tmp_path / "a.qcow2"), str(tmp_path / "a.s1.qcow2")
    qemu = SnapshotQemu(drives={"a": 1 << 20})
    chain = {"filename": base, "format": "raw", "actual-size": 5, "snapshots": []}
    top = {"filename": overlay, "format": "qcow2", "actual-size": 7, "virtual-size": 1 << 20}
    inserted = {"node-name": "fw-1-2-abcd-t0", "drv": "qcow2", "file": overlay, "ro": False}
    item = {"device": "a", "inserted": inserted | {"image": top | {"backing-image": chain}}}
    given = _record(
        kind=SnapshotKind.EXTERNAL, disks=(SnapshotDisk("a", base, overlay),), consistency=None
    )
    file = RecordFile(tmp_path / record_name("web1", "s1"))
    file.make(given, vm)
    RecordFile(tmp_path / record_name("web2", "s1")).make(
        given._replace(disks=(SnapshotDisk("a", base, str(tmp_path / "web2.s1.qcow2")),)), vm
    )
    (found,) = find_snapshots(WEB, disks([item]), (), None)
    assert (found.kind, found.name, found.size) == (SnapshotKind.EXTERNAL, "s1", 7)
    assert (found.consistency, found.reason) == (None, NOT_WRITTEN)
    assert found.revert[0].startswith(f"start the VM with {base} as its disk a")
    file.write(given._replace(consistency=Consistency.CONSISTENT), vm)
    (found,) = find_snapshots(WEB, disks([item]), (), None)
    assert found.consistency is Consistency.CONSISTENT
    del qemu


# -- taking ----------------------------------------------------------------------------------------


def test_all_disks_are_taken_in_one_transaction_and_it_is_kept() -> None:
    harness = _Harness()
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
    harness = _Harness()
    assert harness.take(disks=("b",)).ok
    assert harness.images.inside == {"b": ["s1"]}
    refused = harness.take(disks=("a",))
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
    harness = _Harness()
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
        harness = _Harness()
        harness.images.commands.remove(name)
        external = made is ExternalSnapshot
        request = SnapshotRequest(name="s1", external=external)
        outcome = made(harness.context(), request).run()
        assert (outcome.result, outcome.refusal) == (JobResult.REFUSED, JobRefusal.TOO_OLD)
        assert name in outcome.reason
        assert harness.freezes == []


def test_an_encrypted_image_takes_no_overlay_in_the_clear() -> None:
    harness = _Harness()
    harness.images.encrypted = True
    job = ExternalSnapshot(harness.context(), SnapshotRequest(name="s1", external=True))
    outcome = job.run()
    assert outcome.refusal is JobRefusal.TARGET
    assert "the image of a is encrypted" in outcome.reason
    assert harness.take().ok


def test_an_image_that_is_no_file_of_this_host_takes_no_overlay(tmp_path: Path) -> None:
    harness = _Harness()
    for file in ("rbd:pool/{}", str(tmp_path / "missing-{}"), "/dev/null"):
        harness.images.file = file
        job = ExternalSnapshot(harness.context(), SnapshotRequest(name="s1", external=True))
        outcome = job.run()
        assert (outcome.refusal, outcome.left) == (JobRefusal.TARGET, ())
    assert "--to DIR" in (outcome.next or "")
    assert harness.freezes == []


def test_a_refused_transaction_leaves_nothing_and_deletes_nothing() -> None:
    harness = _Harness()
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
    harness = _Harness()
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
    harness = _Harness()
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
    harness = _Harness()
    harness.freeze = lambda: FakeFreeze(VERIFIED, BROKEN)
    outcome = harness.take()
    assert (outcome.result, outcome.left) == (JobResult.FAILED, ())
    assert harness.images.inside == {"a": [], "b": []}
    kept = harness.take(policy=FreezePolicy.PREFER)
    assert (kept.ok, kept.consistency) == (True, Consistency.CRASH_CONSISTENT)
    assert harness.images.inside == {"a": ["s1"], "b": ["s1"]}


def test_what_cant_be_deleted_again_is_named() -> None:
    harness = _Harness()
    harness.freeze = lambda: FakeFreeze(VERIFIED, BROKEN)
    harness.images.refuses["blockdev-snapshot-delete-internal-sync"] = "No space left on device"
    outcome = harness.take()
    assert [one.split(" (")[0] for one in outcome.left] == [
        "the snapshot s1 on a",
        "the snapshot s1 on b",
    ]


# -- deleting --------------------------------------------------------------------------------------


def test_a_deletion_freezes_nothing_and_tells_what_it_has_deleted() -> None:
    harness = _Harness()
    harness.images.inside = {"a": ["s1", "s2"], "b": ["s1"]}
    outcome = harness.delete("s1")
    assert (outcome.ok, outcome.consistency) == (True, Consistency.NONE)
    assert outcome.reason == "deletion: complete: the snapshot s1 is deleted on a, b"
    assert harness.images.inside == {"a": ["s2"], "b": []}
    assert harness.freezes == []


def test_a_deletion_that_fails_half_way_says_what_is_left() -> None:
    harness = _Harness()
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
    harness = _Harness()
    harness.images.inside = {"a": ["s1", "s2"]}
    refused = harness.delete("s")
    assert refused.refusal is JobRefusal.NAME
    assert "there are: s1, s2" in refused.reason
    assert harness.delete("s1", external=True).next == "name it without --external"
    assert harness.delete("s1", disks=("b",)).refusal is JobRefusal.NAME
    assert harness.images.inside == {"a": ["s1", "s2"]}
