"""A mirror, on a simulated QEMU in virtual time: each of its ways."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import pytest

from agentclient.jobs import follow
from agentclient.jobs import mirror as mirror_module
from agentclient.jobs.mirror import MirrorJob, MirrorRequest
from agentclient.jobs.window import DEFAULT_HOLD_S
from agentclient.model.job import (
    Consistency,
    FreezePolicy,
    JobOutcome,
    JobRefusal,
    JobResult,
    JobStage,
    LeftOut,
    WhyLeftOut,
)
from agentclient.model.json_contract import rfc3339
from agentclient.model.outcome import Outcome
from agentclient.model.states import OutcomeKind, Refusal
from tests.unit.archives import copies_in
from tests.unit.copying_qemu import BEGAN, CERTIFIED, GIB, MIB, NO_AGENT, Refused, Scene, scene

__all__ = ["scene"]

REFUSED = Outcome(OutcomeKind.REFUSED, "it is busy", refusal=Refusal.BUSY)
UNCERTIFIED = CERTIFIED._replace(certified=False, reason="the agent died")


def run(scene: Scene, **asked: Any) -> JobOutcome:
    return mirror(scene, **asked).run()


def mirror(scene: Scene, **asked: Any) -> MirrorJob:
    return MirrorJob(scene.context(), MirrorRequest(folder=scene.folder, **asked))


def nothing_is_left(scene: Scene) -> bool:
    return not (any(scene.folder.iterdir()) or scene.qemu.jobs or scene.qemu.nodes)


# -- how it should go --------------------------------------------------------------------


def test_all_disks_are_completed_in_one_certified_window(scene: Scene) -> None:
    outcome = run(scene)
    assert (outcome.result, outcome.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
    assert outcome.ok
    assert scene.stages == [
        JobStage.PREPARING,
        JobStage.MIRRORING,
        JobStage.READY,
        JobStage.FREEZING,
        JobStage.STARTING,
        JobStage.THAWING,
        JobStage.FINISHING,
    ]
    assert scene.files == ["a.qcow2", "b.qcow2"]
    assert not scene.qemu.jobs
    assert not scene.qemu.nodes
    assert [one.copied for one in outcome.disks] == list(scene.qemu.sizes.values())
    assert len(scene.frozen) == 1


def test_nothing_is_completed_before_all_are_ready_and_the_guest_is_frozen(scene: Scene) -> None:
    frozen_at_cancel: list[tuple[int, set[str]]] = []

    def cancelled(given: dict[str, Any]) -> None:
        states = {job.status for job in scene.qemu.jobs.values()}
        frozen_at_cancel.append((len(scene.frozen), states))

    scene.qemu.hooks["block-job-cancel"] = cancelled
    assert run(scene).ok
    assert frozen_at_cancel == [(1, {"ready"}), (1, {"ready"})]
    assert [one[1].get("force") for one in scene.qemu.commands("block-job-cancel")] == [None, None]


def test_the_files_take_no_room_for_what_is_not_used_and_no_time_for_their_storage(
    scene: Scene,
) -> None:
    run(scene, format="raw", disks=("b",), checksum=False)
    file, node = (given for _, given in scene.qemu.commands("blockdev-add"))
    assert file["discard"] == node["discard"] == node["detect-zeroes"] == "unmap"
    assert file["cache"] == node["cache"] == {"no-flush": True}
    (file_,) = scene.folder.rglob("b.raw")
    assert file_.stat().st_blocks == 0
    assert scene.files == ["b.raw"]


def test_the_window_is_as_long_as_what_is_left_to_copy(scene: Scene) -> None:
    scene.qemu.drains = 0.05
    outcome = run(scene)
    assert outcome.times.frozen is not None
    assert outcome.times.thawed is not None
    assert outcome.times.thawed - outcome.times.frozen < timedelta(seconds=0.08)


# -- when it is completed ------------------------------------------------------------------


@pytest.fixture
def looks_rarely(looks_often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look less often while hours go by."""
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.5)


@pytest.mark.usefixtures("looks_rarely")
def test_ready_mirrors_wait_for_the_hour_that_was_chosen(scene: Scene) -> None:
    at = BEGAN + timedelta(hours=1, minutes=30)
    outcome = run(scene, at=at)
    assert outcome.ok
    assert outcome.times.frozen is not None
    assert timedelta(0) <= outcome.times.frozen - at < timedelta(seconds=1)
    assert any("kept so until 2026-03-01T02:30:00" in one.text for one in scene.events)


def test_an_hour_that_is_over_when_it_is_ready_counts_at_once(scene: Scene) -> None:
    outcome = run(scene, at=BEGAN + timedelta(seconds=2))
    assert outcome.ok
    assert outcome.seconds < 12


