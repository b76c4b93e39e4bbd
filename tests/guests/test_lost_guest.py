"""The guest is reset, panics, shuts down, or its QEMU is killed in the middle of a freeze."""

from __future__ import annotations

import pytest

from agentclient.model.events import EventKind
from agentclient.model.states import Cause, OutcomeKind, Phase, Refusal, RunState
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator, Running, assert_certified, evidence
from tests.guests.lab import Guest

HELD_MONITOR = pytest.mark.parametrize("ours", [False, True], ids=["polling", "events"])


def in_the_hook(guest: Guest, operator: Operator) -> Running:
    """Begin a freeze, and wait until the agent has read it and runs its hook."""
    guest.slow_hook(30.0)
    running = operator.freeze()
    running.wait_progress(lambda progress: progress.read is True)
    return running


@HELD_MONITOR
def test_reset_in_the_hook(calm: Guest, ours: bool) -> None:
    with Operator(calm, ours=ours) as operator:
        running = in_the_hook(calm, operator)
        calm.reset(wait=False)
        verdict = running.verdict()
        cause = Cause.GUEST_RESET if ours else Cause.UNKNOWN  # its event alone proves it
        assert (verdict.kind, verdict.cause) == (OutcomeKind.LOST, cause)
        assert evidence(verdict)["port"] == "against"
        calm.wait_reset()
        outcome = running.outcome()
        assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, cause)
        assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
        step = "when the guest is up again: frostwatch freeze" if ours else "frostwatch doctor"
        assert step in (outcome.next or "")
        # Nothing is frozen after a reset: a thaw would run the thaw hook unpaired.
        assert EventKind.THAWED in running.kinds
        assert calm.hook_log() == []
        calm.assert_thawed()
        calm.clear_hook()
        assert_certified(operator.freeze().outcome())


@HELD_MONITOR
def test_reset_while_held_breaks_the_window(calm: Guest, ours: bool) -> None:
    with Operator(calm, ours=ours) as operator:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        calm.reset(wait=False)
        # At once where QEMU tells of it; else the window is at risk until the next agent is there.
        running.wait_event(EventKind.REVISED if ours else EventKind.AT_RISK)
        calm.wait_reset()
        outcome = running.outcome()
        cause = Cause.GUEST_RESET if ours else Cause.UNKNOWN
        assert (outcome.kind, outcome.cause) == (OutcomeKind.BROKEN, cause)
        assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 0, True)
        assert not outcome.certified
        assert evidence(outcome)["port"] == "against"
        assert calm.hook_log() == []
        calm.assert_thawed()


@pytest.mark.parametrize("held", [True, False], ids=["held", "half-way"])
def test_a_port_whose_driver_is_loaded_anew_is_no_reset(calm: Guest, held: bool) -> None:
    """The counter falls as at a reset, and the guest stays frozen: its next agent is asked."""
    with Operator(calm) as operator:
        if held:
            running = operator.freeze(hold_s=8.0)
            running.wait_event(EventKind.HELD)
        else:
            calm.slow_hook(30.0)
            running = operator.freeze()
            running.wait_progress(lambda progress: progress.read is True)
        calm.kill_agent()
        calm.shell(
            "cd /sys/bus/virtio/drivers/virtio_console; for d in virtio*; do\n"
            "echo $d >unbind; echo $d >bind; done"
        )
        calm.clear_hook()
        calm.start_agent()
        outcome = running.outcome()
        calm.assert_thawed()
    assert outcome.settled
    assert not outcome.certified
    assert outcome.cause is not Cause.GUEST_RESET
    assert outcome.thawed == (2 if held else 0)


def test_panic_without_pvpanic_looks_like_a_slow_hook(calm: Guest, operator: Operator) -> None:
    calm.slow_hook(30.0)
    running = operator.freeze(first_timeout_s=5.0, probe_timeout_s=5.0, probes=1, thaw_timeout_s=2)
    running.wait_progress(lambda progress: progress.read is True)
    calm.panic()
    step = running.wait_event(EventKind.STEP)
    assert "no answer yet" in step.event.text
    assert running.wait_progress(lambda _: True).phase is Phase.PENDING
    outcome = running.outcome()
    assert (outcome.kind, outcome.cause) == (OutcomeKind.TIMEOUT, None)
    assert evidence(outcome)["port"] == "for"
    assert (outcome.thawed, outcome.settled) == (None, False)
    assert outcome.next is not None
    # What a person does then: a reset ends everything that was frozen.
    calm.reset()
    calm.clear_hook()
    calm.assert_thawed()


def test_panic_with_pvpanic_is_known_at_once(boot: Boot) -> None:
    guest = boot(name="tells", pvpanic=True)
    with Operator(guest) as operator:
        running = in_the_hook(guest, operator)
        guest.panic()
        verdict = running.verdict()
        assert (verdict.kind, verdict.cause) == (OutcomeKind.LOST, Cause.GUEST_PANICKED)
        assert operator.fleet.get(operator.vm.id).run_state is RunState.PANICKED
        outcome = running.outcome()
        assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.GUEST_PANICKED)
        assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, None, False)
        assert (outcome.next or "").endswith("socket:tells --rung reset")
        refused = operator.freeze().outcome()
        assert (refused.kind, refused.refusal) == (OutcomeKind.REFUSED, Refusal.NO_AGENT)
        guest.reset(wait=False)
        guest.resume()
        guest.wait_reset()
        guest.clear_hook()
        guest.assert_thawed()
        assert_certified(operator.freeze().outcome())


@pytest.mark.parametrize("monitor", [True, False], ids=["monitor", "no-monitor"])
@pytest.mark.parametrize("held", [False, True], ids=["in-the-hook", "held"])
def test_qemu_killed(boot: Boot, monitor: bool, held: bool) -> None:
    guest = boot(name="gone", mounts=("a",))
    with Operator(guest, monitor=monitor) as operator:
        if held:
            running = operator.freeze(hold_s=100.0)
            running.wait_event(EventKind.HELD)
        else:
            guest.slow_hook(30.0)
            running = operator.freeze()
            running.wait_event(EventKind.SENT)
        guest.kill_qemu()
        outcome = running.outcome()
        if held and not monitor:
            # It never was verified, so that it can't be broken; but it is not certified either.
            assert (outcome.kind, outcome.certified) == (OutcomeKind.UNVERIFIED, False)
        else:
            kind = OutcomeKind.BROKEN if held else OutcomeKind.LOST
            assert (outcome.kind, outcome.cause) == (kind, Cause.VM_GONE)
        # Nothing is frozen where nothing runs.
        assert (outcome.thawed, outcome.settled) == (0, True)
        assert "then: frostwatch freeze" in (outcome.next or "")
        refused = operator.freeze().outcome()
        assert (refused.kind, refused.refusal) == (OutcomeKind.REFUSED, Refusal.NO_AGENT)


@pytest.mark.parametrize("stays", [True, False], ids=["qemu-stays", "qemu-leaves"])
def test_powered_off_in_the_hook(boot: Boot, stays: bool) -> None:
    guest = boot(name="off", mounts=("a",), no_shutdown=stays)
    with Operator(guest) as operator:
        running = in_the_hook(guest, operator)
        guest.power_off()
        verdict = running.verdict()
        assert verdict.kind is OutcomeKind.LOST
        assert verdict.cause in ((Cause.GUEST_SHUTDOWN,) if stays else (Cause.VM_GONE,))
        outcome = running.outcome()
        assert outcome.kind is OutcomeKind.LOST
        assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)
        assert "then: frostwatch freeze" in (outcome.next or "")
