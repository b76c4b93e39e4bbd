"""A thaw on its own, and thaws that go wrong: hooks that fail, agents that die in the middle."""

from __future__ import annotations

import time

import pytest

from agentclient.model.events import EventKind
from agentclient.model.states import FreezeState, OutcomeKind
from tests.guests.freezing import Operator, assert_certified, evidence
from tests.guests.lab import Guest, RawClient


def freeze_foreign(guest: Guest) -> None:
    """Somebody else freezes everything, and leaves."""
    with RawClient(guest.agent_socket) as somebody:
        somebody.sync()
        assert somebody.freeze() == 2


@pytest.mark.parametrize("foreign", [False, True])
def test_nothing_frozen_nothing_sent(calm: Guest, operator: Operator, foreign: bool) -> None:
    hooks = calm.hook_log()
    outcome = operator.thaw(foreign=foreign).thaw_outcome()
    assert "nothing to thaw" in outcome.reason
    assert (outcome.ok, outcome.thawed, outcome.refused) == (True, 0, False)
    assert outcome.state is FreezeState.THAWED
    assert calm.hook_log() == hooks, "the thaw hook would have run unpaired"
    calm.assert_thawed()


def test_a_failing_thaw_hook_is_told_and_everything_is_thawed(
    calm: Guest, operator: Operator
) -> None:
    calm.failing_hook("no", moment="thaw")
    running = operator.freeze()
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.VERIFIED
    assert outcome.frozen == 2
    assert outcome.settled, "the agent says thawed, whatever its hook did"
    assert not outcome.certified
    assert evidence(outcome)["thaw"] == "unknown"
    assert outcome.thawed is None, "how many it thawed is not known"
    assert "answered with an error" in outcome.reason
    assert "how many it thawed is not known" in outcome.reason
    calm.assert_thawed()


def test_a_slow_thaw_hook_is_waited_for(calm: Guest, operator: Operator) -> None:
    calm.slow_hook(2.0, moment="thaw")
    outcome = operator.freeze().outcome()
    assert_certified(outcome)
    assert outcome.seconds > 2.0
    calm.assert_thawed()


def test_a_thaw_that_is_not_acknowledged_is_told_loudly(calm: Guest, operator: Operator) -> None:
    calm.hanging_hook(moment="thaw")
    running = operator.freeze(thaw_timeout_s=1.5)
    outcome = running.outcome()
    assert (outcome.kind, outcome.frozen) == (OutcomeKind.VERIFIED, 2)
    assert (outcome.thawed, outcome.settled, outcome.certified) == (None, False, False)
    assert "MAY STILL BE FROZEN" in outcome.reason
    assert outcome.next is not None
    assert "frostwatch rescue" in outcome.next
    calm.clear_hook()
    assert operator.thaw().thaw_outcome().ok
    calm.assert_thawed()


def test_killed_in_the_thaw_hook_the_next_agent_thaws(calm: Guest, operator: Operator) -> None:
    """The agent thaws first and runs its hook after: what is left is the flag."""
    calm.set_respawn(0)
    calm.slow_hook(30.0, moment="thaw")
    hooks = len(calm.hook_log())
    running = operator.freeze()
    running.wait_event(EventKind.THAW_SENT)
    log = "/run/lab/hook.log"
    calm.shell(f"while [ $(wc -l <{log}) -lt {hooks + 2} ]; do sleep 0.02; done")
    calm.set_hook("true")
    calm.kill_agent()
    outcome = running.outcome()
    # The first thaw took all, so that the second counts none: nobody else broke the window.
    assert outcome.kind is OutcomeKind.VERIFIED
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 0, True)
    assert not outcome.certified
    assert evidence(outcome)["thaw"] == "unknown"
    assert "died with" in running.texts
    assert EventKind.THAWED in running.kinds
    calm.assert_thawed()


def test_another_console_waits_for_the_channel_of_a_hold(calm: Guest, operator: Operator) -> None:
    """Another console may thaw only what it was told to, and only on a channel that is free."""
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    with Operator(calm) as another:
        thaw = another.thaw(foreign=True)
        waiting = thaw.wait_progress(lambda progress: progress.what == "thaw")
        assert "free channel" in waiting.waiting_for
        running.operation.end_hold()
        assert_certified(running.outcome())
        assert thaw.thaw_outcome().ok
    calm.assert_thawed()


def test_a_dead_agent_is_waited_for(calm: Guest, operator: Operator) -> None:
    freeze_foreign(calm)
    calm.kill_agent()
    calm.wait_agent(is_open=False)
    assert calm.frozen_mounts() == {"a", "b"}
    thaw = operator.thaw(foreign=True)
    thaw.wait_progress(lambda progress: "agent" in progress.waiting_for)
    time.sleep(0.5)
    assert not thaw.operation.done
    calm.start_agent()
    outcome = thaw.thaw_outcome()
    assert (outcome.ok, outcome.thawed) == (True, 2)
    calm.assert_thawed()


def test_a_thaw_can_be_cancelled_and_says_what_is_left(calm: Guest, operator: Operator) -> None:
    freeze_foreign(calm)
    calm.stop_agent()
    thaw = operator.thaw(foreign=True)
    thaw.wait_progress(lambda progress: progress.what == "thaw")
    time.sleep(0.3)
    thaw.operation.cancel()
    outcome = thaw.thaw_outcome()  # its own bound is twice as long as that is waited for
    assert (outcome.ok, outcome.thawed) == (False, None)
    assert outcome.next is not None
    calm.continue_agent()
    assert operator.thaw(foreign=True).thaw_outcome().ok
    calm.assert_thawed()


def test_a_paused_vm_is_refused_with_what_to_do(calm: Guest, operator: Operator) -> None:
    calm.pause()
    outcome = operator.thaw(foreign=True).thaw_outcome()
    assert (outcome.refused, outcome.next) == (True, "resume the VM")
    calm.resume()
    calm.assert_thawed()