@pytest.mark.usefixtures("looks_rarely")
def test_ready_mirrors_wait_until_they_are_told(scene: Scene) -> None:
    job = mirror(scene, wait=True)
    scene.clock.after(7200.0, job.complete_now)
    outcome = job.run()
    assert outcome.ok
    assert 7200 < outcome.seconds < 7202


def test_it_is_told_before_it_is_ready(scene: Scene) -> None:
    job = mirror(scene, wait=True)
    job.complete_now()
    assert job.run().ok


# -- the limit -----------------------------------------------------------------------------


def test_the_limit_counts_until_the_copy_has_to_be_quick(scene: Scene) -> None:
    scene.control.set_limit(10 * MIB)
    job = mirror(scene, disks=("b",))
    scene.clock.after(20.0, lambda: job.set_limit(20 * MIB))
    outcome = job.run()
    assert outcome.ok
    assert scene.qemu.commands("blockdev-mirror")[0][1]["speed"] == 10 * MIB
    speeds = [given["speed"] for _, given in scene.qemu.commands("block-job-set-speed")]
    assert speeds == [20 * MIB, 0]


def test_a_guest_that_writes_faster_is_not_frozen_for_a_copy_that_lags(scene: Scene) -> None:
    scene.qemu.behind = 40 * MIB
    outcome = run(scene, disks=("b",))
    assert outcome.result is JobResult.FAILED
    assert "40 MiB were left after 60 s" in outcome.reason
    assert not scene.frozen
    assert nothing_is_left(scene)


def test_a_copy_that_lags_a_little_is_waited_for_a_moment(scene: Scene) -> None:
    scene.qemu.behind = 8 * MIB
    scene.clock.after(12.0, lambda: setattr(scene.qemu, "behind", 0))
    assert run(scene).ok


# -- what can fail -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stage",
    [JobStage.MIRRORING, JobStage.READY, JobStage.FREEZING, JobStage.STARTING],
)
@pytest.mark.parametrize("disk", [0, 1])
def test_one_that_fails_takes_all_with_it(scene: Scene, stage: JobStage, disk: int) -> None:
    job = mirror(scene, wait=stage is JobStage.READY)
    scene.at_stage(stage, lambda: scene.clock.after(0.001, lambda: scene.qemu.fail(disk)))
    outcome = job.run()
    assert (outcome.result, outcome.consistency) == (JobResult.FAILED, Consistency.NONE)
    assert f"the copy of {'ab'[disk]} failed: No space left on device" in outcome.reason
    assert nothing_is_left(scene)
    assert not outcome.left
    assert all(one.done for one in scene.frozen)


def test_one_that_fails_while_it_is_completed_takes_all_with_it(scene: Scene) -> None:
    scene.qemu.drains = 2.0
    scene.at_stage(JobStage.STARTING, lambda: scene.clock.after(0.5, lambda: scene.qemu.fail(1)))
    outcome = run(scene)
    assert "the copy of b failed" in outcome.reason
    assert nothing_is_left(scene)


def test_one_that_fails_during_a_long_freeze_stops_that(scene: Scene) -> None:
    scene.freeze_hangs = True
    scene.at_stage(JobStage.FREEZING, lambda: scene.qemu.fail(1))
    outcome = run(scene)
    assert outcome.result is JobResult.FAILED
    assert "the copy of b failed: No space left on device" in outcome.reason
    assert scene.frozen[0].cancelled
    assert nothing_is_left(scene)


def test_one_that_somebody_ends_takes_all_with_it(scene: Scene) -> None:
    def ended() -> None:
        next(iter(scene.qemu.jobs.values())).status = "concluded"

    scene.clock.after(20.0, ended)
    outcome = run(scene, wait=True)
    assert "the copy of a was ended by somebody else" in outcome.reason
    assert nothing_is_left(scene)


def test_beside_a_job_that_hangs_qemu_is_to_close_no_file(scene: Scene) -> None:
    def hangs(given: dict[str, Any]) -> None:
        if str(given.get("device", given.get("id"))) == next(iter(scene.qemu.jobs)):
            raise Refused("it waits for its storage")

    scene.qemu.hooks |= {"block-job-cancel": hangs, "job-cancel": hangs}
    scene.clock.after(2.0, scene.control.cancel)
    outcome = run(scene)
    assert outcome.result is JobResult.CANCELLED
    assert scene.qemu.commands("blockdev-del") == []
    (hung,) = {given["device"] for _, given in scene.qemu.commands("block-job-cancel")}
    assert hung == next(iter(scene.qemu.jobs)), "the other one is not ended beside it"
    assert scene.files == ["a.qcow2", "b.qcow2"]
    left = "; ".join(outcome.left)
    assert "QEMU may go on with" in left
    assert "it is tried again while this frostwatch runs, and then: frostwatch jobs" in left
    assert f"the folder {scene.home}" in left


