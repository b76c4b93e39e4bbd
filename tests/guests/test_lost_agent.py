"""The agent dies by SIGKILL or SIGTERM: before, during and after the freeze."""

from __future__ import annotations

import time

import pytest

from agentclient.model.events import EventKind
from agentclient.model.states import Cause, OutcomeKind, Phase, Refusal
from tests.guests.freezing import Operator, Running, assert_certified, evidence, in_the_hook, value
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until
from tests.guests.qmp_proxy import PoorerMonitor

AT_ONCE, LATER, NEVER = 0.0, 2.0, None
RESPAWNS = pytest.mark.parametrize(
    "respawn", [AT_ONCE, LATER, NEVER], ids=["at-once", "later", "never"]
)
SIGNALS = pytest.mark.parametrize("signal", ["KILL", "TERM"])


def thaw_s(respawn: float | None) -> float:
    """How long the thaw is waited for: not for long where no agent comes back."""
    return 2.0 if respawn is NEVER else PATIENCE_S


def answered_at_risk(running: Running) -> bool:
    """Whether an agent has answered since the window is at risk."""
    kinds = running.kinds
    return EventKind.REPLY in kinds[kinds.index(EventKind.AT_RISK) :]


def assert_thaw_after_all(guest: Guest, operator: Operator, count: int) -> None:
    """Start an agent, and thaw what is ours and was left; asserts the count and the inside."""
    guest.start_agent()
    thaw = operator.thaw().thaw_outcome()
    assert thaw.ok, thaw
    assert thaw.thawed in (count, 0)  # its holder has stayed, and is mostly quicker
    guest.assert_thawed()


@SIGNALS
def test_before_the_freeze_it_is_refused(calm: Guest, operator: Operator, signal: str) -> None:
    hooks = calm.hook_log()
    calm.kill_agent(signal)
    calm.wait_agent(is_open=False)
    running = operator.freeze()
    outcome = running.outcome()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.NO_AGENT)
    assert "port is closed" in outcome.reason
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
    assert EventKind.SENT not in running.kinds
    # Bytes that wait for the next agent would run on it: there must be none.
    calm.start_agent()
    calm.shell("sleep 0.5")
    assert calm.hook_log() == hooks
    calm.assert_thawed()


@SIGNALS
@pytest.mark.parametrize("respawn", [AT_ONCE, LATER], ids=["at-once", "later"])
def test_before_the_freeze_and_back_it_is_certified(
    calm: Guest, operator: Operator, signal: str, respawn: float
) -> None:
    deaths = calm.agent_deaths()
    calm.set_respawn(respawn)
    calm.kill_agent(signal)
    calm.shell(f"while [ $(wc -l </run/lab/agent.ended) -le {deaths} ]; do sleep 0.02; done")
    calm.wait_agent()
    assert_certified(operator.freeze().outcome())
    calm.assert_thawed()


@RESPAWNS
def test_killed_in_the_hook_it_is_lost(
    calm: Guest, operator: Operator, respawn: float | None
) -> None:
    calm.set_respawn(respawn)
    running = in_the_hook(calm, operator, thaw_timeout_s=thaw_s(respawn))
    running.wait_progress(lambda progress: progress.read is True)
    calm.kill_agent()
    verdict = running.verdict()
    assert verdict.kind is OutcomeKind.LOST
    assert verdict.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
    assert verdict.frozen is None
    found = evidence(verdict)
    assert found == {
        "reply": "unknown",
        "coverage": "unknown",
        "status": "unknown" if respawn is NEVER else found["status"],
        "port": "against",
        "read": "for",
    }
    assert calm.frozen_mounts() == set()
    outcome = running.outcome()
    assert (outcome.kind, outcome.frozen) == (OutcomeKind.LOST, None)
    running.assert_order(EventKind.SENT, EventKind.PORT, EventKind.DRAINING, EventKind.VERDICT)
    if respawn is None:
        assert outcome.cause is Cause.AGENT_GONE
        assert (outcome.thawed, outcome.settled) == (None, False)
        assert outcome.next is not None
        assert "start the agent" in outcome.next
        assert_thaw_after_all(calm, operator, 0)
    else:
        assert (outcome.thawed, outcome.settled) == (0, True)
        assert ": frostwatch freeze" in (outcome.next or "")
        running.assert_order(
            EventKind.VERDICT, EventKind.THAW_SENT, EventKind.THAWED, EventKind.OUTCOME
        )
    calm.assert_thawed()


@pytest.mark.parametrize(
    "respawn",
    [pytest.param(AT_ONCE, marks=pytest.mark.soak), NEVER],
    ids=["at-once", "once-it-is-seen"],
)
def test_restarted_soon_it_is_seen_without_a_counter(calm: Guest, respawn: float | None) -> None:
    """As on QEMU 5.2 and 6.2: nothing counts that the port was closed; it has to be seen closed.

    One that is started at once closes it for a tenth of a second, which a busy host may miss.
    """
    calm.set_respawn(respawn)
    path = calm.directory / "poorer.sock"
    with (
        PoorerMonitor(calm.monitor_socket, path, "x-query-virtio-queue-status"),
        Operator(calm, monitor_path=path) as operator,
    ):
        running = in_the_hook(calm, operator)
        calm.kill_agent()
        if respawn is NEVER:
            running.wait_event(EventKind.PORT)
            calm.start_agent()
        verdict = running.verdict()
        assert verdict.kind is OutcomeKind.LOST, running.texts
        assert verdict.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
        outcome = running.outcome()
        assert (outcome.thawed, outcome.settled) == (0, True)
        calm.clear_hook()
        held = operator.freeze().outcome()
    assert held.certified
    assert "a restart between two looks would not be seen" in str(value(held, "port"))


