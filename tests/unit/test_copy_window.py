"""The window of a copy: what each policy makes of each freeze, and that it always ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentclient.jobs import pause
from agentclient.jobs.errors import JobCancelled, JobFailed, JobRefused
from agentclient.jobs.mirror import MirrorRequest
from agentclient.jobs.request import BackupRequest, CopyRequest
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.window import DEFAULT_HOLD_S, CopyWindow
from agentclient.model.errors import BadInput
from agentclient.model.job import Consistency, FreezePolicy, JobRefusal
from agentclient.model.outcome import FileSystem, Outcome
from agentclient.model.request import FreezeRequest
from agentclient.model.states import OutcomeKind
from tests.unit.copy_harness import (
    BROKEN,
    CERTIFIED,
    NO_AGENT,
    VERIFIED,
    CopyHarness,
    FakeFreeze,
)

UNVERIFIED = VERIFIED._replace(kind=OutcomeKind.UNVERIFIED)
LOST = Outcome(OutcomeKind.LOST, "the agent has gone", next="frostwatch thaw web1")
REQUIRE, PREFER, NEVER, SUSPEND = FreezePolicy


@pytest.fixture
def harness() -> CopyHarness:
    return CopyHarness()


def _fail_in(window: CopyWindow, is_open: Callable[[], bool]) -> None:
    with window.open():
        assert is_open()
        window.check(is_needed=True)
        raise JobFailed("the disk is full")


@pytest.mark.parametrize("policy", [REQUIRE, PREFER, SUSPEND])
def test_a_certified_window_makes_a_consistent_copy(
    harness: CopyHarness, policy: FreezePolicy
) -> None:
    window = CopyWindow(harness.context(), policy)
    with window.open():
        assert window.is_frozen
    assert harness.freezes[0].done
    assert window.consistency is Consistency.CONSISTENT
    assert window.frozen_at is not None
    assert window.thawed_at is not None
    assert window.frozen_at <= window.thawed_at


@pytest.mark.parametrize("error", [JobFailed("the disk is full"), KeyboardInterrupt()])
def test_the_guest_is_thawed_whatever_happens(harness: CopyHarness, error: BaseException) -> None:
    window = CopyWindow(harness.context(), REQUIRE)
    with pytest.raises(type(error)), window.open():
        raise error
    assert harness.freezes[0].done


def test_a_window_that_is_broken_is_worth_a_crash_consistent_copy(harness: CopyHarness) -> None:
    harness.freeze = lambda: FakeFreeze(VERIFIED, BROKEN)
    window = CopyWindow(harness.context(), REQUIRE)
    with window.open():
        pass
    assert window.consistency is Consistency.CRASH_CONSISTENT
    assert window.why == "the freeze window is not certified: the agent has gone"


def test_what_only_the_window_makes_of_one_moment_may_not_be_if_it_is_broken(
    harness: CopyHarness,
) -> None:
    harness.freeze = lambda: FakeFreeze(VERIFIED, BROKEN)
    window = CopyWindow(harness.context(), PREFER)
    with window.open():
        window.check(is_needed=True)
    assert window.why.endswith("the agent has gone, so that its disks may not be of one moment")


@pytest.mark.parametrize(
    ("policy", "is_needed"), [(REQUIRE, False), (SUSPEND, False), (PREFER, True)]
)
def test_a_window_that_ended_before_the_copy_was_taken_is_a_failure(
    harness: CopyHarness, policy: FreezePolicy, is_needed: bool
) -> None:
    window = CopyWindow(harness.context(), policy)
    with window.open():
        window.check(is_needed=is_needed)
        harness.freezes[0].break_window()
        with pytest.raises(JobFailed, match="thawed before the copy"):
            window.check(is_needed=is_needed)


def test_prefer_goes_on_where_the_window_ended_before_the_copy_was_taken(
    harness: CopyHarness,
) -> None:
    window = CopyWindow(harness.context(), PREFER)
    with window.open():
        harness.freezes[0].break_window()
        assert window.left_s > 9, "nothing has to be hurried any more"
        assert not window.stands_still
        window.check(is_needed=False)
    # Certified it was, but the copy was not taken in it.
    assert window.outcome is not None
    assert window.outcome.certified
    assert window.consistency is Consistency.CRASH_CONSISTENT
    assert window.why == "the guest was thawed before the copy could be taken"
    assert any("going on without a window" in event.text for event in harness.events)


def _send_thaw(freeze: FakeFreeze) -> None:
    freeze.thaw_is_sent()


def _outlast_hold(freeze: FakeFreeze) -> None:
    """As when frostwatch was stopped meanwhile: the holder has thawed the guest."""
    freeze.hold_ends_at = time.monotonic() - 1


@pytest.mark.parametrize("end", [_send_thaw, _outlast_hold])
def test_a_window_is_over_before_its_thaw_is_acknowledged(
    harness: CopyHarness, end: Callable[[FakeFreeze], None]
) -> None:
    window = CopyWindow(harness.context(), REQUIRE)
    with window.open():
        was = window.is_frozen
        end(harness.freezes[0])
        assert not harness.freezes[0].done
        assert (was, window.is_frozen, window.stands_still) == (True, False, False)
        with pytest.raises(JobFailed, match="thawed before the copy"):
            window.check(is_needed=False)


@pytest.mark.parametrize("end", [_send_thaw, _outlast_hold])
def test_what_was_taken_while_the_guest_was_thawed_is_not_called_consistent(
    harness: CopyHarness, end: Callable[[FakeFreeze], None]
) -> None:
    window = CopyWindow(harness.context(), PREFER)
    with window.open():
        end(harness.freezes[0])
        window.check(is_needed=False)
    assert window.outcome is not None
    assert window.outcome.certified
    assert window.consistency is Consistency.CRASH_CONSISTENT
    assert not window.has_held


@pytest.mark.parametrize(
    ("verdict", "ends"), [(None, LOST), (UNVERIFIED, UNVERIFIED._replace(settled=True))]
)
@pytest.mark.parametrize("policy", [REQUIRE, SUSPEND])
def test_without_a_verified_freeze_nothing_is_copied(
    harness: CopyHarness, policy: FreezePolicy, verdict: Outcome | None, ends: Outcome
) -> None:
    harness.freeze = lambda: FakeFreeze(verdict, ends)
    window = CopyWindow(harness.context(), policy)
    with pytest.raises(JobRefused) as caught, window.open():
        pytest.fail("the copy was taken")
    assert caught.value.refusal is JobRefusal.NOT_FROZEN
    assert ends.reason in caught.value.reason
    assert caught.value.next_step is not None
    assert harness.freezes[0].done


def test_prefer_goes_on_and_says_so(harness: CopyHarness) -> None:
    harness.freeze = lambda: FakeFreeze(None, LOST)
    window = CopyWindow(harness.context(), PREFER)
    with window.open():
        assert not window.is_frozen
        window.check(is_needed=False)
    assert window.consistency is Consistency.CRASH_CONSISTENT
    assert "the agent has gone" in window.why
    assert any("crash-consistent" in event.text for event in harness.events)


def test_never_freezes_nothing(harness: CopyHarness) -> None:
    window = CopyWindow(harness.context(), NEVER)
    with window.open():
        window.check(is_needed=False)
    assert harness.freezes == []
    assert window.consistency is Consistency.CRASH_CONSISTENT


def test_a_vm_without_an_agent_is_paused_and_goes_on(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = _pausing(harness, monkeypatch)
    with pytest.raises(JobFailed, match="full"):
        _fail_in(window, lambda: not harness.qemu.running)
    assert harness.qemu.running
    assert window.consistency is Consistency.CRASH_CONSISTENT


def test_a_vm_that_somebody_resumes_is_copied_if_its_disks_are_of_one_moment(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = _pausing(harness, monkeypatch)
    with window.open():
        harness.qemu.running = True
        assert not window.stands_still
        with pytest.raises(JobFailed, match=r"somebody has resumed .* not of one moment"):
            window.check(is_needed=True)
        window.check(is_needed=False)
    assert window.consistency is Consistency.CRASH_CONSISTENT
    assert window.why == "somebody has resumed the VM before the copy could be taken"


def test_a_vm_is_paused_for_no_longer_than_a_window(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = _pausing(harness, monkeypatch)
    with window.open():
        first = window.left_s
        time.sleep(0.02)
        assert window.left_s < first <= DEFAULT_HOLD_S


def test_a_vm_is_not_copied_if_nobody_stands_by_any_more(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(_NoGuard):
        def check(self) -> None:
            raise JobFailed("nobody stands by any more")

    monkeypatch.setattr(pause, "_Guard", Ended)
    harness.freeze = lambda: FakeFreeze(None, NO_AGENT)
    with pytest.raises(JobFailed, match="nobody stands by"):
        _fail_in(CopyWindow(harness.context(), SUSPEND), lambda: False)
    assert harness.qemu.running


def test_a_vm_that_was_paused_before_stays_so(harness: CopyHarness) -> None:
    harness.freeze = lambda: FakeFreeze(None, NO_AGENT)
    harness.qemu.running = False
    with CopyWindow(harness.context(), SUSPEND).open():
        pass
    assert not harness.qemu.running


def test_a_vm_whose_shared_connection_has_ended_goes_on_by_another_one(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause, "_EVERY_S", 0.0)
    with _pausing(harness, monkeypatch).open():
        harness.qemu.broken = True
    assert harness.qemu.running


def test_a_vm_that_does_not_go_on_is_told_loudly(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_guard(monkeypatch)
    monkeypatch.setattr(pause, "_EVERY_S", 0.0)
    harness.freeze = lambda: FakeFreeze(None, NO_AGENT)
    harness.qemu.refuses["cont"] = "no"
    with CopyWindow(harness.context(), SUSPEND).open():
        pass
    (told,) = [event.text for event in harness.events if "STILL PAUSED" in event.text]
    assert "/run/web1.qmp" in told


def test_a_cancellation_ends_the_wait_for_a_freeze_that_is_not_answered(
    harness: CopyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.freeze = lambda: FakeFreeze(None, CERTIFIED, pending=True)
    window = CopyWindow(harness.context(), REQUIRE)
    threading.Timer(0.2, harness.control.cancel).start()
    with pytest.raises(JobCancelled), window.open():
        pytest.fail("the copy was taken")
    (freeze,) = harness.freezes
    assert (freeze.cancelled, freeze.done) == (True, False), "it is never answered"


def test_a_cancelled_job_freezes_nothing(harness: CopyHarness) -> None:
    harness.control.cancel()
    with pytest.raises(JobCancelled), CopyWindow(harness.context(), REQUIRE).open():
        pytest.fail("the copy was taken")
    assert harness.freezes == []


@pytest.mark.parametrize(
    ("wanted", "command"),
    [
        (BackupRequest(folder=Path("/b")), "backup qemu:web1 --to /b"),
        (
            BackupRequest(
                folder=Path("/b c"), incremental=True, compress=True, record=False, fleece="off",
                disks=("a", "b"), policy=SUSPEND,
            ),
            "backup qemu:web1 --to '/b c' --mode incremental --compress --no-record --fleece off "
            "--disk a --disk b --policy suspend",
        ),
        (MirrorRequest(folder=Path("/m"), format="raw"), "mirror qemu:web1 --to /m --format raw"),
        (SnapshotRequest(name="s1"), "snapshot create qemu:web1 s1"),
        (
            SnapshotRequest(name="s1", external=True, folder=Path("/s")),
            "snapshot create qemu:web1 s1 --external --to /s",
        ),
    ],
)  # fmt: skip
def test_the_next_step_of_its_freeze_is_its_own_command(
    harness: CopyHarness, wanted: CopyRequest, command: str
) -> None:
    again = wanted.again(harness.vm, 0)
    assert again == f"frostwatch {command}"
    with CopyWindow(harness.context(), REQUIRE, again=again).open():
        pass
    assert [one.again for one in harness.requests] == [again]


def test_a_window_needs_a_hold(harness: CopyHarness) -> None:
    with pytest.raises(BadInput, match="hold"):
        CopyWindow(harness.context(), REQUIRE, FreezeRequest())


class _NoGuard:
    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> _NoGuard:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, word: str) -> None:
        pass

    def check(self) -> None:
        pass


def _pausing(harness: CopyHarness, monkeypatch: pytest.MonkeyPatch) -> CopyWindow:
    """The window of a VM without an agent, which is paused for it."""
    _no_guard(monkeypatch)
    harness.freeze = lambda: FakeFreeze(None, NO_AGENT)
    return CopyWindow(harness.context(), SUSPEND)


def _no_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause without the process that stands by (tests/guests/test_left_copies.py tries it)."""
    monkeypatch.setattr(pause, "_Guard", _NoGuard)


def test_what_cant_be_frozen_is_named_wherever_the_copy_is_called_consistent(
    harness: CopyHarness,
) -> None:
    efi = (FileSystem("vdc", "/boot/efi", "vfat"),)
    harness.freeze = lambda: FakeFreeze(VERIFIED, CERTIFIED._replace(not_covered=efi))
    window = CopyWindow(harness.context(), REQUIRE)
    with window.open():
        pass
    assert window.consistency is Consistency.CONSISTENT
    assert window.why.endswith(
        "except what can't freeze and is crash-consistent: /boot/efi (vfat on vdc)"
    )
