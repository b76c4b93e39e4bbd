"""Copies of VMs whose manager makes them: what it is asked, and what becomes of what it refuses."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.disk_calls import BACKUP, FOLD, DiskWork
from agentclient.access.host.process import process_of
from agentclient.jobs import called_port, follow
from agentclient.jobs.archive import read_backup
from agentclient.jobs.called import files as files_module
from agentclient.jobs.called.backup import CalledBackup
from agentclient.jobs.called.clearing import clear_called
from agentclient.jobs.called.deletion import CalledDeletion
from agentclient.jobs.called.files import CalledFiles
from agentclient.jobs.called.listing import list_kept
from agentclient.jobs.called.snapshot import CalledSnapshot
from agentclient.jobs.called_port import MOST_HANGING, CalledPort
from agentclient.jobs.control import JobControl
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.image_tool import tool
from agentclient.jobs.left import find_copies
from agentclient.jobs.managed import check_manager
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.snapshots.deletion import DeletionRequest
from agentclient.jobs.verify import verify_folder
from agentclient.journal.identity import this_process
from agentclient.model.errors import FrostwatchError
from agentclient.model.job import (
    Consistency,
    FreezePolicy,
    JobKind,
    JobOutcome,
    JobRefusal,
    JobResult,
)
from agentclient.model.vm import Process, Vm, VmId
from agentclient.protocol.job_names import CLAIM, JobId
from agentclient.protocol.qmp_block import BlockJob, BlockJobStatus
from tests.unit.copy_harness import CERTIFIED, VERIFIED, CopyHarness, FakeFreeze
from tests.unit.memory_disks import MemoryDisks
from tests.waiting import until

pytestmark = pytest.mark.skipif(tool() is None, reason="it makes images: qemu-img")
GONE = Process(4_000_000, 1)


class Night(CopyHarness):
    """A VM of libvirt's, whose copies are tried."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.vm = Vm(VmId("libvirt", "db1"), title="db1", uuid="u-1", by_call=True)
        self.fleet.set_vms("libvirt", [self.vm])
        self.images, self.to = folder / "images", folder / "to"
        self.images.mkdir()
        self.to.mkdir()
        self.disks = MemoryDisks(self.images)
        access: Any = self.access
        access.disk_calls, access.monitor = self.disks, None

    def backup(self, **more: Any) -> JobOutcome:
        return CalledBackup(self.context(), BackupRequest(folder=self.to, **more)).run()

    def snapshot(self, name: str = "one", **more: Any) -> JobOutcome:
        request = SnapshotRequest(name=name, **({"external": True} | more))
        return CalledSnapshot(self.context(), request).run()

    def delete(self, name: str = "one", **more: Any) -> JobOutcome:
        request = DeletionRequest(name=name, **({"external": True} | more))
        return CalledDeletion(self.context(), request).run()

    def nothing_is_left(self) -> bool:
        """Whether neither the manager nor the folder has anything of a copy."""
        said = self.disks.marks or self.disks.works or self.disks.running
        return not said and not list(self.to.rglob("*"))


def when(holds: Callable[[], bool], do: Callable[[], object]) -> None:
    """Do something in a thread as soon as something else holds."""

    def run() -> None:
        while not holds():
            time.sleep(0.01)
        do()

    threading.Thread(target=run, daemon=True).start()


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.01)
    return Night(tmp_path)


# -- backups ---------------------------------------------------------------------------------------


def test_a_backup_is_complete_verified_and_recorded(night: Night) -> None:
    outcome = night.backup()
    assert (outcome.result, outcome.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
    assert [one.disk for one in outcome.disks] == ["vda", "vdb"]
    (verified,) = verify_folder(night.to)
    assert verified.ok, verified.problems
    manifest = verified.manifest
    assert manifest is not None
    assert manifest.versions["qemu"] == "7.2.22 (libvirt 9.0.0)"
    assert {one.bitmap for one in manifest.disks} == set(night.disks.records)
    assert (night.disks.marks, night.disks.works) == (set(), {})
    assert night.stages[:4] == ["preparing", "freezing", "starting", "thawing"]


def test_an_incremental_one_builds_on_it_and_replaces_its_record(night: Night) -> None:
    night.backup()
    (first,) = night.disks.records
    time.sleep(1.0)  # its folder is named by the second
    outcome = night.backup(incremental=True)
    assert outcome.ok, outcome.reason
    assert night.disks.since == first
    assert first not in night.disks.records
    assert len(night.disks.records) == 1
    assert [one.ok for one in verify_folder(night.to)] == [True, True]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"compress": True}, "--compress"),
        ({"fleece": Path("/fast")}, "--fleece"),
        ({"policy": FreezePolicy.SUSPEND}, "--policy prefer"),
    ],
)
def test_what_is_not_offered_is_refused_before_the_freeze(
    night: Night, more: dict[str, Any], word: str
) -> None:
    outcome = night.backup(**more)
    assert (outcome.result, outcome.refusal) == (JobResult.REFUSED, JobRefusal.MANAGED)
    assert word in (outcome.next or "")
    assert night.freezes == []
    assert night.nothing_is_left()