def test_a_file_on_which_the_guest_runs_is_kept(scene: Scene) -> None:
    def in_use(given: dict[str, Any]) -> None:
        raise Refused(f"Node {given['node-name']} is in use")

    scene.qemu.hooks["blockdev-del"] = in_use
    scene.clock.after(20.0, lambda: scene.qemu.fail(0))
    outcome = run(scene, disks=("b",), wait=True)
    assert scene.files == ["b.qcow2"]
    assert any("b.qcow2 (QEMU uses it)" in one for one in outcome.left)


def test_what_is_paused_by_somebody_is_told_and_waited_for(scene: Scene) -> None:
    def status(word: str) -> None:
        next(iter(scene.qemu.jobs.values())).status = word

    job = mirror(scene, at=BEGAN + timedelta(seconds=40))
    scene.clock.after(20.0, lambda: status("standby"))
    scene.clock.after(50.0, lambda: status("ready"))
    outcome = job.run()
    assert outcome.ok
    assert scene.notes.count("the copy of a is paused in QEMU by somebody else") == 1
    assert outcome.seconds > 50


def test_what_can_not_be_completed_within_the_window_is_given_up(scene: Scene) -> None:
    scene.qemu.drains = 3600.0
    outcome = run(scene)
    assert "what was left could not be copied within 10 s" in outcome.reason
    assert nothing_is_left(scene)


def test_the_second_mirror_that_qemu_refuses_ends_the_first(scene: Scene) -> None:
    def refuse(given: dict[str, Any]) -> None:
        if given["device"] == "b":
            raise Refused("Node is busy")

    scene.qemu.hooks["blockdev-mirror"] = refuse
    outcome = run(scene)
    assert "QEMU refuses blockdev-mirror: Node is busy" in outcome.reason
    assert nothing_is_left(scene)


def test_a_qemu_that_ends_is_told_and_its_files_are_removed(scene: Scene) -> None:
    def end() -> None:
        scene.qemu.dead, scene.gone = "it was closed", True

    scene.clock.after(5.0, end)
    outcome = run(scene)
    assert "the VM has ended, and its copy with it" in outcome.reason
    assert not scene.files


def test_a_qemu_that_hangs_is_left_and_nobody_deletes_what_it_may_write(scene: Scene) -> None:
    scene.clock.after(5.0, lambda: setattr(scene.qemu, "dead", "it did not answer"))
    outcome = run(scene)
    assert outcome.result is JobResult.LEFT
    assert outcome.next is not None
    assert "frostwatch jobs" in outcome.next
    assert scene.files == ["a.qcow2", "b.qcow2"]


# -- cancelled at each stage -----------------------------------------------------------------


@pytest.mark.parametrize("stage", [one for one in JobStage if one not in ("queued", "copying")])
def test_cancelled_it_leaves_nothing(scene: Scene, stage: JobStage) -> None:
    scene.qemu.drains = 0.5
    job = mirror(scene, wait=stage is JobStage.READY)
    scene.at_stage(stage, job.cancel)
    outcome = job.run()
    if stage in (JobStage.THAWING, JobStage.DONE):  # the copy is complete before it is heard
        assert outcome.result in (JobResult.COMPLETE, JobResult.CANCELLED)
    else:
        assert outcome.result is JobResult.CANCELLED
    if outcome.result is JobResult.CANCELLED:
        assert nothing_is_left(scene)
        assert all(one.done or one.cancelled for one in scene.frozen)


def test_cancelled_while_it_drains_in_the_window(scene: Scene) -> None:
    scene.qemu.drains = 5.0
    scene.at_stage(JobStage.STARTING, lambda: scene.clock.after(1.0, scene.control.cancel))
    outcome = run(scene)
    assert outcome.result is JobResult.CANCELLED
    assert nothing_is_left(scene)


# -- the policies ----------------------------------------------------------------------------


def test_a_freeze_that_is_refused_ends_it(scene: Scene) -> None:
    scene.freezes = [REFUSED]
    outcome = run(scene)
    assert (outcome.result, outcome.refusal) == (JobResult.REFUSED, JobRefusal.NOT_FROZEN)
    assert nothing_is_left(scene)


