"""Snapshots without a guest: names, what is kept of them, and what is found."""

from __future__ import annotations

import errno
import json
import os
from datetime import timedelta
from pathlib import Path, PurePath
from typing import Any

import pytest

from agentclient.jobs.control import JobControl
from agentclient.jobs.errors import JobRefused
from agentclient.jobs.snapshots import record as record_module
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.snapshots.finding import ABOVE, NOT_OURS, NOT_WRITTEN, find_snapshots
from agentclient.jobs.snapshots.names import checked_name, overlay_name, record_name
from agentclient.jobs.snapshots.record import Record, RecordFile, records_in, records_of
from agentclient.journal.entry import begin_freeze
from agentclient.journal.writer import Journal
from agentclient.model.disk_snapshot import SnapshotDisk, SnapshotKind
from agentclient.model.errors import BadInput
from agentclient.model.job import Consistency, JobRefusal
from agentclient.model.json_contract import snapshot_object
from agentclient.model.request import FreezeRequest
from agentclient.protocol.qmp_block import disks
from tests.unit.copy_harness import WEB, CopyHarness
from tests.unit.snapshot_harness import AT, SnapshotQemu

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
    file.make(JobControl(), begun, vm)
    assert list(records_in([tmp_path, tmp_path])) == [begun._replace(path=file.path)]
    with pytest.raises(JobRefused, match="never completed") as refused:
        file.make(JobControl(), begun, vm)
    assert refused.value.refusal is JobRefusal.NAME
    overlay.touch()
    with pytest.raises(JobRefused, match="a snapshot of that name was taken"):
        file.make(JobControl(), begun, vm)
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
    file.make(JobControl(), given, vm)
    RecordFile(tmp_path / record_name("web2", "s1")).make(
        JobControl(),
        given._replace(disks=(SnapshotDisk("a", base, str(tmp_path / "web2.s1.qcow2")),)),
        vm,
    )
    (found,) = find_snapshots(WEB, disks([item]), (), None)
    assert (found.kind, found.name, found.size) == (SnapshotKind.EXTERNAL, "s1", 7)
    assert (found.consistency, found.reason) == (None, NOT_WRITTEN)
    assert found.revert[0].startswith(f"start the VM with {base} as its disk a")
    file.write(given._replace(consistency=Consistency.CONSISTENT), vm)
    (found,) = find_snapshots(WEB, disks([item]), (), None)
    assert found.consistency is Consistency.CONSISTENT
    del qemu


def test_an_image_below_an_overlay_is_not_to_be_reverted() -> None:
    image = {"format": "qcow2", "filename": "/images/a.s2.qcow2", "virtual-size": 64}
    base = {
        "format": "qcow2",
        "filename": "/images/a.qcow2",
        "virtual-size": 64,
        "snapshots": [{"id": "1", "name": "s1", "date-sec": int(AT.timestamp())}],
    }
    inserted = {
        "node-name": "#block1",
        "drv": "qcow2",
        "file": "/images/a.s2.qcow2",
        "backing_file_depth": 1,
        "image": image | {"backing-image": base},
    }
    (found,) = find_snapshots(WEB, disks([{"device": "a", "inserted": inserted}]), (), None)
    assert (found.name, found.revert) == ("s1", (ABOVE,))


def _written(folder: Path, **changes: Any) -> Path:
    """A file beside an overlay, by whomever."""
    path = folder / "vm.s1.frostwatch.json"
    facts: dict[str, Any] = {
        "name": "s1", "kind": "external", "disks": [], "began": AT.isoformat(),
        "taken": AT.isoformat(), "consistency": "crash-consistent", "reason": "", "window": None,
    }  # fmt: skip
    path.write_text(json.dumps(facts | changes))
    return path


def test_a_record_that_says_more_than_its_window_is_none(tmp_path: Path) -> None:
    _written(tmp_path)
    assert len(list(records_in([tmp_path]))) == 1
    _written(tmp_path, consistency="consistent", window={"certified": True})
    assert len(list(records_in([tmp_path]))) == 1
    windows: tuple[Any, ...] = (None, {}, {"certified": False}, {"certified": "yes"}, [])
    for window in windows:
        _written(tmp_path, consistency="consistent", window=window)
        assert list(records_in([tmp_path])) == []


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00", "x"]
)
def test_a_record_of_a_time_that_no_clock_shows_is_none(tmp_path: Path, at: str) -> None:
    for key in ("began", "taken"):
        _written(tmp_path, **{key: at})
        assert list(records_in([tmp_path])) == []


def test_a_record_is_a_plain_file(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    path = _written(tmp_path)
    (folder / path.name).symlink_to(path)
    os.mkfifo(folder / "vm.s2.frostwatch.json")
    (folder / "vm.s3.frostwatch.json").mkdir()
    assert list(records_in([folder])) == []  # and it ends


def test_a_record_that_can_not_be_written_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, _: str) -> object:
        os.close(handle)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(JobRefused, match="can't be written: No space left on device"):
        record_module.make_file(tmp_path / "vm.s1.frostwatch.json", "{}")
    assert list(tmp_path.iterdir()) == []
