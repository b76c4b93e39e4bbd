"""The freeze that goes well: verified, held, thawed, certified; and what is named when less is."""

from __future__ import annotations

from agentclient.model.events import EventKind
from agentclient.model.states import FreezeState, Level, OutcomeKind, Phase, Refusal
from tests.guests.freezing import WHOLE, Operator, assert_certified, evidence, value
from tests.guests.lab import Guest


def test_freeze_is_verified_held_thawed_and_certified(calm: Guest, operator: Operator) -> None:
    hooks = len(calm.hook_log())
    running = operator.freeze(hold_s=4.0)
    held = running.wait_event(EventKind.HELD)
    progress = running.wait_progress(lambda progress: progress.phase is Phase.HELD)
    assert progress.frozen == 2
    assert operator.fleet.get(operator.vm.id).freeze.state is FreezeState.FROZEN
    assert calm.frozen_mounts() == {"a", "b"}
    outcome = running.outcome()
    assert_certified(outcome)
    assert running.find(EventKind.THAW_SENT)[0].at - held.at > 3.8
    running.assert_order(
        EventKind.PREPARING,
        EventKind.SENT,
        EventKind.REPLY,
        EventKind.VERDICT,
        EventKind.HELD,
        EventKind.THAW_SENT,
        EventKind.REPLY,
        EventKind.THAWED,
        EventKind.OUTCOME,
    )
    assert not {EventKind.AT_RISK, EventKind.CONTRADICTION, EventKind.REVISED} & set(running.kinds)
    assert running.told[-1].event.level is Level.GOOD
    assert evidence(running.verdict()) == WHOLE
    assert operator.fleet.get(operator.vm.id).freeze.state is FreezeState.THAWED
    assert calm.hook_log()[hooks:] == ["freeze", "thaw"]
    calm.assert_thawed()


def test_what_cannot_freeze_is_named(calm: Guest, operator: Operator) -> None:
    outcome = operator.freeze().outcome()
    assert_certified(outcome)
    assert outcome.coverage == "2 of 3"
    assert [(one.mountpoint, one.kind) for one in outcome.not_covered] == [("/mnt/efi", "vfat")]
    assert "(vfat at /mnt/efi)" in outcome.reason
    assert value(outcome, "coverage") == "2 of 2 expected (2 of 3)"
    calm.assert_thawed()


def test_strict_demands_full_coverage(calm: Guest, operator: Operator) -> None:
    running = operator.freeze(strict=True, hold_s=30.0)
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.UNVERIFIED
    assert evidence(outcome)["coverage"] == "against"
    assert "(vfat at /mnt/efi)" in outcome.reason
    assert (outcome.frozen, outcome.thawed, outcome.certified) == (2, 2, False)
    # What does not satisfy the person who asked is not held either.
    assert EventKind.HELD not in running.kinds
    calm.assert_thawed()


def test_strict_is_content_with_all_that_was_asked_for(calm: Guest, operator: Operator) -> None:
    outcome = operator.freeze("/mnt/a", "/mnt/b", strict=True).outcome()
    assert_certified(outcome)
    assert (outcome.coverage, outcome.not_covered) == ("2 of 2", ())
    calm.assert_thawed()


def test_a_list_of_mounts_freezes_these_alone(calm: Guest, operator: Operator) -> None:
    running = operator.freeze("/mnt/b", hold_s=30.0)
    running.wait_event(EventKind.HELD)
    assert calm.frozen_mounts() == {"b"}
    running.operation.end_hold()
    outcome = running.outcome()
    assert_certified(outcome, frozen=1)
    assert outcome.coverage == "1 of 1"
    calm.assert_thawed()


def test_an_unknown_mount_is_not_sent(calm: Guest, operator: Operator) -> None:
    hooks = calm.hook_log()
    running = operator.freeze("/mnt/a", "/mnt/nowhere")
    outcome = running.outcome()
    assert outcome.refusal is Refusal.MOUNTS
    assert "/mnt/nowhere" in outcome.reason
    assert "(ext4 at /mnt/b)" in outcome.reason, "it says what there is"
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
    assert EventKind.SENT not in running.kinds
    assert EventKind.THAW_SENT not in running.kinds
    assert calm.hook_log() == hooks
    calm.assert_thawed()


