"""Of two that are at work on a VM's disks at the same time, one is refused, and nobody for ever."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.qmp_session import Ask
from agentclient.jobs import claim
from agentclient.jobs.backup import BackupJob
from agentclient.jobs.reporter import JobReporter
from agentclient.jobs.request import BackupRequest
from agentclient.journal.identity import this_process
from agentclient.model.events import Event, StageBegan
from agentclient.model.job import JobOutcome, JobRefusal, JobResult, JobStage
from agentclient.model.vm import Process
from agentclient.protocol.job_names import CLAIM, JobId, is_claim
from tests.unit.copy_harness import CopyHarness, FakeFreeze
from tests.unit.fake_qemu import MIB, FakeJob

# It has this process, which runs; and one that no system has.
RUNS = JobId("mirror", this_process(), "abcdef01").node(CLAIM)
DEAD = JobId("mirror", Process(2**22 + 1, 1), "abcdef01").node(CLAIM)


@pytest.fixture
def harness() -> CopyHarness:
    return CopyHarness()


def _backup(harness: CopyHarness, folder: Path, **request: Any) -> JobOutcome:
    wanted = BackupRequest(folder=folder, fleece="off", **request)
    return BackupJob(harness.context(), wanted).run()


def _claims(harness: CopyHarness) -> list[str]:
    return [node for node in harness.qemu.nodes if is_claim(node)]


def test_a_copy_claims_the_disks_as_long_as_it_takes(harness: CopyHarness, tmp_path: Path) -> None:
    seen: list[int] = []
    harness.qemu.on_ask = lambda ask: (
        seen.append(len(_claims(harness))) if ask.command in ("qom-get", "job-dismiss") else None
    )
    assert _backup(harness, tmp_path).ok
    assert set(seen) == {1}
    assert harness.qemu.nodes == {}


@pytest.mark.parametrize("names", [(), ("a", "b")])
def test_a_disk_that_comes_before_the_copy_is_taken_is_not_left_out(
    harness: CopyHarness, tmp_path: Path, names: tuple[str, ...]
) -> None:
    begin = harness.freeze

    def freeze() -> FakeFreeze:
        harness.qemu.drives["new"] = MIB
        return begin()

    harness.freeze = freeze
    outcome = _backup(harness, tmp_path, disks=names)
    if names:
        assert outcome.ok
        return
    assert outcome.result is JobResult.FAILED
    assert "the VM has a disk new that it had not" in outcome.reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [{"removable": True}, {"inserted": {"ro": True}}])
def test_a_medium_that_comes_is_none_of_them(
    harness: CopyHarness, tmp_path: Path, more: dict[str, Any]
) -> None:
    begin = harness.freeze

    def freeze() -> FakeFreeze:
        harness.qemu.drives["cd"] = MIB
        harness.qemu.more_of_drive["cd"] = more
        return begin()

    harness.freeze = freeze
    assert _backup(harness, tmp_path).ok


def test_while_another_one_claims_them_nothing_is_begun(
    harness: CopyHarness, tmp_path: Path
) -> None:
    harness.qemu.nodes[RUNS] = ""
    outcome = _backup(harness, tmp_path)
    assert (outcome.result, outcome.refusal) == (JobResult.REFUSED, JobRefusal.JOB_RUNNING)
    assert f"frostwatch, pid {this_process().pid}" in outcome.reason
    assert (harness.freezes, _claims(harness), list(tmp_path.iterdir())) == ([], [RUNS], [])


def test_the_claim_of_one_that_has_ended_is_in_nobodys_way(
    harness: CopyHarness, tmp_path: Path
) -> None:
    harness.qemu.nodes[DEAD] = ""
    assert _backup(harness, tmp_path).ok
    assert harness.qemu.nodes == {}


def test_of_two_that_claim_them_at_one_moment_none_goes_on_beside_the_other(
    harness: CopyHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "_APART_S", 0.0)

    def other(ask: Ask) -> None:
        if ask.command == "blockdev-add" and is_claim(str(ask.arguments["node-name"])):
            harness.qemu.nodes[RUNS] = ""

    harness.qemu.on_ask = other
    outcome = _backup(harness, tmp_path)
    assert outcome.refusal is JobRefusal.JOB_RUNNING
    assert _claims(harness) == [RUNS], "its own is withdrawn"


def test_of_two_that_have_both_withdrawn_the_next_one_goes_on(
    harness: CopyHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "_APART_S", 0.0)
    once = [RUNS]

    def other(ask: Ask) -> None:
        name = str(ask.arguments.get("node-name", ""))
        if ask.command == "blockdev-add" and is_claim(name) and once:
            harness.qemu.nodes[once.pop()] = ""
        elif ask.command == "blockdev-del" and is_claim(name):
            harness.qemu.nodes.pop(RUNS, None)

    harness.qemu.on_ask = other
    assert _backup(harness, tmp_path).ok
    assert harness.qemu.nodes == {}


@pytest.mark.parametrize("when", [JobStage.FREEZING, JobStage.STARTING])
def test_a_job_that_others_begin_meanwhile_keeps_it_from_being_taken(
    harness: CopyHarness, tmp_path: Path, when: JobStage
) -> None:
    def begin(event: Event) -> None:
        if event.details == StageBegan(when):
            harness.qemu.jobs["theirs"] = FakeJob("theirs", "backup", 100, stalls=True)

    context = harness.context(reporter=JobReporter(harness.fleet, harness.vm, begin))
    outcome = BackupJob(context, BackupRequest(folder=tmp_path, fleece="off")).run()
    assert outcome.refusal is JobRefusal.JOB_RUNNING
    assert "backup theirs" in outcome.reason
    assert (list(harness.qemu.jobs), outcome.left) == (["theirs"], ())
    assert list(tmp_path.iterdir()) == []
    assert all(freeze.done for freeze in harness.freezes)


def test_a_disk_that_gets_another_image_meanwhile_is_not_copied(
    harness: CopyHarness, tmp_path: Path
) -> None:
    def exchange(ask: Ask) -> None:
        if ask.command == "blockdev-create":
            inserted = harness.qemu._drive("a", 1 << 26)["inserted"]
            harness.qemu.more_of_drive["a"] = {"inserted": inserted | {"node-name": "overlay"}}

    harness.qemu.on_ask = exchange
    outcome = _backup(harness, tmp_path)
    assert outcome.result is JobResult.FAILED
    assert "the disk a has another image than a moment ago" in outcome.reason
    assert (harness.freezes, list(tmp_path.iterdir())) == ([], [])


def test_while_a_job_hangs_no_node_is_deleted_and_the_claim_ends_once_it_has(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "_LOOK_S", 0.01)
    block = harness.context().block()
    mine = claim.Claim(block, harness.vm, JobId("backup", this_process(), "abcdef02"))
    harness.qemu.jobs["theirs"] = FakeJob("theirs", "backup", 100, stalls=True)
    harness.qemu.nodes[DEAD] = ""
    mine.take(alone=False)
    assert mine.release(lambda: None) == []
    assert "blockdev-del" not in harness.qemu.asked
    assert len(_claims(harness)) == 2
    del harness.qemu.jobs["theirs"]
    deadline = time.monotonic() + 60.0
    while _claims(harness) != [DEAD] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _claims(harness) == [DEAD]


def test_where_somebody_elses_job_runs_nothing_is_claimed(
    harness: CopyHarness, tmp_path: Path
) -> None:
    harness.qemu.jobs["theirs"] = FakeJob("theirs", "backup", 100, stalls=True)
    assert _backup(harness, tmp_path).refusal is JobRefusal.JOB_RUNNING
    assert not {"blockdev-add", "blockdev-del"} & set(harness.qemu.asked)


def test_while_it_is_not_known_whether_a_job_goes_on_no_node_is_deleted(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "_LOOK_S", 0.01)
    mine = claim.Claim(
        harness.context().block(), harness.vm, JobId("backup", this_process(), "abcdef03")
    )
    harness.qemu.nodes[DEAD] = ""
    harness.qemu.hangs.add("query-jobs")
    mine.take(alone=False)
    assert mine.release(lambda: None) == []
    time.sleep(0.1)
    assert "blockdev-del" not in harness.qemu.asked
    harness.qemu.hangs.clear()
    deadline = time.monotonic() + 60.0
    while _claims(harness) != [DEAD] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _claims(harness) == [DEAD]


def test_nobody_waits_for_the_jobs_of_a_vm_that_has_ended(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "_LOOK_S", 0.01)
    name = JobId("backup", this_process(), "abcdef04")
    mine = claim.Claim(harness.context().block(), harness.vm, name)
    mine.take()
    harness.qemu.hangs.add("query-jobs")
    gone = iter([None, None])
    assert mine.release(lambda: next(gone, True)) == []
    deadline = time.monotonic() + 60.0
    while _has_thread(name) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _has_thread(name)
    assert mine.release(lambda: True) == []
    assert "blockdev-del" not in harness.qemu.asked


def test_a_monitor_that_takes_long_to_say_nothing_is_asked_for_a_bounded_time(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "_LOOK_S", 0.01)
    monkeypatch.setattr(claim, "_SILENT_FOR_S", 0.3)
    name = JobId("backup", this_process(), "abcdef05")
    mine = claim.Claim(harness.context().block(), harness.vm, name)
    mine.take()
    looked: list[float] = []

    def look() -> None:
        looked.append(time.monotonic())
        time.sleep(0.1)

    monkeypatch.setattr(mine, "_a_job_goes_on", look)
    assert mine.release(lambda: None) == []
    deadline = time.monotonic() + 60.0
    while _has_thread(name) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(looked) < 10, "by the clock, not by the number of looks"


def _has_thread(name: JobId) -> bool:
    return any(one.name == name.node(CLAIM) for one in threading.enumerate())
