"""Snapshots of real guests' disks under a write load: what they are worth, listed, deleted."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from agentclient.jobs.snapshots.finding import ABOVE
from agentclient.model.disk_snapshot import SnapshotKind
from agentclient.model.job import (
    Consistency,
    FreezePolicy,
    JobOutcome,
    JobRefusal,
    JobResult,
    JobStage,
)
from tests.guests.command import Frostwatch, ended
from tests.guests.conftest import Boot
from tests.guests.copying import frozen
from tests.guests.lab import PATIENCE_S, Guest, check_copy
from tests.guests.lab.copies import snapshots
from tests.guests.lab.process import copy_disk
from tests.guests.lab.release import tool
from tests.guests.lab.shell import wait_until
from tests.guests.snapshotting import Photographer

KINDS: dict[str, Literal["ext4", "xfs"]] = {"a": "ext4", "b": "ext4", "x": "xfs"}


@pytest.fixture(scope="module")
def writer(module_boot: Boot) -> Guest:
    """A guest with tools, two ext4 and an xfs, for the tests of this module."""
    return module_boot(name="writer", mounts=("a", "b", "x"), tools=True)


@pytest.fixture
def photographer(writer: Guest) -> Iterator[Photographer]:
    """Somebody who takes snapshots of it, and leaves none."""
    with Photographer(writer) as one:
        yield one
        found = sorted(one.list().values(), key=lambda each: each.made or 0, reverse=True)
        for each in found:
            one.delete(each.name, external=each.kind is SnapshotKind.EXTERNAL)
        assert one.list() == {}
    writer.assert_thawed()


def assert_consistent(outcome: JobOutcome) -> None:
    assert outcome.ok, outcome.reason
    assert (outcome.result, outcome.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
    assert outcome.window is not None
    assert outcome.window.certified
    assert outcome.left == ()


def assert_consistent_disks(
    images: dict[str, Path], durable: dict[str, int], snapshot: str | None = None
) -> None:
    """All disks are clean, complete up to the freeze, and of one instant."""
    last = {}
    for disk, image in images.items():
        verdict = check_copy(image, KINDS[disk], snapshot=snapshot)
        assert verdict.consistent, verdict.said
        assert verdict.gapless
        assert verdict.last in (durable[disk], durable[disk] + 1)
        last[disk] = verdict.last
    assert max(last.values()) - min(last.values()) in (0, 1), last


@pytest.mark.parametrize("external", [False, True], ids=["internal", "external"])
def test_a_snapshot_under_load_is_consistent_and_one_without_a_freeze_is_not(
    photographer: Photographer, writer: Guest, external: bool
) -> None:
    durable: dict[str, int] = {}
    images = {disk: photographer.image(disk) for disk in KINDS}
    with writer.append_load(*KINDS) as load:
        load.wait_for(30)
        outcome = photographer.take(
            "whole",
            external=external,
            at={JobStage.THAWING: lambda: durable.update(load.durable())},
        )
        load.wait_for(30)
        if external:
            assert_consistent_disks(images, durable)
            control = photographer.take("control", external=True, policy=FreezePolicy.NEVER)
            crashed = {
                one.disk: Path(one.overlay or "") for one in photographer.list()["whole"].disks
            }
        else:
            control = photographer.take("control", policy=FreezePolicy.NEVER)
            crashed = images
    assert_consistent(outcome)
    if not external:
        assert_consistent_disks(images, durable, "whole")
    assert (control.result, control.consistency) == (
        JobResult.COMPLETE,
        Consistency.CRASH_CONSISTENT,
    )
    assert control.ok
    name = None if external else "control"
    assert any(
        check_copy(image, KINDS[disk], snapshot=name).needs_recovery
        for disk, image in crashed.items()
    )
    told = f"start the VM with {images['a']}" if external else "qemu-img snapshot -a whole"
    assert any(told in note for note in photographer.notes)


def test_what_is_known_of_each_is_listed(photographer: Photographer, writer: Guest) -> None:
    assert_consistent(photographer.take("ours", "a", "b"))
    assert photographer.take("bare", "a", policy=FreezePolicy.NEVER).ok
    writer.qmp("blockdev-snapshot-internal-sync", device="b", name="theirs")
    assert_consistent(photographer.take("over", external=True))
    with Photographer(writer) as another:
        found = another.list()
    assert set(found) == {"ours", "bare", "theirs", "over"}
    ours, bare, theirs, over = (found[one] for one in ("ours", "bare", "theirs", "over"))
    assert ([one.disk for one in ours.disks], ours.missing) == (["a", "b"], ("x",))
    assert (ours.kind, ours.consistency) == (SnapshotKind.INTERNAL, Consistency.CONSISTENT)
    assert ours.window is not None
    assert ours.window["certified"] is True
    image = photographer.image("a")
    assert ours.revert == (ABOVE,)  # an overlay is built on its image
    assert (bare.consistency, theirs.consistency) == (None, None)
    assert "another program" in theirs.reason
    assert (over.kind, over.consistency) == (SnapshotKind.EXTERNAL, Consistency.CONSISTENT)
    assert over.window is not None
    assert over.size is not None
    assert over.size > 0
    assert over.revert[0].startswith(f"start the VM with {image} as its disk a")
    # Nothing of it is taken for what a dead frostwatch has left.
    assert photographer.engine.jobs.in_qemu(photographer.vm) == ()


def test_of_a_name_that_another_has_taken_again_nothing_is_known(
    photographer: Photographer, writer: Guest
) -> None:
    assert_consistent(photographer.take("twice", "a"))
    writer.qmp("blockdev-snapshot-delete-internal-sync", device="a", name="twice")
    made = photographer.list()
    assert made == {}
    writer.shell("sleep 2")
    writer.qmp("blockdev-snapshot-internal-sync", device="a", name="twice")
    assert photographer.list()["twice"].consistency is None


def test_a_name_that_exists_is_refused_before_anything_is_frozen(
    photographer: Photographer, writer: Guest
) -> None:
    assert photographer.take("once", "a").ok
    assert photographer.take("above", "a", external=True).ok
    for name, external in (("once", False), ("once", True), ("above", False), ("above", True)):
        refused = photographer.take(name, "b", external=external)
        assert (refused.result, refused.refusal) == (JobResult.REFUSED, JobRefusal.NAME)
        assert refused.window is None
        assert refused.times.frozen is None
    assert set(photographer.list()) == {"once", "above"}


def test_a_snapshot_is_deleted_only_by_its_exact_name(
    photographer: Photographer, writer: Guest
) -> None:
    assert photographer.take("one", "a", "b").ok
    writer.qmp("blockdev-snapshot-internal-sync", device="a", name="theirs")
    refused = photographer.delete("on")
    assert (refused.refusal, "there are: one, theirs" in refused.reason) == (JobRefusal.NAME, True)
    assert photographer.delete("one", external=True).refusal is JobRefusal.NAME
    assert photographer.delete("one", "b").ok
    assert [one.disk for one in photographer.list()["one"].disks] == ["a"]
    assert photographer.delete("one", "b").refusal is JobRefusal.NAME
    assert photographer.delete("theirs").ok
    assert list(photographer.list()) == ["one"]
    assert snapshots(photographer.image("a")) == ["one"]


def test_overlays_are_folded_back_under_load_the_newest_first(
    photographer: Photographer, writer: Guest, tmp_path: Path
) -> None:
    folder = tmp_path / "overlays"
    folder.mkdir()
    with writer.append_load("a", "x") as load:
        load.wait_for(20)
        assert photographer.take("first", external=True).ok
        load.wait_for(20)
        second = photographer.take("second", "a", "x", external=True, folder=folder)
        assert second.ok
        assert [Path(one.target or "").parent for one in second.disks] == [folder, folder]
        assert second.next is not None
        assert str(folder / "a.second.qcow2") in second.next
        load.wait_for(20)
        early = photographer.delete("first", "a", "x", external=True)
        assert (early.refusal, "above" in early.reason) == (JobRefusal.NAME, True)
        # A snapshot within an overlay would be lost with it.
        writer.qmp("blockdev-snapshot-internal-sync", device="a", name="within")
        assert "within" in photographer.delete("second", external=True).reason
        writer.qmp("blockdev-snapshot-delete-internal-sync", device="a", name="within")
        assert photographer.delete("second", external=True).ok
        assert list(folder.iterdir()) == []
        load.wait_for(20)
        assert photographer.delete("first", external=True).ok
        load.wait_for(20)
        with frozen(writer):
            durable = load.durable()
            copy_disk(photographer.image("a"), tmp_path / "a.qcow2")
    verdict = check_copy(tmp_path / "a.qcow2")
    assert verdict.consistent
    assert verdict.gapless
    assert verdict.last in (durable["a"], durable["a"] + 1)
    beside = {one.name for one in photographer.image("a").parent.glob("*.qcow2")}
    assert beside == {"a.qcow2", "b.qcow2", "x.qcow2"}
    assert not list(photographer.image("a").parent.glob("*.json"))


def test_a_deletion_waits_for_no_job_of_others(
    photographer: Photographer, writer: Guest, tmp_path: Path
) -> None:
    assert photographer.take("busy", "a").ok
    writer.qmp(
        "drive-backup", job_id="theirs", device="b", sync="full", speed=1,
        target=str(tmp_path / "b.qcow2"), format="qcow2",
    )  # fmt: skip
    try:
        refused = [photographer.delete("busy"), photographer.take("no", "a")]
        assert [one.refusal for one in refused] == [JobRefusal.JOB_RUNNING] * 2
    finally:
        writer.qmp("block-job-cancel", device="theirs", force=True)
    wait_until(lambda: not writer.qmp("query-jobs"), PATIENCE_S, "the job's end")
    assert list(photographer.list()) == ["busy"]


@pytest.mark.parametrize("attach", ["drive", "blockdev"])
def test_a_disk_that_can_hold_none_is_refused(
    boot: Boot, tmp_path: Path, attach: Literal["drive", "blockdev"]
) -> None:
    guest = boot(name="raw", disk_format="raw", attach=attach)
    with Photographer(guest) as photographer:
        refused = photographer.take("no")
        assert (refused.result, refused.refusal) == (JobResult.REFUSED, JobRefusal.RAW_DISK)
        assert refused.next is not None
        assert "--external" in refused.next
        assert refused.times.frozen is None
        # Beside a raw image goes an overlay.
        assert photographer.take("over", external=True).ok
        assert photographer.delete("over", external=True).ok
        named = photographer.take("no", "nosuch")
        assert named.refusal is JobRefusal.NO_DISK
        missing = photographer.take("no", external=True, folder=tmp_path / "missing")
        assert missing.refusal is JobRefusal.TARGET
    guest.assert_thawed()


def test_the_told_commands_go_back_to_it_with_the_vm_off(boot: Boot) -> None:
    guest = boot(name="back", mounts=("a", "x"), tools=True)
    durable: dict[str, int] = {}
    with guest.append_load("a", "x") as load, Photographer(guest) as photographer:
        load.wait_for(20)
        assert_consistent(
            photographer.take("back", at={JobStage.THAWING: lambda: durable.update(load.durable())})
        )
        load.wait_for(20)
        steps = photographer.list()["back"].revert
    guest.kill_qemu()
    for step in steps:
        program, *rest = shlex.split(step)
        subprocess.run([tool(program) or program, *rest], check=True, capture_output=True)
    images = {disk: guest.places.disk(disk, "qcow2") for disk in ("a", "x")}
    assert_consistent_disks(images, durable)


def test_the_command_line_takes_lists_and_deletes(guest: Guest) -> None:
    command = Frostwatch(guest)
    try:
        code, lines, _ = command.run("snapshot", "create", guest.name, "one")
        job = lines[-1]
        assert (code, job["event"], job["job"], job["ok"]) == (0, "job", "snapshot", True)
        assert (job["result"], job["consistency"]) == ("complete", "consistent")
        assert job["window"]["certified"] is True
        times = [job["times"][one] for one in ("frozen", "began", "taken", "thawed")]
        assert times == sorted(times)
        stages = [line["stage"] for line in lines if line["event"] == "stage"]
        assert stages == ["preparing", "freezing", "starting", "thawing", "finishing"]
        assert command.run("snapshot", "create", guest.name, "one")[0] == 1
        code, (found,), _ = command.run("snapshot", "list", guest.name)
        assert (code, found["name"], found["consistency"]) == (0, "one", "consistent")
        assert found["window"]["certified"] is True
        (window,) = [one for one in command.run("history")[1] if one["job"]]
        assert (window["job"]["name"], window["note"]) == ("one", "snapshot one")
        code, lines, _ = command.run("snapshot", "delete", guest.name, "one")
        assert (code, lines[-1]["job"], lines[-1]["result"]) == (0, "deletion", "complete")
        assert command.run("snapshot", "list", guest.name)[:2] == (0, [])
    finally:
        command.close()


def test_what_is_stopped_while_it_freezes_leaves_nothing(guest: Guest) -> None:
    guest.hanging_hook()
    command = Frostwatch(guest)
    try:
        child = command.start("snapshot", "create", guest.name, "cut", "--external", "--json")
        wait_until(lambda: guest.hook_log() == ["freeze"], PATIENCE_S, "the freeze runs")
        folder = guest.places.directory
        assert len(list(folder.glob("*.cut.*"))) == len(guest.options.disks) + 1
        child.send_signal(signal.SIGINT)
        assert child.stdout is not None
        assert any(json.loads(line)["event"] == "cancelled" for line in child.stdout)
        guest.clear_hook()
        code, lines, _ = ended(child)
    finally:
        command.close()
    assert (code, lines[-1]["event"], lines[-1]["result"]) == (1, "job", "cancelled")
    assert (lines[-1]["left"], list(folder.glob("*.cut.*"))) == ([], [])
    guest.assert_thawed()