def test_a_guest_without_an_agent_is_refused_before_anything_is_copied(scene: Scene) -> None:
    scene.qemu.port_open = False
    outcome = run(scene)
    assert outcome.refusal is JobRefusal.NOT_FROZEN
    assert "no agent runs in the guest" in outcome.reason
    assert not scene.qemu.commands("blockdev-add", "blockdev-mirror")


def test_a_window_that_is_not_certified_is_no_copy(scene: Scene) -> None:
    scene.freezes = [UNCERTIFIED]
    outcome = run(scene)
    assert outcome.result is JobResult.FAILED
    assert "the agent died" in outcome.reason
    assert nothing_is_left(scene)


@pytest.mark.parametrize("strict", [True, False])
def test_a_strict_copy_needs_a_strict_freeze(scene: Scene, strict: bool) -> None:
    assert run(scene, disks=("b",), strict=strict).ok
    assert [one.strict for one in scene.requests] == [strict]


def test_with_prefer_it_goes_on_and_says_what_it_is_worth(scene: Scene) -> None:
    scene.freezes = [UNCERTIFIED]
    outcome = run(scene, policy=FreezePolicy.PREFER)
    assert outcome.ok
    assert outcome.consistency is Consistency.CRASH_CONSISTENT


def test_several_disks_are_of_one_moment_also_without_a_freeze(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = _watch_pauses(scene, monkeypatch)
    outcome = run(scene, policy=FreezePolicy.NEVER)
    assert outcome.ok
    assert outcome.consistency is Consistency.CRASH_CONSISTENT
    assert not outcome.paused
    assert not scene.frozen
    assert states == ["several disks have to be of one moment", "two are completed", "goes on"]


def test_one_disk_needs_no_pause(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    states = _watch_pauses(scene, monkeypatch)
    assert run(scene, policy=FreezePolicy.NEVER, disks=("b",)).ok
    assert states == []


def test_with_prefer_and_no_agent_several_disks_are_of_one_moment(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = _watch_pauses(scene, monkeypatch)
    scene.freezes = [NO_AGENT]
    outcome = run(scene, policy=FreezePolicy.PREFER)
    assert outcome.ok
    assert states[0] == "several disks have to be of one moment"
    assert states[-1] == "goes on"


def test_where_somebody_resumes_the_vm_in_between_its_disks_are_not_of_one_moment(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    _watch_pauses(scene, monkeypatch, resumed=True)
    outcome = run(scene, policy=FreezePolicy.NEVER)
    assert outcome.result is JobResult.FAILED
    assert "somebody has resumed the VM" in outcome.reason
    assert nothing_is_left(scene)


def test_a_disk_that_comes_while_they_are_kept_equal_is_not_left_out(scene: Scene) -> None:
    job = mirror(scene, wait=True)
    scene.clock.after(60.0, lambda: scene.qemu.sizes.update(new=MIB))
    scene.clock.after(70.0, job.complete_now)
    outcome = job.run()
    assert outcome.result is JobResult.FAILED
    assert "the VM has a disk new that it had not" in outcome.reason
    assert not scene.frozen
    assert nothing_is_left(scene)


def _watch_pauses(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, *, resumed: bool = False
) -> list[str]:
    states: list[str] = []

    @contextmanager
    def paused(context: object, most_s: float, why: str) -> Iterator[None]:
        assert 0 < most_s <= DEFAULT_HOLD_S
        states.append(why)
        yield
        ended = [job for job in scene.qemu.jobs.values() if job.status == "concluded"]
        states.append(f"{['none', 'one', 'two'][len(ended)]} are completed")
        states.append("goes on")

    monkeypatch.setattr(mirror_module, "paused", paused)
    monkeypatch.setattr(mirror_module, "runs", lambda _: resumed)
    return states


# -- refused before anything starts ------------------------------------------------------------


def test_each_has_a_folder_of_its_own_below_its_vm(scene: Scene) -> None:
    first, second = mirror(scene, disks=("b",)), mirror(scene, disks=("b",))
    assert first.run().ok
    assert second.run().ok
    assert first.folder == scene.home / "20260301T010000Z"
    assert second.folder is not None
    assert second.folder.parent == scene.home
    assert second.folder != first.folder
    for one in (first, second):
        assert one.folder is not None
        assert sorted(each.name for each in one.folder.iterdir()) == ["b.qcow2", "manifest.json"]


def test_the_manifest_says_what_it_is(scene: Scene) -> None:
    outcome = run(scene, disks=("b",))
    found = scene.manifest
    assert (found["kind"], found["mode"], found["parent"]) == ("frostwatch-mirror", "full", None)
    assert found["vm"] == {"id": "qemu:web1", "name": "web1", "uuid": scene.qemu.uuid}
    assert found["consistency"] == "consistent"
    assert found["window"]["certified"] is True
    assert found["times"]["taken"] == rfc3339(outcome.times.taken)
    (disk,) = found["disks"]
    assert (disk["name"], disk["file"], disk["size"]) == ("b", "b.qcow2", GIB // 2)
    assert disk["sha256"] == outcome.disks[0].checksum == hashlib.sha256().hexdigest()
    (backup,) = copies_in(scene.folder)
    assert backup.manifest is not None
    assert backup.manifest.word == "mirror"


def test_without_checksums_that_is_said(scene: Scene) -> None:
    outcome = run(scene, disks=("b",), checksum=False)
    assert outcome.disks[0].checksum is None
    assert scene.manifest["disks"][0]["sha256"] is None


def test_another_vms_copies_are_not_mixed_with_ours(scene: Scene) -> None:
    assert run(scene, disks=("b",)).ok
    scene.qemu.uuid = "5c1a0000-0000-0000-0000-000000000002"
    outcome = run(scene, disks=("b",))
    assert outcome.refusal is JobRefusal.TARGET
    assert "has the copies of another VM of this name" in outcome.reason
    assert len(scene.qemu.commands("blockdev-mirror")) == 1


def test_a_folder_that_is_none_is_refused(scene: Scene) -> None:
    scene.home.write_text("mine")
    outcome = run(scene)
    assert outcome.refusal is JobRefusal.TARGET
    assert not scene.qemu.commands("blockdev-mirror")


def test_what_a_vm_that_ended_meanwhile_has_completed_is_kept(scene: Scene) -> None:
    def ended(given: dict[str, Any]) -> None:
        raise Refused("it is about to end")

    scene.qemu.hooks["query-version"] = ended
    assert run(scene, disks=("b",)).ok
    assert scene.manifest["versions"]["qemu"] is None


def test_a_file_that_qemu_does_not_close_is_no_copy(scene: Scene) -> None:
    def in_use(given: dict[str, Any]) -> None:
        raise Refused(f"Node {given['node-name']} is in use")

    scene.qemu.hooks["blockdev-del"] = in_use
    outcome = run(scene, disks=("b",))
    assert outcome.result is JobResult.FAILED
    assert "QEMU did not close the copy" in outcome.reason
    assert not list(scene.folder.rglob("manifest.json"))
    assert any("b.qcow2 (QEMU uses it)" in one for one in outcome.left)


def test_a_disk_that_is_not_there_is_refused_with_those_that_are(scene: Scene) -> None:
    outcome = run(scene, disks=("c",))
    assert outcome.refusal is JobRefusal.NO_DISK
    assert "its disks are: a, b" in outcome.reason


def test_another_job_on_the_vm_is_refused(scene: Scene) -> None:
    scene.qemu.hooks["query-jobs"] = lambda _: [
        {"id": "theirs", "type": "backup", "status": "running"}
    ]
    assert run(scene).refusal is JobRefusal.JOB_RUNNING


# -- what a person may not expect ---------------------------------------------------------


@pytest.mark.parametrize(("disks", "told"), [((), 2), (("a", "b"), 1)])
def test_a_medium_that_is_left_out_and_a_copy_in_the_clear_are_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, disks: tuple[str, ...], told: int
) -> None:
    asked = scene.qemu._query_block

    def with_a_card(given: object) -> object:
        first, *others = cast(list[dict[str, Any]], asked(given))
        first["inserted"]["image"]["encrypted"] = True
        card = {"node-name": "#sd0", "drv": "raw", "file": "/disks/sd.raw", "ro": False}
        card["image"] = {"virtual-size": MIB, "actual-size": MIB}
        return [first, *others, {"device": "sd0", "removable": True, "inserted": card}]

    monkeypatch.setattr(scene.qemu, "_query_block", with_a_card)
    outcome = run(scene, disks=disks)
    assert outcome.ok, outcome.reason
    notes = [one for one in scene.notes if "left out" in one or "encrypted" in one]
    assert "the image of a is encrypted, and its copy is not" in notes
    assert [one.partition(" in sd0")[0] for one in notes if "sd0" in one] == ["the medium"][
        : told - 1
    ]
    assert len(notes) == told
    assert scene.files == ["a.qcow2", "b.qcow2"]
    why = WhyLeftOut.NOT_NAMED if disks else WhyLeftOut.REMOVABLE
    assert outcome.left_out == (LeftOut("sd0", why),)
    assert [one.in_the_clear for one in outcome.disks] == [True, False]
    assert scene.manifest["left_out"] == [{"disk": "sd0", "why": why.value}]
    assert [one["in_the_clear"] for one in scene.manifest["disks"]] == [True, False]
