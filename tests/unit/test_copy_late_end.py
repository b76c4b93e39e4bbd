"""A copy that QEMU can't end while its storage hangs: shown, tried again, and undone at last."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentclient.jobs import cancel, follow, late_end
from agentclient.jobs.backup import BackupJob
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.follow import JobLost
from agentclient.jobs.late_end import LateEnds
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.snapshots import create
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.snapshots.external import ExternalSnapshot
from agentclient.journal.entry import Entry
from agentclient.model.job import JobOutcome, JobResult, JobStage
from agentclient.model.snapshot import VmState
from tests.unit.copy_harness import CERTIFIED, VERIFIED, CopyHarness, FakeFreeze
from tests.unit.fake_qemu import FakeJob
from tests.waiting import until

CANCELS = ("block-job-cancel", "job-cancel")


class Hung:
    """A backup that was stopped while its storage hangs, so that QEMU does not end its jobs."""

    def __init__(self, folder: Path) -> None:
        self.harness = harness = CopyHarness()
        self.folder = folder
        self.late = LateEnds(harness.fleet.wall)
        harness.qemu.on_job = self._stall
        harness.qemu.refuses = dict.fromkeys(CANCELS, "the storage hangs")
        request = BackupRequest(folder=folder, fleece="off")
        self.job = BackupJob(harness.context(), request)

    def _stall(self, job: FakeJob) -> None:
        job.stalls = job.type == "backup"

    def stop(self) -> JobOutcome:
        """Stop it while it copies, as the manager's thread sees it."""
        timer = threading.Thread(target=self._cancel)
        timer.start()
        outcome = self.job.run()
        timer.join()
        assert self.job.goes_on is not None
        self.late.add(self.job, outcome)
        self.job.settle(outcome)
        return outcome

    def _cancel(self) -> None:
        until(lambda: JobStage.COPYING.value in self.harness.stages)
        self.harness.control.cancel()

    def storage_answers(self) -> None:
        self.harness.qemu.refuses = {}

    @property
    def state(self) -> VmState:
        return self.harness.fleet.get(self.harness.vm.id)

    @property
    def files(self) -> list[Path]:
        return [one for one in self.folder.rglob("*") if one.is_file()]


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hung:
    monkeypatch.setattr(cancel, "ENDS_WITHIN_S", 0.05)
    monkeypatch.setattr(late_end, "FIRST_S", 0.02)
    monkeypatch.setattr(late_end, "MOST_S", 0.05)
    monkeypatch.setattr(late_end, "TRY_S", 0.01)
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.01)
    return Hung(tmp_path)


def test_it_is_shown_as_long_as_it_goes_on_and_undone_once_its_storage_answers(hung: Hung) -> None:
    outcome = hung.stop()
    assert outcome.result is JobResult.CANCELLED
    assert "QEMU may go on with frostwatch.backup" in outcome.left[0]
    assert "frostwatch jobs --clear" in outcome.left[0]
    assert "a backup can't be ended since" in str(hung.state.unended)
    assert hung.files, "nothing of it is touched as long as its jobs go on"
    asked = len(hung.harness.qemu.asked)
    until(lambda: len(hung.harness.qemu.asked) > asked + 6)
    assert hung.state.unended is not None, "it is tried again, and goes on"
    hung.storage_answers()
    until(lambda: hung.state.unended is None)
    last = hung.state.last_job
    assert last is not None
    assert (last.result, last.left, last.next) == (JobResult.CANCELLED, (), None)
    assert "could be ended at" in last.reason
    assert hung.files == []
    assert (hung.harness.qemu.jobs, hung.harness.qemu.nodes) == ({}, {})
    assert (hung.late.all(), hung.late.on(hung.harness.vm.id)) == ((), None)