@pytest.mark.parametrize("silent", [False, True])
def test_a_backup_that_does_not_begin_leaves_nothing(night: Night, silent: bool) -> None:
    if silent:
        night.disks.silent.add("begin_backup")
    else:
        night.disks.refuses["begin_backup"] = "Permission denied"
    outcome = night.backup()
    assert outcome.result is JobResult.FAILED
    assert outcome.left == ()
    assert ("its QEMU may write to" in (outcome.next or "")) is not silent
    assert night.nothing_is_left()


def test_one_that_begins_after_all_is_ended(night: Night) -> None:
    night.disks.refuses["hang"] = "for a while"
    night.disks.finishes = None
    port = CalledPort(night.disks)
    works = [DiskWork("j", BACKUP, "vda", "/to/a")]
    ended = threading.Event()

    def begin() -> None:
        night.disks.begin_backup(works, since=None, record=None)

    def late(_: None) -> None:
        night.disks.abort_backup(works)
        ended.set()

    with pytest.raises(JobFailed, match="has not answered within"):
        port.within(0.01, begin, late)
    assert not ended.is_set()
    night.disks.hangs.set()
    assert ended.wait(60.0)
    assert night.disks.running == {}


def test_a_failed_one_is_deleted_with_its_record(night: Night) -> None:
    night.disks.finishes = "No space left on device"
    outcome = night.backup()
    assert outcome.result is JobResult.FAILED
    assert "No space left on device" in outcome.reason
    assert (outcome.left, night.disks.records) == ((), [])
    assert night.nothing_is_left()


def test_a_cancelled_one_is_ended_and_deleted(night: Night) -> None:
    night.disks.finishes = None
    when(lambda: bool(night.disks.running), night.control.cancel)
    outcome = night.backup()
    assert outcome.result is JobResult.CANCELLED
    assert "end" in night.disks.asked
    assert (outcome.left, night.disks.records) == ((), [])
    assert night.nothing_is_left()


def test_its_speed_is_limited_from_the_first_look_on(night: Night) -> None:
    night.disks.finishes = None
    night.control.set_limit(5000)
    when(lambda: bool(night.disks.speeds), lambda: night.control.set_limit(7000))
    when(lambda: 7000 in night.disks.speeds, night.control.cancel)
    night.backup()
    assert list(dict.fromkeys(night.disks.speeds)) == [5000, 7000]


def unlimited(night: Night) -> list[str]:
    """What was told of limits that did not come about."""
    return [one.text for one in night.events if "goes on without" in one.text]


def test_one_whose_limit_is_refused_goes_on_and_that_is_told_once(night: Night) -> None:
    night.disks.finishes, night.disks.silent = None, {"set_speed"}
    night.control.set_limit(5000)
    looks = night.disks.asked.count
    when(lambda: bool(unlimited(night)) and looks("look") > 20, night.control.cancel)
    outcome = night.backup()
    assert outcome.result is JobResult.CANCELLED
    assert night.disks.speeds == [5000]
    (told,) = unlimited(night)
    assert "4.9 KiB/s" in told
    assert "stop it if the guest suffers: libvirt: it has gone" in told


