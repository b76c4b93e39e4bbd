"""Freezes that take their time: slow hooks, probes, late replies, timeouts, a slow disk."""

from __future__ import annotations

import pytest

from agentclient.model.events import EventKind, StepBegan
from agentclient.model.states import OutcomeKind, Phase
from tests.guests.freezing import (
    Operator,
    Running,
    TimedEvent,
    assert_certified,
    evidence,
    value,
)
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until

# In the words of every agent: 7.2 tells the hook's exit status behind it, 10.0 what it printed.
HOOK_FAILED = "fsfreeze hook"


def answers(running: Running) -> list[str]:
    """What the agent answered, in order, as it was told."""
    return [one.event.text for one in running.find(EventKind.REPLY)]


def wait_step(running: Running, step: int) -> None:
    """Wait until a step of the schedule has begun."""
    wait_until(
        lambda: any(step_of(one) >= step for one in running.find(EventKind.STEP)),
        PATIENCE_S,
        f"step {step}",
    )


def test_a_hook_of_30_s_is_watched_through(calm: Guest, operator: Operator) -> None:
    calm.held_hook()
    running = operator.freeze(first_timeout_s=8.0, probe_timeout_s=6.0, probes=5)
    sent = running.wait_event(EventKind.SENT)
    pending = running.wait_progress(lambda progress: progress.read is True)
    assert pending.phase is Phase.PENDING
    assert (pending.step, pending.steps) == (1, 6)
    assert pending.sent_at is not None
    assert pending.step_ends_at == pytest.approx(pending.sent_at + 8.0, abs=0.01)
    assert pending.ends_at == pytest.approx(pending.sent_at + 38.0, abs=0.01)
    assert calm.frozen_mounts() == set(), "the hook runs before anything is frozen"
    wait_step(running, 5)
    calm.shell("sleep 4")
    calm.release_hook()
    outcome = running.outcome()
    assert_certified(outcome)
    assert outcome.seconds > 30.0
    steps = running.find(EventKind.STEP)
    assert [step_of(one) for one in steps] == [2, 3, 4, 5, 6][: len(steps)]
    for begins, one in zip((8.0, 14.0, 20.0, 26.0), steps, strict=False):
        assert begins - 0.1 < one.at - sent.at < begins + 6.0
    assert "0:30 left" in steps[0].event.text or "30 s left" in steps[0].event.text
    assert "the agent has read it" in steps[0].event.text
    # The freeze's own answer comes first, then those of the probes, then our own question.
    frozen, thaw = (
        ["the agent's status: frozen"] * (len(steps) + 1),
        ["the agent answered the thaw: 2"],
    )
    assert answers(running) == ["the agent answered the freeze: 2", *frozen, *thaw]
    calm.assert_thawed()


def test_a_late_reply_is_adopted_with_its_true_count(calm: Guest, operator: Operator) -> None:
    calm.held_hook()
    running = operator.freeze("/mnt/a", first_timeout_s=1.0, probe_timeout_s=1.0, probes=80)
    wait_step(running, 3)
    calm.release_hook()
    outcome = running.outcome()
    assert_certified(outcome, frozen=1)
    assert answers(running)[0] == "the agent answered the freeze: 1"
    calm.assert_thawed()


def test_a_late_reply_is_adopted_with_its_true_error(calm: Guest, operator: Operator) -> None:
    hooks = len(calm.hook_log())
    calm.held_hook(fails=True)
    running = operator.freeze(first_timeout_s=1.0, probe_timeout_s=1.0, probes=80)
    wait_step(running, 3)
    calm.release_hook()
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.FAILED
    assert HOOK_FAILED in outcome.reason
    assert outcome.cause is None
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
    found = evidence(outcome)
    assert (found["reply"], found["status"]) == ("against", "against")
    # An error waits for no look at the port: it may not have been seen since.
    assert found["port"] != "against"
    assert HOOK_FAILED in str(value(outcome, "reply"))
    running.assert_order(
        EventKind.STEP, EventKind.REPLY, EventKind.VERDICT, EventKind.THAW_SENT, EventKind.OUTCOME
    )
    # After a failing freeze hook the thaw hook has not run: our thaw makes up for it.
    assert calm.hook_log()[hooks:] == ["freeze", "thaw"]
    calm.assert_thawed()