def test_mounts_that_cannot_freeze_are_not_sent(calm: Guest, operator: Operator) -> None:
    hooks = calm.hook_log()
    running = operator.freeze("/mnt/efi")
    outcome = running.outcome()
    assert outcome.refusal is Refusal.MOUNTS
    assert "/mnt/efi" in outcome.reason
    assert "the freeze was not sent" in outcome.reason
    assert EventKind.SENT not in running.kinds
    assert calm.hook_log() == hooks


def test_a_device_mounted_twice_counts_once(calm: Guest, operator: Operator) -> None:
    calm.shell("mkdir -p /run/twice && mount --bind /mnt/a /run/twice")
    try:
        outcome = operator.freeze().outcome()
    finally:
        calm.shell("umount /run/twice")
    assert_certified(outcome)
    assert outcome.coverage == "2 of 3"
    calm.assert_thawed()


def test_a_hold_ends_when_it_has_served(calm: Guest, operator: Operator) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    running.operation.end_hold()
    assert_certified(running.outcome())
    calm.assert_thawed()


def test_a_hold_is_extended_and_its_holder_knows(calm: Guest, operator: Operator) -> None:
    running = operator.freeze(hold_s=2.5)
    running.wait_event(EventKind.HELD)
    running.operation.extend_hold(2.0)
    running.wait_event(EventKind.NOTE, "the hold is extended by 2 s")
    outcome = running.outcome()
    assert_certified(outcome)
    assert outcome.seconds > 4.4
    calm.assert_thawed()


def test_end_hold_before_the_verdict_means_no_hold(calm: Guest, operator: Operator) -> None:
    calm.held_hook()
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.SENT)
    running.operation.end_hold()
    calm.release_hook()
    assert_certified(running.outcome())
    assert EventKind.HELD not in running.kinds
    calm.assert_thawed()


def test_a_thaw_ends_the_hold_of_our_own_freeze(calm: Guest, operator: Operator) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    assert operator.thaw().operation is running.operation
    outcome = running.outcome()
    assert_certified(outcome)
    running.assert_order(EventKind.HELD, EventKind.CANCELLED, EventKind.THAW_SENT)
    calm.assert_thawed()


def test_a_second_freeze_of_the_same_vm_is_refused(calm: Guest, operator: Operator) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    second = operator.freeze()
    refused = second.outcome()
    assert (refused.kind, refused.refusal) == (OutcomeKind.REFUSED, Refusal.BUSY)
    assert EventKind.SENT not in second.kinds
    assert calm.frozen_mounts() == {"a", "b"}
    running.operation.end_hold()
    assert_certified(running.outcome())
    calm.assert_thawed()


def test_without_a_monitor_the_missing_evidence_is_named(calm: Guest) -> None:
    with Operator(calm, monitor=False) as operator:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        assert calm.frozen_mounts() == {"a", "b"}
        running.operation.end_hold()
        outcome = running.outcome()
    assert outcome.kind is OutcomeKind.UNVERIFIED
    assert "port can't be seen (no monitor)" in outcome.reason
    assert (outcome.frozen, outcome.thawed, outcome.certified) == (2, 2, False)
    assert outcome.settled
    assert evidence(outcome) == {
        "reply": "for",
        "coverage": "for",
        "status": "for",
        "port": "unknown",
        "read": "unknown",
        "status-at-thaw": "for",
        "writes": "unknown",
        "thaw": "for",
    }
    assert value(outcome, "port") == "no monitor"
    calm.assert_thawed()


def test_a_read_only_console_sends_nothing(calm: Guest) -> None:
    hooks = calm.hook_log()
    with Operator(calm, read_only=True) as operator:
        running = operator.freeze()
        outcome = running.outcome()
        assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.READ_ONLY)
        assert EventKind.SENT not in running.kinds
        assert operator.thaw(foreign=True).thaw_outcome().refused
    assert calm.hook_log() == hooks
    calm.assert_thawed()