def test_one_whose_limit_is_not_answered_is_followed_and_cancelled_all_the_same(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(called_port, "_SPEED_S", 0.01)
    night.disks.finishes = None
    night.disks.takes_speeds.clear()
    night.control.set_limit(5000)
    looks = night.disks.asked.count
    when(lambda: looks("look") > 20, night.control.cancel)
    outcome = night.backup()
    night.disks.takes_speeds.set()
    assert (outcome.result, night.disks.speeds) == (JobResult.CANCELLED, [5000])
    assert unlimited(night) == []


def test_all_of_its_disks_are_limited_though_each_takes_a_while(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(called_port, "_SPEED_S", 0.0)
    night.disks.finishes = None
    night.control.set_limit(5000)
    when(lambda: len(night.disks.speeds) == 2, lambda: night.control.set_limit(7000))
    when(lambda: night.disks.speeds.count(7000) == 2, night.control.cancel)
    night.backup()
    assert night.disks.speeds == [5000, 5000, 7000, 7000]


def test_an_uncertified_one_is_not_kept_where_that_is_demanded(night: Night) -> None:
    broken = CERTIFIED._replace(certified=False, reason="it was thawed")
    night.freeze = lambda: FakeFreeze(VERIFIED, broken)
    outcome = night.backup()
    assert (outcome.result, outcome.left) == (JobResult.FAILED, ())
    assert "begin_backup" in night.disks.asked
    assert night.nothing_is_left()
    night.freeze = lambda: FakeFreeze(VERIFIED, broken)
    outcome = night.backup(policy=FreezePolicy.PREFER)
    assert (outcome.ok, outcome.consistency) == (True, Consistency.CRASH_CONSISTENT)


@pytest.mark.parametrize("kind", ["backup", "mirror", "stream", "migration"])
def test_whoever_is_at_work_keeps_it_off(night: Night, kind: str) -> None:
    night.disks.others = (BlockJob(f"libvirt.{kind}.vda", kind, BlockJobStatus.RUNNING, 1, 2),)
    outcome = night.backup()
    assert outcome.refusal is JobRefusal.JOB_RUNNING
    assert night.nothing_is_left()


def test_another_frostwatchs_claim_keeps_it_off_and_a_dead_ones_does_not(night: Night) -> None:
    mine = JobId("backup", this_process(), "0a1b2c3d")
    night.disks.marks.add(mine.node(CLAIM))
    assert night.backup().refusal is JobRefusal.JOB_RUNNING
    night.disks.marks = {JobId("backup", GONE, "0a1b2c3d").node(CLAIM)}
    assert night.backup().ok
    assert night.disks.marks == set()


# -- snapshots -------------------------------------------------------------------------------------


def test_a_snapshot_is_taken_described_listed_and_folded_back(night: Night) -> None:
    outcome = night.snapshot()
    assert outcome.ok, outcome.reason
    overlays = {node: files[0] for node, files in night.disks.chains.items()}
    assert overlays["vda"] == str(night.images / "vda.one.qcow2")
    assert "certified" in night.disks.texts["one"]
    assert (night.disks.marks, night.disks.works) == (set(), {})
    (found,) = list_kept(night.vm, night.disks.disks(), night.disks.snapshots(), ())
    assert (found.name, found.consistency) == ("one", Consistency.CONSISTENT)
    assert found.disks[0].file == str(night.images / "vda.qcow2")
    assert any("virsh snapshot-delete db1 one --metadata" in one for one in found.revert)
    deleted = night.delete()
    assert (deleted.result, deleted.left) == (JobResult.COMPLETE, ()), deleted.reason
    assert sorted(one.name for one in night.images.iterdir()) == ["vda.qcow2", "vdb.qcow2"]
    assert (night.disks.kept, night.disks.works) == ({}, {})


def test_one_that_is_refused_leaves_no_file(night: Night) -> None:
    night.disks.refuses["take_snapshot"] = "Permission denied"
    outcome = night.snapshot()
    assert (outcome.result, outcome.left) == (JobResult.FAILED, ())
    assert sorted(one.name for one in night.images.iterdir()) == ["vda.qcow2", "vdb.qcow2"]
    assert night.nothing_is_left()


def test_one_that_was_taken_in_no_certified_window_is_folded_back(night: Night) -> None:
    broken = CERTIFIED._replace(certified=False, reason="it was thawed")
    night.freeze = lambda: FakeFreeze(VERIFIED, broken)
    outcome = night.snapshot()
    assert (outcome.result, outcome.left) == (JobResult.FAILED, ())
    assert "fold" in night.disks.asked
    assert night.disks.kept == {}
    assert sorted(one.name for one in night.images.iterdir()) == ["vda.qcow2", "vdb.qcow2"]


def test_an_internal_one_is_refused_with_what_can_be_done(night: Night) -> None:
    outcome = night.snapshot(external=False)
    assert outcome.refusal is JobRefusal.MANAGED
    assert "--external" in (outcome.next or "")


def test_the_newest_one_is_deleted_first(night: Night) -> None:
    night.snapshot("one")
    night.snapshot("two")
    older = night.delete("one")
    assert older.refusal is JobRefusal.NAME
    assert "delete the newer one first" in (older.next or "")
    assert night.delete("three").refusal is JobRefusal.NAME
    assert night.delete("two", external=False).refusal is JobRefusal.NAME
    assert night.delete("two").result is JobResult.COMPLETE
    assert night.disks.kept.keys() == {"one"}


def test_calls_that_hang_do_not_pile_up(night: Night) -> None:
    """As behind a daemon that hangs for days, while the end of a copy is tried again and again."""
    port, answers = CalledPort(night.disks), threading.Event()
    begun: list[int] = []

    def hang() -> None:
        begun.append(1)
        answers.wait(60.0)

    for _ in range(10):
        with pytest.raises(JobFailed):
            port.within(0.01, hang)
    until(lambda: len(begun) == MOST_HANGING)
    answers.set()
    deadline = time.monotonic() + 60.0
    while True:
        try:
            assert port.within(60.0, lambda: 1) == 1
        except JobFailed:
            assert time.monotonic() < deadline
        else:
            break


def test_calls_of_one_copy_after_the_other_do_not_pile_up_either(night: Night) -> None:
    answers, begun = threading.Event(), list[int]()

    def hang() -> None:
        begun.append(1)
        answers.wait(60.0)

    for _ in range(MOST_HANGING * 2):
        with pytest.raises(JobFailed):
            night.context().called().within(0.01, hang)
    until(lambda: len(begun) == MOST_HANGING)
    with pytest.raises(JobFailed, match="hang already"):
        night.context().port().status()
    answers.set()


# -- what was left ---------------------------------------------------------------------------------


def test_a_backup_whose_frostwatch_has_ended_is_found_ended_and_deleted(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.disks.finishes = None
    begun, ended = threading.Event(), threading.Event()
    begin = night.disks.begin_backup

    def begin_and_stop(*works: Any, **how: Any) -> None:
        begin(*works, **how)
        begun.set()
        ended.wait(60)  # as one that has ended: it looks at nothing, and undoes nothing

    monkeypatch.setattr(night.disks, "begin_backup", begin_and_stop)
    job = CalledBackup(night.context(), BackupRequest(folder=night.to))
    thread = threading.Thread(target=job.run)
    thread.start()
    assert begun.wait(60)
    port = CalledPort(night.disks)
    (copy,) = find_copies(port, lambda _: True)
    assert (copy.kind, copy.running, copy.complete) == (JobKind.BACKUP, False, False)
    folder = Path(copy.files[0]).parent
    cleared = clear_called(port, copy)
    night.control.cancel()
    ended.set()
    thread.join()
    assert str(folder / "vda.qcow2") in cleared.removed
    assert (cleared.kept, cleared.left) == ((), ())
    assert not folder.exists()


def test_a_complete_one_is_kept(night: Night) -> None:
    name = JobId("backup", GONE, "0a1b2c3d")
    file = night.to / "vda.qcow2"
    file.write_bytes(b"complete")
    night.disks.marks.add(name.node(CLAIM))
    night.disks.plan([DiskWork(name.job(0), BACKUP, "vda", str(file), began=True)])
    night.disks.ended[name.job(0)] = ""
    port = CalledPort(night.disks)
    (copy,) = find_copies(port, lambda _: True)
    cleared = clear_called(port, copy)
    assert (cleared.removed, cleared.kept) == ((), (str(file),))
    assert file.exists()
    assert (night.disks.marks, night.disks.works) == (set(), {})


def test_a_file_that_is_not_known_to_be_incomplete_is_never_deleted(night: Night) -> None:
    name = JobId("backup", GONE, "0a1b2c3d")
    file = night.to / "somebodys"
    file.write_bytes(b"precious")
    night.disks.marks.add(name.node(CLAIM))
    night.disks.plan([DiskWork(name.job(0), BACKUP, "vda", str(file), began=True)])
    night.disks.ended[name.job(0)] = "it failed"
    port = CalledPort(night.disks)
    (copy,) = find_copies(port, lambda _: True)
    cleared = clear_called(port, copy)
    assert (cleared.removed, file.exists()) == ((), True)
    assert "not known to be incomplete" in cleared.left[0]


@pytest.mark.parametrize("written", [False, True])
def test_an_overlay_that_nobody_uses_is_deleted_only_if_it_holds_nothing(
    night: Night, written: bool
) -> None:
    name = JobId("snapshot", GONE, "0a1b2c3d")
    files = CalledFiles(JobControl(), None)
    path = night.images / "vda.one.qcow2"
    files.make(path, 1 << 20, "vda", (night.disks.chains["vda"][0], "qcow2"))
    if written:
        path.write_bytes(path.read_bytes() + b"\0" * 65536)
        content = bytearray(path.read_bytes())
        table = int.from_bytes(content[40:48], "big")
        content[table : table + 8] = b"\x80\0\0\0\0\x05\0\0"
        path.write_bytes(content)
    night.disks.marks.add(name.node(CLAIM))
    night.disks.plan([DiskWork(name.job("c0"), FOLD, "vda", str(path))])
    port = CalledPort(night.disks)
    (copy,) = find_copies(port, lambda _: True)
    cleared = clear_called(port, copy)
    assert path.exists() is written
    assert bool(cleared.left) is written


# -- files --------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try what others may do")
def test_a_folder_that_the_qemus_user_may_not_enter_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    nobody = subprocess.Popen(["sleep", "600"], user=65534, group=65534, extra_groups=[])
    try:
        files = CalledFiles(JobControl(), process_of(nobody.pid))
        with pytest.raises(JobRefused, match="uid 65534") as error:
            files.check_folder(closed)
        assert error.value.refusal is JobRefusal.TARGET
        files.check_folder(Path("/"))
    finally:
        nobody.kill()
        nobody.wait()
    CalledFiles(JobControl(), None).check_folder(closed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try what others may do")
def test_a_look_at_a_folder_that_not_even_kill_ends_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "test"
    stuck.write_text("#!/bin/sh\nexec sleep 600\n")
    stuck.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o055 == 0:
            folder.chmod(0o755)  # nobody else may start it otherwise
    nobody = subprocess.Popen(["sleep", "600"], user=65534, group=65534, extra_groups=[])
    kill = subprocess.Popen.kill
    ended: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(files_module, "_TEST", str(stuck))
    monkeypatch.setattr(files_module, "_LOOK_S", 0.2)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda child: ended.append(child))
    try:
        CalledFiles(JobControl(), process_of(nobody.pid)).check_folder(Path("/"))
        (look,) = ended
        assert look.poll() is None, "it has waited for its end"
    finally:
        for child in (nobody, *ended):
            kill(child)
            child.wait()


def test_nothing_that_exists_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    path.write_bytes(b"precious")
    files = CalledFiles(JobControl(), None)
    with pytest.raises(JobRefused, match="is not overwritten"):
        files.make(path, 1 << 20, "vda")
    assert files.remove() == []
    assert path.read_bytes() == b"precious"


# -- where there is no copy ------------------------------------------------------------------------


def test_a_mirror_is_refused_with_virshs_commands(night: Night) -> None:
    with pytest.raises(FrostwatchError, match="not made through libvirt") as error:
        check_manager(night.vm, JobKind.MIRROR)
    assert "--transient-job" in str(getattr(error.value, "next_step", ""))
    check_manager(night.vm, JobKind.BACKUP)
    far = night.vm._replace(id=VmId("libvirt", "db1", "node2"))
    with pytest.raises(FrostwatchError, match="runs on node2"):
        check_manager(far, JobKind.BACKUP)


def test_what_is_of_no_use_any_more_is_told_of_a_folder(night: Night) -> None:
    outcome = night.backup()
    folder = Path(outcome.disks[0].target or "").parent
    found = read_backup(folder)
    assert found is not None
    assert found.manifest is not None
    assert found.manifest.vm["id"] == "libvirt:db1"
