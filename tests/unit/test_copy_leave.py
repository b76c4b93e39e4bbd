"""A copy that is left to QEMU by choice, and what is shown before a copy is asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from agentclient.jobs import follow
from agentclient.jobs.control import JobControl
from agentclient.jobs.errors import JobCancelled
from agentclient.jobs.follow import Follower, JobLost, all_ended
from agentclient.jobs.survey import survey_copies, survey_folder
from agentclient.model.job import JobKind, JobStage
from agentclient.model.vm import MonitorChannel
from tests.unit.copy_harness import CopyHarness
from tests.unit.fake_qemu import MIB, FakeJob

PVE = MonitorChannel(Path("/run/qemu-server/100.qmp"))


@pytest.fixture
def harness() -> CopyHarness:
    return CopyHarness()


def follower(harness: CopyHarness) -> Follower:
    """Return what follows a copy that stands still."""
    harness.qemu.jobs["j"] = FakeJob("j", "backup", 64 * MIB, 8 * MIB, stalls=True)
    context = harness.context()
    return Follower(context, context.block(), JobKind.BACKUP, {"j": "a"}, 0.0)


def leave_when_it_can_be(control: JobControl) -> threading.Thread:
    def leave() -> None:
        while not control.leave():
            threading.Event().wait(0.01)

    thread = threading.Thread(target=leave)
    thread.start()
    return thread


def test_what_is_followed_can_be_left_and_then_it_is_not_cancelled(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.02)
    thread = leave_when_it_can_be(harness.control)
    with pytest.raises(JobLost, match="as was asked"):
        follower(harness).follow(JobStage.COPYING, "copying", all_ended)
    thread.join()
    harness.control.cancel()
    harness.control.check()
    assert harness.qemu.jobs["j"].status == "running"


def test_what_is_not_followed_yet_can_not_be_left(harness: CopyHarness) -> None:
    assert not harness.control.leave()
    harness.control.can_be_left = True
    harness.control.cancel()
    assert not harness.control.leave(), "it was cancelled before"
    with pytest.raises(JobCancelled):
        harness.control.check()


def test_the_fleet_shows_a_stage_as_soon_as_it_is_told(harness: CopyHarness) -> None:
    follower(harness).look(JobStage.COPYING, "copying")
    harness.context().reporter.stage(JobStage.FINISHING, "closing the copy")
    job = harness.fleet.get(harness.vm.id).job
    assert job is not None
    assert (job.stage, job.text, job.done) == (JobStage.FINISHING, "closing the copy", 8 * MIB)


# -- before a copy --------------------------------------------------------------------------


def test_disks_are_listed_with_what_speaks_against_them(harness: CopyHarness) -> None:
    found = survey_copies(harness.context(), JobKind.BACKUP)
    assert [(one.disk.name, one.why_not) for one in found.disks] == [("a", None), ("b", None)]
    assert (found.why_not, found.next) == (None, None)


def test_what_would_refuse_a_copy_is_named(harness: CopyHarness) -> None:
    harness.qemu.jobs["of-others"] = FakeJob("of-others", "commit", MIB)
    found = survey_copies(harness.context(), JobKind.BACKUP)
    assert "a block job runs on the VM" in str(found.why_not)
    assert len(found.disks) == 2
    read_only = survey_copies(harness.context(read_only="it is set so"), JobKind.BACKUP)
    assert read_only.why_not == "it is set so"
    harness.access.why_unproven = "it is served by somebody else"
    assert "another VM's" in str(survey_copies(harness.context(), JobKind.BACKUP).why_not)
    of_proxmox = harness.vm._replace(monitor=PVE)
    managed = survey_copies(harness.context(vm=of_proxmox), JobKind.BACKUP)
    assert "vzdump 100" in str(managed.next)


def test_a_folder_says_its_room_or_why_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = survey_folder(tmp_path)
    assert found.free is not None
    assert (found.free > 0, found.why_not) == (True, None)
    assert survey_folder(tmp_path / "none").why_not == "there is no such folder"
    (tmp_path / "file").touch()
    assert survey_folder(tmp_path / "file").why_not == "there is no such folder"
    assert survey_folder(Path("/" + "x" * 5000)).free is None
    monkeypatch.setattr("os.access", lambda *_: False)
    assert survey_folder(tmp_path).why_not == "it can't be written to"