@RESPAWNS
def test_terminated_in_the_hook_its_success_is_partial(
    calm: Guest, operator: Operator, respawn: float | None
) -> None:
    calm.set_respawn(respawn)
    running = in_the_hook(calm, operator, thaw_timeout_s=thaw_s(respawn))
    calm.kill_agent("TERM")
    calm.release_hook()
    outcome = running.outcome()
    # It answers "2", exits, and thaws on its way out: a success that is none.
    assert outcome.kind is OutcomeKind.PARTIAL
    assert outcome.frozen == 2
    assert outcome.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
    assert not outcome.certified
    found = evidence(outcome)
    assert (found["reply"], found["port"]) == ("for", "against")
    assert "agent answered the freeze: 2" in running.find(EventKind.REPLY)[0].event.text
    assert EventKind.HELD not in running.kinds
    if respawn is None:
        assert (outcome.thawed, outcome.settled) == (None, False)
        assert outcome.next is not None
        calm.assert_thawed()
        assert_thaw_after_all(calm, operator, 0)
    else:
        assert (outcome.thawed, outcome.settled) == (0, True)
        assert found["thaw"] == "against"
    calm.assert_thawed()


@RESPAWNS
def test_killed_half_way_it_is_partial_whatever_the_next_agent_says(
    calm: Guest, operator: Operator, respawn: float | None
) -> None:
    calm.slow_flush(24.0, rate=1 << 18)
    running = operator.freeze(thaw_timeout_s=thaw_s(respawn))
    running.wait_progress(lambda progress: progress.read is True)
    calm.kill_half_way(respawn=respawn)
    verdict = running.verdict()
    if respawn is None:
        assert calm.frozen_mounts() == {"b"}
    outcome = running.outcome()
    assert verdict.kind in (OutcomeKind.LOST, OutcomeKind.PARTIAL)
    assert outcome.frozen is None
    assert not outcome.certified
    assert EventKind.HELD not in running.kinds
    found = evidence(outcome)
    assert (found["reply"], found["port"], found["read"]) == ("unknown", "against", "for")
    if respawn is None:
        assert outcome.kind is OutcomeKind.LOST
        assert outcome.cause is Cause.AGENT_GONE
        assert (outcome.thawed, outcome.settled) == (None, False)
        assert outcome.next is not None
        assert calm.frozen_mounts() == {"b"}
        assert_thaw_after_all(calm, operator, 1)
    else:
        # The next agent says frozen, and it thaws the one that is.
        assert outcome.kind is OutcomeKind.PARTIAL
        assert outcome.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
        assert (outcome.thawed, outcome.settled) == (1, True)
        assert "frozen" in outcome.reason
    calm.assert_thawed()


def test_terminated_while_it_freezes_it_goes_on(calm: Guest, operator: Operator) -> None:
    """Inside FIFREEZE, and while frozen, qemu-ga takes no notice of a SIGTERM."""
    calm.slow_flush(12.0, rate=1 << 18)
    running = operator.freeze()
    running.wait_event(EventKind.SENT)
    calm.shell('while [ -z "$(sh /lab/frozen.sh b)" ]; do sleep 0.02; done')
    calm.kill_agent("TERM")
    calm.throttle(None)
    assert_certified(running.outcome())
    calm.assert_thawed()


def test_terminated_while_held_it_stays(calm: Guest, operator: Operator) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    calm.kill_agent("TERM")
    time.sleep(1.0)
    running.operation.end_hold()
    outcome = running.outcome()
    assert EventKind.AT_RISK not in running.kinds
    assert_certified(outcome)
    calm.assert_thawed()


@RESPAWNS
def test_killed_while_held_the_window_is_at_risk_and_settled(
    calm: Guest, operator: Operator, respawn: float | None
) -> None:
    calm.set_respawn(respawn)
    running = operator.freeze(hold_s=100.0, thaw_timeout_s=thaw_s(respawn))
    running.wait_event(EventKind.HELD)
    calm.kill_agent()
    running.wait_event(EventKind.AT_RISK)
    running.wait_progress(lambda progress: progress.phase is Phase.AT_RISK)
    assert calm.frozen_mounts() == {"a", "b"}, "a killed agent leaves the window intact"
    if respawn is not NEVER:
        wait_until(lambda: answered_at_risk(running), PATIENCE_S, "the next agent's status")
    running.operation.end_hold()
    outcome = running.outcome()
    assert (outcome.frozen, outcome.certified) == (2, False)
    assert outcome.kind is OutcomeKind.VERIFIED
    found = evidence(outcome)
    assert found["port"] == "against"
    assert "while the freeze was held" in str(value(outcome, "port"))
    if respawn is None:
        assert (outcome.thawed, outcome.settled) == (None, False)
        assert found["thaw"] == "unknown"
        assert outcome.next is not None
        assert "start the agent" in outcome.next
        assert calm.frozen_mounts() == {"a", "b"}
        assert_thaw_after_all(calm, operator, 2)
    else:
        assert (outcome.thawed, outcome.settled) == (2, True)
        assert (found["status-at-thaw"], found["thaw"]) == ("for", "for")
        running.assert_order(
            EventKind.HELD, EventKind.AT_RISK, EventKind.REPLY, EventKind.THAW_SENT
        )
    calm.assert_thawed()