def test_cancel_thaws_when_the_agent_answers(calm: Guest, operator: Operator) -> None:
    calm.held_hook()
    running = operator.freeze(hold_s=100.0)
    running.wait_progress(lambda progress: progress.read is True)
    running.operation.cancel()
    running.wait_event(EventKind.CANCELLED)
    assert running.wait_progress(lambda progress: progress.cancelled).phase is Phase.THAWING
    # The thaw stands behind the freeze before that is answered, so that the agent runs it at once.
    running.wait_event(EventKind.THAW_SENT)
    calm.release_hook()
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.UNVERIFIED
    assert "cancelled" in outcome.reason
    assert (outcome.frozen, outcome.thawed, outcome.certified) == (2, 2, False)
    assert outcome.settled
    running.assert_order(
        EventKind.CANCELLED,
        EventKind.THAW_SENT,
        EventKind.REPLY,
        EventKind.VERDICT,
        EventKind.THAWED,
        EventKind.OUTCOME,
    )
    assert EventKind.HELD not in running.kinds
    calm.assert_thawed()


def test_cancel_of_a_freeze_that_fails(calm: Guest, operator: Operator) -> None:
    calm.held_hook(fails=True)
    running = operator.freeze()
    running.wait_event(EventKind.SENT)
    running.operation.cancel()
    running.wait_event(EventKind.CANCELLED)
    calm.release_hook()
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.FAILED
    assert HOOK_FAILED in outcome.reason
    assert (outcome.thawed, outcome.settled) == (0, True)
    calm.assert_thawed()


def test_a_timeout_thaws_and_a_later_reply_revises_it(calm: Guest, operator: Operator) -> None:
    calm.held_hook()
    running = operator.freeze(first_timeout_s=1.0, probe_timeout_s=1.0, probes=1)
    verdict = running.verdict()
    assert verdict.kind is OutcomeKind.TIMEOUT
    assert (verdict.frozen, verdict.thawed) == (None, None)
    assert verdict.seconds > 1.9
    found = evidence(verdict)
    assert (found["reply"], found["port"], found["read"]) == ("unknown", "for", "for")
    running.wait_event(EventKind.THAW_SENT)
    calm.release_hook()
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True)
    assert [one.frozen for one in running.revisions()] == [2]
    running.assert_order(
        EventKind.STEP,
        EventKind.VERDICT,
        EventKind.THAW_SENT,
        EventKind.REPLY,
        EventKind.REVISED,
        EventKind.THAWED,
        EventKind.OUTCOME,
    )
    assert EventKind.HELD not in running.kinds
    calm.assert_thawed()


def test_a_timeout_is_revised_by_a_late_error(calm: Guest, operator: Operator) -> None:
    calm.held_hook(fails=True)
    running = operator.freeze(first_timeout_s=1.0, probes=0)
    assert running.verdict().kind is OutcomeKind.TIMEOUT
    calm.release_hook()
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.FAILED
    assert HOOK_FAILED in outcome.reason
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
    calm.assert_thawed()


def test_a_hook_that_never_ends_is_told_loudly(calm: Guest, operator: Operator) -> None:
    calm.hanging_hook()
    running = operator.freeze(first_timeout_s=0.5, probes=0, thaw_timeout_s=1.5)
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, None, False)
    assert "MAY STILL BE FROZEN" in outcome.reason
    assert outcome.next is not None
    assert "frostwatch rescue" in outcome.next
    assert "NEXT: " in running.told[-1].event.text
    # The thaw that was left unanswered stays ours: no --foreign is needed here to repeat it.
    calm.clear_hook()
    thaw = operator.thaw().thaw_outcome()
    assert thaw.ok
    calm.assert_thawed()


def test_giving_up_ends_it_an_hour_before_its_bound(calm: Guest, operator: Operator) -> None:
    calm.hanging_hook()
    running = operator.freeze()
    running.wait_progress(lambda progress: progress.read is True)
    running.operation.give_up()
    outcome = running.outcome()
    assert not outcome.settled
    assert outcome.thawed is None
    assert outcome.next is not None
    assert "frostwatch rescue" in outcome.next
    calm.clear_hook()
    assert operator.thaw().thaw_outcome().ok
    calm.assert_thawed()


def test_a_slow_flush_is_told_from_nothing_and_verified(calm: Guest, operator: Operator) -> None:
    calm.slow_flush(8.0)
    running = operator.freeze(first_timeout_s=2.0, probe_timeout_s=3.0, probes=30)
    running.wait_event(EventKind.SENT)
    first = running.wait_progress(lambda progress: bool(progress.written_bytes))
    assert first.read is True
    assert first.written_bytes is not None
    before = first.written_bytes
    running.wait_progress(lambda progress: (progress.written_bytes or 0) > before)
    assert EventKind.CONTRADICTION not in running.kinds, "these were written before the answer"
    outcome = running.outcome()
    assert_certified(outcome)
    assert outcome.seconds > 2.0
    assert "bytes written since" in running.find(EventKind.STEP)[0].event.text
    calm.assert_thawed()


def step_of(told: TimedEvent) -> int:
    assert isinstance(told.event.details, StepBegan)
    return told.event.details.step
