"""A console that ends while disks are copied: what is undone, what goes on, what is said."""

from __future__ import annotations

import threading

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.job import JobKind, JobOutcome, JobResult
from agentclient.model.next_command import clear_command
from tests.console.copying import failed
from tests.console.fakes import FakeJob, FakeJobs, FakeOperations, StillClock
from tests.console.fleets import fleet_of, state_of
from tui.console import leave_copies
from tui.console.copies import Copies
from tui.console.leave import CLEAN, LEFT_SOMETHING, thaw_and_leave
from tui.shared.signals import Signals


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    return fleet_of(["a"], still)


def copies_of(
    fleet: Fleet, ends_as: JobOutcome | None, after_s: float = 0.2
) -> tuple[Copies, FakeJob]:
    """Return a copy that obeys after a while; never if it ends as nothing."""
    jobs = FakeJobs()
    job = jobs.add(state_of(fleet, "a").vm, JobKind.BACKUP)

    def obey(one: FakeJob) -> None:
        timer = threading.Timer(0.2, setattr, (one, "outcome", ends_as))
        timer.daemon = True
        timer.start()

    job.on_cancel = obey
    copies = Copies(lambda: jobs)
    assert copies.jobs is jobs
    return copies, job


def leave(
    fleet: Fleet, copies: Copies, *, detach: bool = False, impatient: bool = False
) -> tuple[int, str]:
    told: list[str] = []
    signals = Signals()

    def tell(line: str) -> None:
        told.append(line)
        if impatient and "Ctrl-C leaves them to QEMU" in line:
            signals.requests = 1

    code = thaw_and_leave(fleet, FakeOperations(), signals, tell, copies=copies, detach=detach)
    return code, "\n".join(told)


def test_copies_are_cancelled_and_waited_for(fleet: Fleet, still: StillClock) -> None:
    cancelled = failed(still)._replace(
        result=JobResult.CANCELLED, reason="backup: cancelled: stopped by the operator"
    )
    copies, job = copies_of(fleet, cancelled)
    code, told = leave(fleet, copies)
    assert (code, job.calls) == (CLEAN, ["cancel"])
    assert "frostwatch: qemu:a: backup: cancelled: stopped by the operator" in told


def test_what_is_left_behind_is_named_and_no_success(fleet: Fleet, still: StillClock) -> None:
    copies, _ = copies_of(fleet, failed(still)._replace(left=("the file /x (busy)",)))
    code, told = leave(fleet, copies)
    assert code == LEFT_SOMETHING
    assert "qemu:a: LEFT BEHIND: the file /x (busy)" in told


def test_who_leaves_at_once_leaves_them_to_qemu_by_choice(fleet: Fleet, still: StillClock) -> None:
    copies, job = copies_of(fleet, failed(still)._replace(result=JobResult.LEFT))
    code, told = leave(fleet, copies, detach=True)
    assert (code, job.calls) == (CLEAN, ["leave"])
    assert "QEMU may go on with its backup, which nobody certifies" in told
    assert clear_command(state_of(fleet, "a").vm) in told


@pytest.mark.parametrize("detach", [True, False])
def test_one_that_obeys_nothing_holds_up_nobody(
    fleet: Fleet, detach: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leave_copies, "_TELL_AFTER_S", 0.1)
    copies, _ = copies_of(fleet, None)
    code, told = leave(fleet, copies, detach=detach, impatient=not detach)
    assert code == (CLEAN if detach else LEFT_SOMETHING)
    assert ("ending the copies of qemu:a; Ctrl-C leaves them to QEMU" in told) is not detach
    assert "QEMU may go on" in told


def test_without_copies_nothing_is_imported_or_said(fleet: Fleet) -> None:
    def never() -> FakeJobs:
        raise AssertionError("nobody has copied anything")

    code, told = leave(fleet, Copies(never))
    assert (code, told) == (CLEAN, "frostwatch: nothing was frozen")


def test_a_copy_that_qemu_could_not_end_is_told_again(fleet: Fleet, still: StillClock) -> None:
    jobs = FakeJobs()
    job = jobs.add(state_of(fleet, "a").vm, JobKind.MIRROR)
    job.outcome = failed(still)
    jobs.going_on = (job,)
    copies = Copies(lambda: jobs)
    assert copies.jobs is jobs
    code, told = leave(fleet, copies)
    assert code == LEFT_SOMETHING
    assert "qemu:a: QEMU could not end its mirror" in told
    assert clear_command(job.vm) in told
