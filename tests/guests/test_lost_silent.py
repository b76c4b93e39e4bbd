"""An agent that hangs (SIGSTOP), a VM that the host keeps from running: silent, and not lost."""

from __future__ import annotations

import pytest

from agentclient.model.events import EventKind
from agentclient.model.states import AgentState, OutcomeKind, Phase, Refusal
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator, Running, assert_certified, evidence, value
from tests.guests.lab import Guest


def read_by_the_agent(running: Running) -> None:
    """Wait until the agent has read the freeze, as the monitor shows."""
    running.wait_progress(lambda progress: progress.read is True)


def test_stopped_before_the_freeze_it_is_refused(calm: Guest, operator: Operator) -> None:
    hooks = calm.hook_log()
    calm.stop_agent()
    running = operator.freeze()
    outcome = running.outcome()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.SILENT)
    assert "guest-sync-delimited was not answered" in outcome.reason
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
    assert EventKind.SENT not in running.kinds
    assert operator.fleet.get(operator.vm.id).agent.state is AgentState.SILENT
    calm.continue_agent()
    assert_certified(operator.freeze().outcome())
    assert calm.hook_log()[len(hooks) :] == ["freeze", "thaw"], "nothing was left in the channel"
    calm.assert_thawed()


def test_cancelled_while_the_agent_is_silent_it_leaves_at_once(
    calm: Guest, operator: Operator
) -> None:
    calm.stop_agent()
    running = operator.freeze()
    running.wait_event(EventKind.PREPARING)
    running.operation.cancel()
    outcome = running.outcome()
    # Not refused because the agent is silent, as it would have been at the end of its time.
    assert "cancelled before the freeze was sent" in outcome.reason
    assert EventKind.SENT not in running.kinds
    assert outcome.settled
    calm.continue_agent()
    calm.assert_thawed()


def test_stopped_in_the_hook_it_is_pending_until_it_goes_on(
    calm: Guest, operator: Operator
) -> None:
    calm.held_hook()
    running = operator.freeze(first_timeout_s=1.5, probe_timeout_s=1.5, probes=60)
    read_by_the_agent(running)
    calm.stop_agent()
    running.wait_event(EventKind.STEP)
    progress = running.progress
    assert progress is not None
    assert (progress.phase, progress.verdict) == (Phase.PENDING, None)
    assert EventKind.PORT not in running.kinds, "a stopped agent's port stays open"
    calm.continue_agent()
    calm.release_hook()
    assert_certified(running.outcome())
    assert EventKind.REVISED not in running.kinds
    calm.assert_thawed()


def test_stopped_in_the_hook_it_times_out_and_is_thawed_when_it_goes_on(
    calm: Guest, operator: Operator
) -> None:
    calm.held_hook()
    running = operator.freeze(first_timeout_s=1.0, probe_timeout_s=0.5, probes=1)
    read_by_the_agent(running)
    calm.stop_agent()
    verdict = running.verdict()
    assert verdict.kind is OutcomeKind.TIMEOUT
    assert verdict.cause is None
    assert evidence(verdict)["port"] == "for"
    running.wait_event(EventKind.THAW_SENT)
    calm.continue_agent()
    calm.release_hook()
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True)
    assert [one.kind for one in running.revisions()] == [OutcomeKind.TIMEOUT]
    calm.assert_thawed()


def test_stopped_while_held_the_thaw_waits_for_it(calm: Guest, operator: Operator) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    calm.stop_agent()
    running.operation.end_hold()
    running.wait_event(EventKind.THAW_SENT)
    assert calm.frozen_mounts() == {"a", "b"}
    calm.continue_agent()
    assert_certified(running.outcome())
    calm.assert_thawed()


def test_paused_before_the_freeze_it_is_refused(calm: Guest, operator: Operator) -> None:
    calm.pause()
    running = operator.freeze()
    outcome = running.outcome()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.PAUSED)
    assert (outcome.next or "").startswith("resume the VM, then: frostwatch freeze")
    assert EventKind.SENT not in running.kinds
    calm.resume()
    calm.assert_thawed()


def test_paused_in_the_hook_it_is_blocked_and_goes_on(calm: Guest, operator: Operator) -> None:
    calm.held_hook()
    running = operator.freeze()
    read_by_the_agent(running)
    calm.pause()
    blocked = running.wait_event(EventKind.BLOCKED)
    assert "the VM is paused; resume the VM" in blocked.event.text
    progress = running.wait_progress(lambda progress: progress.blocked_s >= 2.0)
    assert progress.phase is Phase.BLOCKED
    assert "resume the VM" in progress.waiting_for
    calm.resume()
    running.wait_event(EventKind.BLOCKED, "no more blocked")
    calm.release_hook()
    outcome = running.outcome()
    assert_certified(outcome)
    assert outcome.seconds > 2.0
    assert EventKind.PORT not in running.kinds
    calm.assert_thawed()


def test_paused_for_the_whole_schedule_it_times_out_and_is_thawed(
    calm: Guest, operator: Operator
) -> None:
    calm.held_hook()
    running = operator.freeze(first_timeout_s=1.0, probe_timeout_s=0.5, probes=1)
    read_by_the_agent(running)
    calm.pause()
    assert running.verdict().kind is OutcomeKind.TIMEOUT
    assert "resume the VM" in running.wait_progress(lambda now: now.verdict is not None).waiting_for
    calm.resume()
    calm.release_hook()
    outcome = running.outcome()
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True)
    calm.assert_thawed()


def test_paused_while_held_the_thaw_waits_for_the_host(calm: Guest, operator: Operator) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    calm.pause()
    running.operation.end_hold()
    running.wait_event(EventKind.THAW_SENT)
    assert "resume the VM" in running.wait_progress(lambda now: now.verdict is not None).waiting_for
    calm.resume()
    assert_certified(running.outcome())
    calm.assert_thawed()


@pytest.mark.parametrize("known_by", ["polling", "events"])
def test_suspended_in_the_hook_the_true_reply_comes_after_waking_up(
    boot: Boot, known_by: str
) -> None:
    guest = boot(name="sleeps", suspendable=True, port_id="channel0")
    guest.held_hook()
    with Operator(guest, ours=known_by == "events") as operator:
        running = operator.freeze(hold_s=1.0)
        read_by_the_agent(running)
        guest.suspend()
        running.wait_event(EventKind.PORT, "closed")
        running.wait_event(EventKind.BLOCKED, "the VM is suspended; wake it up")
        progress = running.wait_progress(lambda progress: progress.blocked_s >= 1.0)
        assert progress.phase is Phase.BLOCKED
        assert progress.verdict is None, "a closed port is a presumption, not a proof"
        if known_by == "polling":  # a held monitor serves nobody else
            with Operator(guest) as another:
                refused = another.freeze().outcome()
            assert (refused.kind, refused.refusal) == (OutcomeKind.REFUSED, Refusal.SUSPENDED)
        guest.wake()
        guest.release_hook()
        outcome = running.outcome()
        # The port closed after the freeze was sent: frozen is no success, whatever is said (P3).
        assert outcome.kind is OutcomeKind.PARTIAL
        assert outcome.cause == "guest-suspended"
        assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True)
        assert evidence(outcome)["port"] == "against"
        assert "suspended" in str(value(outcome, "port"))
        assert guest.hook_log() == ["freeze", "thaw"]
        guest.assert_thawed()