def test_the_journal_names_what_was_left_until_it_has_ended(hung: Hung) -> None:
    told: list[dict[str, Any]] = []

    def freeze() -> FakeFreeze:
        found = FakeFreeze(VERIFIED, CERTIFIED)
        found.context.entry = cast(Entry, SimpleNamespace(copied=told.append))
        return found

    hung.harness.freeze = freeze
    outcome = hung.stop()
    assert told[-1]["left"] == list(outcome.left)
    hung.storage_answers()
    until(lambda: hung.state.unended is None)
    assert (told[-1]["result"], "left" in told[-1]) == ("cancelled", False)


def test_what_a_later_copy_has_told_meanwhile_stays(hung: Hung) -> None:
    before = hung.stop()
    later = before._replace(result=JobResult.REFUSED, left=(), reason="backup: refused: it hangs")
    hung.harness.context().reporter.ended(later)
    hung.storage_answers()
    until(lambda: hung.state.unended is None)
    assert hung.state.last_job == later


def test_one_whose_vm_has_ended_is_undone(hung: Hung) -> None:
    hung.stop()
    hung.harness.qemu.hangs = {"query-jobs", "query-block", "blockdev-del"}
    hung.harness.access.gone = True
    until(lambda: hung.state.unended is None)
    assert hung.files == []


def test_whoever_stops_trying_leaves_it_to_the_next_frostwatch(hung: Hung) -> None:
    hung.stop()
    hung.late.stop()
    hung.storage_answers()
    time.sleep(0.2)
    assert hung.late.all() == (hung.job,)
    assert hung.files


def test_one_that_nobody_could_follow_any_more_is_ended_and_undone(
    hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise JobLost("QEMU has not answered for 60 s")

    monkeypatch.setattr(hung.job, "follow", lost)
    outcome = hung.job.run()
    assert outcome.result is JobResult.LEFT
    hung.late.add(hung.job, outcome)
    hung.job.settle(outcome)
    assert "QEMU has not answered for 60 s" in str(hung.state.unended)
    hung.storage_answers()
    until(lambda: hung.state.unended is None)
    assert hung.state.last_job is not None
    assert hung.state.last_job.result is JobResult.FAILED
    assert hung.files == []


def test_one_that_was_left_by_choice_is_not_ended(
    hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        hung.harness.control.left.set()
        raise JobLost("frostwatch was left before its end, as was asked")

    monkeypatch.setattr(hung.job, "follow", lost)
    assert hung.job.run().result is JobResult.LEFT
    assert hung.job.goes_on is None


def test_one_that_fails_without_a_job_that_goes_on_is_not_tried_again(
    hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise JobFailed("the disk has gone")

    hung.storage_answers()
    monkeypatch.setattr(cancel, "ENDS_WITHIN_S", 20.0)
    monkeypatch.setattr(hung.job, "follow", fail)
    assert hung.job.run().result is JobResult.FAILED
    assert hung.job.goes_on is None


def test_one_whose_monitor_is_silent_meanwhile_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An overlay that folds back may keep QEMU's monitor waiting as well: nothing is known then."""
    monkeypatch.setattr(create, "FOUND_OUT_WITHIN_S", 0.02)
    harness = CopyHarness()
    request = SnapshotRequest(name="s1", external=True)
    job: Any = ExternalSnapshot(harness.context(), request)
    job._targets = SimpleNamespace(remove=list)
    job.block, job.sent = BlockLayer(cast(Any, harness.qemu)), True
    job.goes_on = "QEMU may go on with frostwatch.snapshot"
    harness.qemu.hangs = {"query-block", "query-jobs"}
    assert job.end_late(0.01) is None
    assert job.goes_on is not None, "it is tried again"
    harness.qemu.hangs = set()
    assert job.end_late(0.01) == ()
    assert job.goes_on is None


def test_one_that_can_not_be_undone_now_goes_on(
    hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung.stop()
    hung.late.stop()
    hung.storage_answers()

    def fails() -> list[str]:
        raise OSError("no descriptor is left")

    with monkeypatch.context() as patch:
        patch.setattr(hung.job, "undo", fails)
        assert hung.job.end_late(0.01) is None
    monkeypatch.setattr(cancel, "ENDS_WITHIN_S", 20.0)
    assert hung.job.end_late(20.0) == ()
    assert hung.files == []
