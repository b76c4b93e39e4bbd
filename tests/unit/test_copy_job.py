"""All copies: in which order what happens, and what becomes of what was begun, whatever fails."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.fleet.store import Fleet
from agentclient.jobs.control import JobControl
from agentclient.jobs.errors import JobCancelled, JobFailed, JobRefused
from agentclient.jobs.follow import JobLost
from agentclient.jobs.job import CopyJob
from agentclient.jobs.manager import JobManager
from agentclient.jobs.reporter import JobReporter
from agentclient.jobs.request import CopyRequest
from agentclient.journal.window_row import _of_disks, _of_job
from agentclient.model.job import (
    Consistency,
    DiskCopy,
    FreezePolicy,
    JobKind,
    JobOutcome,
    JobRefusal,
    JobResult,
    LeftOut,
    WhyLeftOut,
)
from agentclient.model.policy import VmPolicy
from agentclient.model.vm import MonitorChannel
from tests.unit.copy_harness import BROKEN, CERTIFIED, VERIFIED, CopyHarness, FakeFreeze

STEPS = ("prepare", "start", "follow", "finish")


class Copy(CopyJob):
    """A copy that notes what is done, and fails where it is told to."""

    kind = JobKind.BACKUP

    def __init__(
        self, harness: CopyHarness, fails: dict[str, BaseException], **request: Any
    ) -> None:
        super().__init__(harness.context(), CopyRequest(**request))
        self.did: list[str] = []
        self._fails = fails

    def _do(self, step: str) -> None:
        frozen = " frozen" if self.window.is_frozen else ""
        self.did.append(f"{step}{frozen}")
        if step in self._fails:
            raise self._fails[step]

    def prepare(self) -> None:
        self._do("prepare")

    def start(self) -> None:
        self._do("start")

    def follow(self) -> None:
        self._do("follow")

    def finish(self) -> list[str]:
        self._do("finish")
        return []

    def undo(self) -> list[str]:
        self._do("undo")
        return ["a file"]

    def results(self) -> tuple[DiskCopy, ...]:
        return ()


@pytest.fixture
def harness() -> CopyHarness:
    return CopyHarness()


def _run(harness: CopyHarness, **fails: BaseException) -> tuple[Copy, JobOutcome]:
    copy = Copy(harness, fails)
    return copy, copy.run()


def test_the_guest_is_frozen_for_the_start_alone(harness: CopyHarness) -> None:
    copy, outcome = _run(harness)
    assert copy.did == ["prepare", "start frozen", "follow", "finish"]
    assert (outcome.result, outcome.consistency) == (JobResult.COMPLETE, Consistency.CONSISTENT)
    assert outcome.ok
    assert outcome.left == ()
    assert "certified consistent" in outcome.reason
    times = [one for one in outcome.times if one is not None]
    assert times == sorted(times)
    assert len(times) == 6
    assert harness.stages == ["preparing", "freezing", "starting", "thawing", "finishing"]


@pytest.mark.parametrize("hours", [-1, 1])
def test_it_took_as_long_as_it_did_also_when_the_clock_is_set_meanwhile(hours: int) -> None:
    harness, step = CopyHarness(), timedelta()
    harness.fleet = Fleet(wall=lambda: datetime.now(UTC) + step, counted=time.monotonic)
    harness.fleet.set_vms("qemu", [harness.vm])

    class SetMeanwhile(Copy):
        def start(self) -> None:
            nonlocal step
            super().start()
            step = timedelta(hours=hours)

    times = SetMeanwhile(harness, {}).run().times
    known = [one for one in times if one is not None]
    assert known == sorted(known)
    assert len(known) == 6
    assert known[-1] - known[0] < timedelta(seconds=30)
    assert abs(known[0] - datetime.now(UTC) - step) < timedelta(seconds=30), "as it is set now"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("error", "result"),
    [
        (JobFailed("the disk is full", "make room"), JobResult.FAILED),
        (JobCancelled("stopped"), JobResult.CANCELLED),
        (ZeroDivisionError("a bug"), JobResult.FAILED),
    ],
)
def test_what_was_begun_is_undone_whatever_fails(
    harness: CopyHarness, step: str, error: Exception, result: JobResult
) -> None:
    copy, outcome = _run(harness, **{step: error})
    assert copy.did[-1] == "undo"  # not frozen
    assert (outcome.result, outcome.consistency) == (result, Consistency.NONE)
    assert not outcome.ok
    assert outcome.left == ("a file",)
    assert all(freeze.done for freeze in harness.freezes)


def test_a_refusal_says_why_and_what_next(harness: CopyHarness) -> None:
    refusal = JobRefused(JobRefusal.NO_SPACE, "there is no room", "make some")
    copy, outcome = _run(harness, prepare=refusal)
    assert (outcome.result, outcome.refusal) == (JobResult.REFUSED, JobRefusal.NO_SPACE)
    assert (outcome.next, harness.freezes) == ("make some", [])
    assert copy.did == ["prepare", "undo"]


def test_what_nobody_follows_is_left_and_not_undone(harness: CopyHarness) -> None:
    copy, outcome = _run(harness, follow=JobLost("QEMU does not answer"))
    assert outcome.result is JobResult.LEFT
    assert "undo" not in copy.did


def test_an_undo_that_fails_is_told(harness: CopyHarness) -> None:
    _, outcome = _run(harness, start=JobFailed("full"), undo=OSError("read-only"))
    assert outcome.result is JobResult.FAILED
    assert "read-only" in outcome.left[0]


@pytest.mark.parametrize(
    ("policy", "result"),
    [
        (FreezePolicy.REQUIRE, JobResult.FAILED),
        (FreezePolicy.SUSPEND, JobResult.FAILED),
        (FreezePolicy.PREFER, JobResult.COMPLETE),
    ],
)
def test_a_window_that_is_not_certified_ends_the_copy_unless_that_is_accepted(
    harness: CopyHarness, policy: FreezePolicy, result: JobResult
) -> None:
    harness.freeze = lambda: FakeFreeze(VERIFIED, BROKEN)
    copy = Copy(harness, {}, policy=policy)
    outcome = copy.run()
    assert outcome.result is result
    assert outcome.consistency is not Consistency.CONSISTENT
    assert ("undo" in copy.did) is (result is JobResult.FAILED)
    assert outcome.ok is (result is JobResult.COMPLETE)


def test_without_a_freeze_it_is_never_called_consistent(harness: CopyHarness) -> None:
    outcome = Copy(harness, {}, policy=FreezePolicy.NEVER).run()
    assert outcome.consistency is Consistency.CRASH_CONSISTENT
    assert "crash-consistent only" in outcome.reason
    assert " consistent" not in outcome.reason
    assert outcome.ok


@pytest.mark.parametrize(
    ("of_vm", "refusal"),
    [
        ({"locked_by": "backup"}, JobRefusal.LOCKED),
        (
            {"monitor": MonitorChannel(Path("/var/run/qemu-server/101.qmp"))},
            JobRefusal.MANAGED,
        ),
        ({"monitor": None, "out_of_reach": "libvirt has it"}, JobRefusal.MANAGED),
    ],
)
def test_a_vm_of_a_manager_is_refused_before_anything_is_done(
    harness: CopyHarness, of_vm: dict[str, Any], refusal: JobRefusal
) -> None:
    harness.vm = harness.vm._replace(**of_vm)
    copy, outcome = _run(harness)
    assert (outcome.refusal, outcome.next is not None) == (refusal, True)
    assert (copy.did, harness.freezes) == (["undo"], [])


def test_proxmoxs_own_tool_is_named(harness: CopyHarness) -> None:
    harness.vm = harness.vm._replace(monitor=MonitorChannel(Path("/run/qemu-server/101.qmp")))
    _, outcome = _run(harness)
    assert "frostwatch freeze qemu:web1 --thaw-when=job-started -- vzdump 101" in str(outcome.next)


def test_nothing_is_done_to_what_may_only_be_looked_at(harness: CopyHarness) -> None:
    copy = Copy(harness, {})
    object.__setattr__(copy.context, "read_only", "frostwatch runs read-only")
    outcome = copy.run()
    assert (outcome.refusal, harness.freezes) == (JobRefusal.READ_ONLY, [])


def test_a_limit_and_a_policy_of_a_vm_are_kept(harness: CopyHarness) -> None:
    harness.vm = harness.vm._replace(policy=VmPolicy(hold_s=0.0, maximum_hold_s=5.0))
    assert Copy(harness, {}).window.left_s == 5.0


def test_a_copy_is_cancelled_once(harness: CopyHarness) -> None:
    called: list[str] = []
    control = JobControl()
    control.on_cancel(lambda: called.append("before"))
    control.cancel()
    control.cancel()
    control.on_cancel(lambda: called.append("after"))
    assert called == ["before", "after"]
    with pytest.raises(JobCancelled):
        control.wait(60)


def test_whoever_waits_gets_the_outcome(harness: CopyHarness) -> None:
    copy = Copy(harness, {})
    assert (copy.done, copy.wait(0)) == (False, None)
    outcome = copy.run()
    copy.settle(outcome)
    assert (copy.done, copy.wait(0)) == (True, outcome)
    state = harness.fleet.get(harness.vm.id)
    assert (state.job, state.last_job) == (None, outcome)


def test_a_listener_that_fails_ends_nothing(harness: CopyHarness) -> None:
    def listener(_: object) -> None:
        raise ValueError("a bug of the listener's")

    copy = Copy(harness, {})
    reporter = JobReporter(harness.fleet, harness.vm, listener)
    object.__setattr__(copy.context, "reporter", reporter)
    assert copy.run().ok


def test_the_journal_keeps_what_a_window_was_for(harness: CopyHarness) -> None:
    kept: list[dict[str, object]] = []

    class Entry:
        def copied(self, job: dict[str, object]) -> None:
            kept.append(job)

    def freeze() -> FakeFreeze:
        found = FakeFreeze(VERIFIED, CERTIFIED)
        found.context.entry = cast(Any, Entry())
        return found

    harness.freeze = freeze
    Copy(harness, {"follow": JobFailed("the disk is full")}).run()
    (job,) = kept
    assert (job["job"], job["result"], job["consistency"]) == ("backup", "failed", "none")


def test_no_thaw_is_told_where_nothing_was_frozen(harness: CopyHarness) -> None:
    Copy(harness, {}, policy=FreezePolicy.NEVER).run()
    assert harness.stages == ["preparing", "starting", "finishing"]


@pytest.mark.parametrize(
    ("job", "note"),
    [
        ({"job": "backup", "result": "complete", "consistency": "consistent"}, "backup"),
        ({"job": "backup", "result": "failed", "consistency": "none"}, "backup (failed)"),
        (
            {"job": "command", "name": "sleep 5", "result": "complete",
             "consistency": "crash-consistent"},
            "command sleep 5 (crash-consistent)",
        ),
        ({"job": "snapshot", "name": "before", "consistency": "consistent"}, "snapshot before"),
    ],
)  # fmt: skip
def test_the_history_says_what_a_window_was_for(job: dict[str, object], note: str) -> None:
    assert " ".join(str(one) for one in _of_job(job) if one) == note


def test_the_certificate_says_what_the_copy_lacks_and_what_is_in_the_clear(
    harness: CopyHarness,
) -> None:
    def one() -> JobOutcome:
        outcome = Copy(harness, {}).run()
        vault = DiskCopy("vault", "/to/vault.qcow2", "qcow2", 1, in_the_clear=True)
        lacking = (LeftOut("sd0", WhyLeftOut.REMOVABLE), LeftOut("cd", WhyLeftOut.READ_ONLY))
        return outcome._replace(disks=(vault,), left_out=lacking)

    facts = Copy(harness, {}).facts(one())
    assert list(_of_disks(json.loads(json.dumps(facts)))) == [
        "without sd0: a medium that can be changed",
        "in the clear, though encrypted in the VM: vault",
    ]
    odd: list[object] = [None, 5, "x", [5], [{}], [None]]
    for value in odd:
        list(_of_disks({"left_out": value, "in_the_clear": value}))


# -- a bug beside its own steps ------------------------------------------------------------------


def bug(*_: object) -> None:
    raise ZeroDivisionError("a bug")


def test_a_bug_beside_a_copys_steps_frees_its_vm_and_whoever_waits(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager, copy = JobManager(Fleet(), AccessPool(), cast(Any, None)), Copy(harness, {})
    monkeypatch.setattr(copy, "record_outcome", bug)
    manager.begin(copy.vm, lambda _: copy)
    outcome = copy.wait(60.0)
    assert outcome is not None
    assert outcome.result is JobResult.FAILED
    assert "ZeroDivisionError('a bug')" in outcome.reason
    assert manager.on(copy.vm.id) is None


def test_whoever_waits_gets_the_outcome_also_where_nobody_can_be_shown_it(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager, copy = JobManager(Fleet(), AccessPool(), cast(Any, None)), Copy(harness, {})
    monkeypatch.setattr(copy.context.reporter, "ended", bug)
    manager.begin(copy.vm, lambda _: copy)
    outcome = copy.wait(60.0)
    assert outcome is not None
    assert outcome.result is JobResult.COMPLETE
