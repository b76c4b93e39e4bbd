"""Copies of guests under libvirt, by libvirt: backups, snapshots, and commands under a freeze."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from agentclient.jobs.command.request import CommandRequest
from agentclient.model.command import ThawWhen
from agentclient.model.job import Consistency, JobKind, JobRefusal, JobResult, JobStage
from tests.guests.backing_up import in_the_stage
from tests.guests.lab import DomainGuest, Libvirtd, check_copy
from tests.guests.lab.loads import AppendLoad
from tests.guests.lab.process import make_disk
from tests.guests.lab.shell import wait_until
from tests.guests.libvirt_copying import (
    LARGE,
    PATIENCE_S,
    Copier,
    RoomyGuest,
    assert_consistent,
    assert_whole,
    image_of,
    nothing_is_left,
    state_of,
    told_progress,
)

DISKS = {"a": "vda", "b": "vdb"}
MANY = 20


@pytest.fixture(scope="module")
def writer(libvirtd: Libvirtd) -> Iterator[DomainGuest]:
    """A guest with tools, for the tests of this module."""
    with RoomyGuest(libvirtd, name="writer", tools=True) as guest:
        guest.wait_up()
        yield guest


@pytest.fixture
def copier(writer: DomainGuest, tmp_path: Path) -> Iterator[Copier]:
    """Somebody who copies its disks, and leaves nothing."""
    with Copier(writer, tmp_path / "to") as one:
        yield one
    nothing_is_left(writer)


@contextmanager
def copying(copier: Copier, *, limit: int, seconds: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    """Make a backup in a process of its own, as slow as it is told to be."""
    guest = copier.guest
    words = [guest.daemon.uri, guest.name, str(copier.folder), str(limit), str(seconds)]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.guests.libvirt_copying_child", *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def wait_for(child: subprocess.Popen[str], stage: str) -> None:
    """Wait until the process says that it is at a stage."""
    assert child.stdout is not None
    told = []
    for line in child.stdout:
        told.append(line.strip())
        if told[-1] == stage:
            return
    raise AssertionError(f"it never said {stage}: {told}")


def test_backups_full_and_incremental_are_consistent(copier: Copier, writer: DomainGuest) -> None:
    durable: dict[str, int] = {}
    with writer.append_load("a", "b") as load:
        load.wait_for(20)
        look = in_the_stage(JobStage.STARTING, lambda: durable.update(load.durable()))
        outcome, first = copier.backup("vda", "vdb", on_event=look)
        assert_whole({disk: first / f"{name}.qcow2" for disk, name in DISKS.items()}, durable)
        load.wait_for(20)
        _, second = copier.backup("vda", "vdb", on_event=look, incremental=True)
        assert_whole({disk: second / f"{name}.qcow2" for disk, name in DISKS.items()}, durable)
    assert [one.disk for one in outcome.disks] == ["vda", "vdb"]


def test_a_snapshot_is_consistent_listed_and_folded_back(
    copier: Copier, writer: DomainGuest
) -> None:
    durable: dict[str, int] = {}
    images = {disk: image_of(writer, disk) for disk in DISKS}
    with writer.append_load("a", "b") as load:
        load.wait_for(20)
        look = in_the_stage(JobStage.THAWING, lambda: durable.update(load.durable()))
        outcome = copier.snapshot("whole", "vda", "vdb", on_event=look)
        assert_consistent(outcome, copier.texts)
        load.wait_for(20)
        assert_whole(images, durable)
        (found,) = copier.engine.jobs.snapshots(copier.vm)
        assert (found.name, found.consistency) == ("whole", Consistency.CONSISTENT)
        listed = writer.daemon.virsh("snapshot-list", writer.name)
        assert "whole" in listed
        deleted = copier.delete("whole")
        assert (deleted.result, deleted.left) == (JobResult.COMPLETE, ()), deleted.reason
        load.wait_for(20)
    assert copier.engine.jobs.snapshots(copier.vm) == ()
    assert "whole" not in writer.daemon.virsh("snapshot-list", writer.name)
    assert str(images["a"]) in writer.daemon.virsh("domblklist", writer.name)


@pytest.mark.soak
def test_what_libvirt_can_not_do_is_refused_before_anything_starts(copier: Copier) -> None:
    outcome = copier.snapshot("inside", external=False)
    assert (outcome.result, outcome.refusal) == (JobResult.REFUSED, JobRefusal.MANAGED)
    assert "--external" in (outcome.next or "")


@pytest.mark.soak
@pytest.mark.alone
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["backup", "snapshot"])
def test_many_under_load_are_consistent_and_cost_the_guest_little(
    copier: Copier, writer: DomainGuest, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    windows, stalls, bare = [], [], []
    with writer.append_load("a", "b") as load:
        for number in range(MANY):
            load.wait_for(10)
            since = load.counter()
            assert copier.freeze().certified
            load.wait_for(3)
            bare.append(load.stalls(since=since).worst_ms)
            durable: dict[str, int] = {}
            look = in_the_stage(JobStage.THAWING, partial(remember, durable, load))
            load.wait_for(10)
            if kind == "backup":
                outcome, folder = copier.backup("vda", "vdb", on_event=look)
                images = {disk: folder / f"{name}.qcow2" for disk, name in DISKS.items()}
            else:
                outcome = copier.snapshot(f"s{number}", "vda", "vdb", on_event=look)
                assert_consistent(outcome, copier.texts)
                images = {disk: image_of(writer, disk) for disk in DISKS}
            assert_whole(images, durable)
            if kind == "snapshot":
                assert copier.delete(f"s{number}").left == ()
            since = load.counter()
            # Once more, and nobody looks: what the guest itself notices of it.
            if kind == "backup":
                outcome, _ = copier.backup("vda", "vdb")
            else:
                outcome = copier.snapshot(f"t{number}", "vda", "vdb")
            load.wait_for(3)
            stalls.append(load.stalls(since=since).worst_ms)
            times = outcome.times
            assert times.began is not None
            assert times.taken is not None
            windows.append((times.taken - times.began).total_seconds() * 1000)
            if kind == "snapshot":
                assert copier.delete(f"t{number}").left == ()
    with capsys.disabled():
        for what, found in (("taken in", windows), ("stall", stalls), ("bare stall", bare)):
            print(f"\n{kind}: {what} {statistics.median(found):.0f} ms, worst {max(found):.0f} ms")


def remember(durable: dict[str, int], load: AppendLoad) -> None:
    """Keep what the guest has made durable by now."""
    durable.update(load.durable())


@pytest.mark.soak
def test_a_backup_that_is_left_is_found_and_another_frostwatch_kept_off(
    copier: Copier, writer: DomainGuest
) -> None:
    with copying(copier, limit=1 << 16) as child:
        wait_for(child, "copying")
        (copy,) = copier.engine.jobs.in_qemu(copier.vm)
        assert copy.running
        second = copier.begin_backup("vda").wait(PATIENCE_S)
        assert second is not None
        assert second.refusal is JobRefusal.JOB_RUNNING, second.reason
        child.kill()
        child.wait()
    writer.assert_thawed()
    (copy,) = copier.engine.jobs.in_qemu(copier.vm)
    assert (copy.kind, copy.running, copy.complete) == ("backup", False, False)
    copier.engine.watch()
    wait_until(lambda: bool(state_of(copier).left_jobs), PATIENCE_S, "it to be shown as left")
    cleared = copier.engine.jobs.clear(copier.vm, copy)
    assert cleared.left == ()
    assert len([one for one in cleared.removed if one.endswith(".qcow2")]) == 1
    assert list(copier.folder.rglob("*.qcow2")) == []


@pytest.mark.soak
def test_killed_in_the_window_the_guest_is_thawed_and_the_copy_found(
    copier: Copier, writer: DomainGuest
) -> None:
    with copying(copier, limit=1 << 16, seconds=90.0) as child:
        wait_for(child, "in the window")
        assert writer.frozen_mounts() == {"a", "b"}
        child.kill()
        child.wait()
        wait_until(lambda: not writer.frozen_mounts(), PATIENCE_S, "the thaw")
    (copy,) = copier.engine.jobs.in_qemu(copier.vm)
    assert copier.engine.jobs.clear(copier.vm, copy).left == ()


@pytest.mark.soak
def test_a_cancelled_backup_leaves_nothing(copier: Copier, writer: DomainGuest) -> None:
    job = copier.begin_backup(LARGE, limit=1 << 16)
    wait_until(lambda: bool(told_progress(copier)), PATIENCE_S, "its progress")
    job.cancel()
    outcome = job.wait(PATIENCE_S)
    assert outcome is not None
    assert (outcome.result, outcome.left) == (JobResult.CANCELLED, ()), outcome.reason
    assert list(copier.folder.rglob("*.qcow2")) == []
    last = told_progress(copier)[-1]
    assert [one.disk for one in last.disks] == [LARGE]
    assert last.total > 0
    assert last.done < last.total
    if limits_backups(writer):
        assert last.limit == 1 << 16


@pytest.mark.soak
def test_a_limit_that_libvirt_refuses_is_told_and_the_backup_goes_on(
    copier: Copier, writer: DomainGuest
) -> None:
    if limits_backups(writer):
        pytest.skip("its libvirt limits backups")
    job = copier.begin_backup(LARGE, limit=1 << 16)
    wait_until(
        lambda: "the copy goes on without a limit" in copier.texts, PATIENCE_S, "it to be told"
    )
    before = told_progress(copier)[-1]
    assert before.limit == 0
    wait_until(lambda: told_progress(copier)[-1].done > before.done, PATIENCE_S, "it to go on")
    job.cancel()
    outcome = job.wait(PATIENCE_S)
    assert outcome is not None
    assert (outcome.result, outcome.left) == (JobResult.CANCELLED, ()), outcome.reason


def limits_backups(guest: DomainGuest) -> bool:
    """Whether its libvirt takes a limit of a backup that runs; 11.3 takes none."""
    said = guest.daemon.virsh("version", "--daemon")
    return "daemon: 9." in said


def test_a_command_that_begins_a_backup_has_the_guest_thawed_once_it_runs(
    copier: Copier, writer: DomainGuest, tmp_path: Path
) -> None:
    found = copier.engine.jobs.survey(copier.vm, JobKind.BACKUP).disks
    files = {one.disk.name: tmp_path / f"{one.disk.name}.qcow2" for one in found}
    for one in found:  # those that libvirt makes it deletes, too
        make_disk(files[one.disk.name], one.disk.size)
    xml = tmp_path / "backup.xml"
    disks = "".join(
        f"<disk name='{name}' backup='yes' type='file'><driver type='qcow2'/>"
        f"<target file='{path}'/></disk>"
        for name, path in files.items()
    )
    xml.write_text(f"<domainbackup mode='push'><disks>{disks}</disks></domainbackup>")
    virsh = f"virsh --connect '{writer.daemon.uri}'"
    slow = f"blockjob {writer.name} {LARGE} --bandwidth 1"
    begin = f"backup-begin {writer.name} {xml} --reuse-external; {slow}"
    # Its small disks are copied meanwhile; the large one is of no interest.
    end = f"sleep 2; {virsh} domjobabort {writer.name}"
    script = f"{virsh} '{begin}' && {end}"
    request = CommandRequest(
        argv=("sh", "-c", script), hold_s=100.0, thaw_when=ThawWhen.JOB_STARTED
    )
    with writer.append_load("a", "b") as load:
        load.wait_for(20)
        job = copier.engine.jobs.command([copier.vm], request, copier.listener())
        outcomes = job.wait(PATIENCE_S)
    assert outcomes is not None
    (outcome,) = outcomes
    assert outcome.ok, f"{outcome.reason}\n{copier.texts}"
    for name in DISKS.values():
        verdict = check_copy(files[name])
        assert verdict.consistent, verdict.said
        assert verdict.gapless
