"""Files that take a copy: nothing that exists is overwritten, nothing that is not ours deleted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from agentclient.access.monitor import Monitor
from agentclient.jobs import storage_process
from agentclient.jobs import targets as module
from agentclient.jobs import targets as targets_module
from agentclient.jobs.block import BlockLayer, JobName
from agentclient.jobs.control import JobControl
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.storage_process import StorageHangs
from agentclient.jobs.targets import Targets, check_space
from agentclient.model.job import JobRefusal
from agentclient.model.vm import Process
from tests.unit.fake_qemu import MIB, FakeQemu


@pytest.fixture
def qemu() -> FakeQemu:
    return FakeQemu()


@pytest.fixture
def targets(qemu: FakeQemu) -> Targets:
    return Targets(BlockLayer(cast(Monitor, qemu)), JobName.new("backup"), None)


@pytest.mark.parametrize("format_", ["qcow2", "raw"])
def test_a_target_is_made_opened_closed_and_removed(
    qemu: FakeQemu, targets: Targets, tmp_path: Path, format_: str
) -> None:
    target = targets.make(tmp_path / "a", format_, MIB)
    assert qemu.nodes == {target.file_node: str(tmp_path / "a"), target.node: str(tmp_path / "a")}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_size == (MIB if format_ == "raw" else 0)
    assert targets.close() == []
    assert (qemu.nodes, (tmp_path / "a").exists()) == ({}, True)
    assert targets.remove() == []
    assert not (tmp_path / "a").exists()


def test_what_exists_is_refused_and_stays(targets: Targets, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("precious")
    with pytest.raises(JobRefused) as caught:
        targets.make(tmp_path / "a", "qcow2", MIB)
    assert caught.value.refusal is JobRefusal.TARGET_EXISTS
    assert targets.remove() == []
    assert (tmp_path / "a").read_text() == "precious"


def test_a_name_that_no_monitor_can_be_told_is_refused_at_once(
    qemu: FakeQemu, targets: Targets, tmp_path: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    with pytest.raises(JobRefused, match="is no UTF-8") as caught:
        targets.make(folder / "a", "qcow2", MIB)
    assert caught.value.refusal is JobRefusal.TARGET
    assert qemu.asked == []
    assert list(folder.iterdir()) == []


def test_a_link_to_nothing_is_not_followed(targets: Targets, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JobRefused):
        targets.make(tmp_path / "a", "qcow2", MIB)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_took_its_place_is_not_deleted(targets: Targets, tmp_path: Path) -> None:
    targets.make(tmp_path / "a", "qcow2", MIB)
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "a").write_text("somebody else's")
    targets.remove()
    assert (tmp_path / "a").read_text() == "somebody else's"


@pytest.mark.parametrize(
    ("name", "clause"),
    [
        ("/elsewhere/a", ", which was moved to /elsewhere/a"),
        (None, ", which was moved away or deleted (where to is not known)"),
        ("", None),
    ],
)
def test_a_file_that_was_moved_away_meanwhile_is_named(
    targets: Targets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str | None,
    clause: str | None,
) -> None:
    target = targets.make(tmp_path / "a.qcow2", "qcow2", MIB)
    target.path.unlink()
    names = None if name is None else {target.inode: name}
    monkeypatch.setattr(targets_module, "names_of_opened", lambda _: names)
    assert targets.close() == []
    # QEMU has closed it: that is found before.
    monkeypatch.setattr(targets_module, "names_of_opened", lambda _: {})
    expected = [] if clause is None else [f"the incomplete file {target.path}{clause}"]
    assert targets.remove() == expected


@pytest.mark.parametrize("again", [True, False])
def test_a_copy_that_somebody_has_put_aside_is_not_complete(
    targets: Targets, tmp_path: Path, again: bool
) -> None:
    targets.make(tmp_path / "a", "qcow2", MIB)
    targets.sync(JobControl(0))
    (tmp_path / "a").rename(tmp_path / "moved")
    if again:
        (tmp_path / "a").write_text("somebody else's")
    with pytest.raises(JobFailed, match="replaced by another" if again else "No such file"):
        targets.sync(JobControl(0))


def test_what_can_not_be_deleted_as_its_storage_hangs_is_named(
    targets: Targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(calls: Sequence[object]) -> list[StorageHangs]:
        return [StorageHangs(30.0)] * len(calls)

    for name in "ab":
        targets.make(tmp_path / name, "raw", MIB)
    monkeypatch.setattr(storage_process, "call_in_order", hangs)
    assert targets.remove() == [
        f"the incomplete file {tmp_path / name} (its storage has not answered for 30 s)"
        for name in "ab"
    ]
    assert targets.remove() == [], "they are named once"


def test_files_that_were_kept_can_be_removed_later(
    qemu: FakeQemu, targets: Targets, tmp_path: Path
) -> None:
    kept, other = (targets.make(tmp_path / name, "raw", MIB) for name in "ab")
    assert targets.remove(keep=[kept]) == []
    assert (list(qemu.nodes), other.path.exists()) == ([kept.file_node, kept.node], False)
    assert targets.remove() == []
    assert (qemu.nodes, kept.path.exists()) == ({}, False)


@pytest.mark.parametrize("command", ["blockdev-add", "blockdev-create"])
def test_what_qemu_cant_write_is_removed_again(
    qemu: FakeQemu, targets: Targets, tmp_path: Path, command: str
) -> None:
    qemu.refuses[command] = "Permission denied"
    with pytest.raises((JobRefused, JobFailed), match="Permission denied"):
        targets.make(tmp_path / "a", "qcow2", MIB)
    qemu.refuses.clear()
    assert targets.remove() == []
    assert (list(tmp_path.iterdir()), qemu.nodes) == ([], {})


def test_a_folder_that_is_not_there_is_a_refusal(targets: Targets, tmp_path: Path) -> None:
    with pytest.raises(JobRefused, match="No such file") as caught:
        targets.make(tmp_path / "no" / "a", "qcow2", MIB)
    assert caught.value.refusal is JobRefusal.TARGET


def test_a_qemu_that_sees_another_file_of_that_name_is_refused(
    qemu: FakeQemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "opened_by", lambda _: frozenset({(0, 0)}))
    block = BlockLayer(cast(Monitor, qemu))
    targets = Targets(block, JobName.new("backup"), Process(os.getpid(), 1))
    with pytest.raises(JobRefused, match="mounts of its own"):
        targets.make(tmp_path / "a", "qcow2", MIB)
    targets.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_stays_open_is_told(qemu: FakeQemu, targets: Targets, tmp_path: Path) -> None:
    targets.make(tmp_path / "a", "raw", MIB)
    qemu.refuses["blockdev-del"] = "Node is in use"
    assert len(targets.close()) == 2


def test_another_format_is_refused(targets: Targets, tmp_path: Path) -> None:
    with pytest.raises(JobRefused, match="vmdk"):
        targets.make(tmp_path / "a", "vmdk", MIB)


def test_space_is_looked_at_before(tmp_path: Path) -> None:
    check_space(tmp_path, 0)
    with pytest.raises(JobRefused) as caught:
        check_space(tmp_path, 1 << 60)
    assert caught.value.refusal is JobRefusal.NO_SPACE
    with pytest.raises(JobRefused) as caught:
        check_space(tmp_path / "no", 0)
    assert caught.value.refusal is JobRefusal.TARGET
