"""Copies through libvirt while its daemon dies, its domain ends, or somebody else is at work."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentclient.model.job import JobOutcome, JobRefusal, JobResult, JobStage
from tests.guests.backing_up import in_the_stage
from tests.guests.lab import DomainGuest, Libvirtd, check_copy
from tests.guests.lab.shell import wait_until
from tests.guests.libvirt_copying import (
    LARGE,
    PATIENCE_S,
    Copier,
    RoomyGuest,
    assert_consistent,
    image_of,
    nothing_is_left,
    said_of_copies,
    told_progress,
)
from tests.guests.storages import ROOT, small

IN_THE_WINDOW = [JobStage.STARTING, JobStage.THAWING]
KINDS = ["backup", "snapshot"]


@pytest.fixture(scope="module")
def writer(libvirtd: Libvirtd) -> Iterator[DomainGuest]:
    """A guest for the tests of this module that leave it whole."""
    with RoomyGuest(libvirtd, name="beset") as guest:
        guest.wait_up()
        yield guest


@pytest.fixture
def copier(writer: DomainGuest, tmp_path: Path) -> Iterator[Copier]:
    """Somebody who copies its disks, and leaves nothing."""
    with Copier(writer, tmp_path / "to") as one:
        yield one
    nothing_is_left(writer)


def made(copier: Copier, kind: str, at: JobStage, do: Callable[[], object]) -> JobOutcome:
    """Make a copy of one disk, and do something when it is at a stage."""
    if kind == "snapshot":
        return copier.snapshot("s1", "vda", on_event=in_the_stage(at, do))
    outcome = copier.begin_backup("vda", on_event=in_the_stage(at, do)).wait(PATIENCE_S)
    assert outcome is not None, copier.texts
    return outcome


def restarted(guest: DomainGuest) -> None:
    """Kill its daemon, and start it again."""
    guest.daemon.kill()
    time.sleep(0.5)
    guest.daemon.start_again()


def no_file_is_left(copier: Copier) -> None:
    """Neither a backup's file, nor an overlay or what is beside it."""
    beside = image_of(copier.guest, "a").parent
    assert list(copier.folder.rglob("*.qcow2")) == []
    assert list(beside.glob("*s1*")) == []


@pytest.mark.soak
@pytest.mark.parametrize("stage", IN_THE_WINDOW)
@pytest.mark.parametrize("kind", KINDS)
def test_a_daemon_that_dies_in_the_window_leaves_no_copy(
    copier: Copier, writer: DomainGuest, kind: str, stage: JobStage
) -> None:
    outcome = made(copier, kind, stage, lambda: restarted(writer))
    assert (outcome.result, outcome.left) == (JobResult.FAILED, ()), outcome.reason
    no_file_is_left(copier)
    assert str(image_of(writer, "a")) in writer.daemon.virsh("domblklist", writer.name)


@pytest.mark.soak
def test_a_backup_goes_on_while_the_daemon_dies_and_comes_back(
    copier: Copier, writer: DomainGuest
) -> None:
    job = copier.begin_backup("vda", LARGE)
    wait_until(lambda: bool(told_progress(copier)), PATIENCE_S, "its progress")
    restarted(writer)
    outcome = job.wait(300.0)
    assert outcome is not None
    assert_consistent(outcome, copier.texts)
    assert check_copy(Path(outcome.disks[0].target or "")).consistent


@pytest.mark.soak
def test_a_domain_that_is_undefined_meanwhile_is_copied(copier: Copier, tmp_path: Path) -> None:
    guest, xml = copier.guest, tmp_path / "domain.xml"
    for kind in KINDS:
        xml.write_text(guest.daemon.virsh("dumpxml", guest.name))
        guest.daemon.virsh("define", str(xml))
        words = ("undefine", guest.name, "--checkpoints-metadata", "--snapshots-metadata")

        def undefine(words: tuple[str, ...] = words) -> None:
            guest.daemon.virsh(*words)

        assert_consistent(made(copier, kind, JobStage.THAWING, undefine), copier.texts)
    assert copier.delete("s1").left == ()


def test_what_somebody_else_begins_in_libvirt_before_the_copy_is_taken_refuses_it(
    copier: Copier, writer: DomainGuest, tmp_path: Path
) -> None:
    xml = tmp_path / "theirs.xml"
    disk = (
        f"<disk name='{LARGE}' backup='yes' type='file'><target file='{tmp_path}/theirs'/></disk>"
    )
    xml.write_text(f"<domainbackup mode='push'><disks>{disk}</disks></domainbackup>")
    outcome = made(
        copier,
        "backup",
        JobStage.FREEZING,
        lambda: writer.daemon.virsh("backup-begin", writer.name, str(xml)),
    )
    assert (outcome.refusal, outcome.left) == (JobRefusal.JOB_RUNNING, ()), outcome.reason
    no_file_is_left(copier)
    writer.assert_thawed()
    assert "Unbounded" in writer.daemon.virsh("domjobinfo", writer.name), "theirs goes on"
    writer.daemon.virsh("domjobabort", writer.name)
    wait_until(lambda: said_of_copies(writer) == [], PATIENCE_S, "our claim to go")


@ROOT
@pytest.mark.soak
def test_a_target_that_becomes_full_breaks_the_backup_alone(
    copier: Copier, writer: DomainGuest, tmp_path: Path
) -> None:
    writer.shell("dd if=/dev/urandom of=/mnt/a/much bs=1M count=20 && sync")
    with small(tmp_path / "small", "40m") as place:
        copier.folder = place

        def fill() -> None:
            with pytest.raises(OSError, match="No space"):
                (place / "filler").write_bytes(bytes(60 << 20))

        outcome = made(copier, "backup", JobStage.STARTING, fill)
        assert (outcome.result, outcome.left) == (JobResult.FAILED, ()), outcome.reason
        assert "No space left" in outcome.reason
        no_file_is_left(copier)
    assert "running" in writer.daemon.virsh("domstate", writer.name)


@ROOT
def test_a_folder_without_an_inode_and_an_overlay_that_exists_are_refused(
    copier: Copier, writer: DomainGuest, tmp_path: Path
) -> None:
    place = tmp_path / "few"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=4", "few", str(place)], check=True)
    try:
        copier.folder = place
        outcome = made(copier, "backup", JobStage.DONE, lambda: None)
        assert (outcome.refusal, outcome.left) == (JobRefusal.TARGET, ()), outcome.reason
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", str(place)], check=True)
    image = image_of(writer, "a")
    precious = image.parent / f"{image.stem}.s1.qcow2"
    precious.write_text("precious")
    outcome = copier.snapshot("s1", "vda")
    assert (outcome.refusal, outcome.left) == (JobRefusal.TARGET_EXISTS, ()), outcome.reason
    assert precious.read_text() == "precious"
    precious.unlink()


@pytest.mark.soak
@pytest.mark.parametrize("stage", [*IN_THE_WINDOW, JobStage.FINISHING])
def test_a_domain_that_is_destroyed_meanwhile_gives_no_backup(
    libvirtd: Libvirtd, tmp_path: Path, stage: JobStage
) -> None:
    with RoomyGuest(libvirtd, name="ended") as guest, Copier(guest, tmp_path / "to") as copier:
        guest.wait_up()
        outcome = made(copier, "backup", stage, lambda: guest.daemon.virsh("destroy", guest.name))
        assert (outcome.result, outcome.left) == (JobResult.FAILED, ()), outcome.reason
        assert "ended" in outcome.reason or "gone" in outcome.reason
        assert list(copier.folder.rglob("*")) == []
