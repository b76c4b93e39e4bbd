"""What happens to a window behind the agent's back: thawed, written to, swapped through."""

from __future__ import annotations

from agentclient.model.events import EventKind
from agentclient.model.states import Level, OutcomeKind
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator, evidence, value
from tests.guests.lab import Guest


def test_thawed_written_and_frozen_again_inside(calm: Guest, operator: Operator) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    calm.thaw_inside()
    calm.shell("echo written >/mnt/a/in-between; sync")
    calm.freeze_inside("b")
    calm.freeze_inside("a")
    told = running.wait_event(EventKind.CONTRADICTION)
    assert told.event.level is Level.ERROR
    assert "bytes were written while the freeze is held" in told.event.text
    assert calm.frozen_mounts() == {"a", "b"}
    running.operation.end_hold()
    outcome = running.outcome()
    # The agent says 2 = 2: only the host has seen it.
    assert (outcome.kind, outcome.frozen, outcome.thawed) == (OutcomeKind.BROKEN, 2, 2)
    found = evidence(outcome)
    assert (found["thaw"], found["status-at-thaw"], found["port"]) == ("for", "for", "for")
    assert found["writes"] == "against"
    assert int(value(outcome, "writes") or 0) > 0
    assert not outcome.certified
    assert outcome.settled
    assert [one.kind for one in running.revisions()] == [OutcomeKind.BROKEN]
    running.assert_order(
        EventKind.VERDICT,
        EventKind.HELD,
        EventKind.CONTRADICTION,
        EventKind.REVISED,
        EventKind.THAW_SENT,
        EventKind.OUTCOME,
    )
    calm.assert_thawed()


def test_thawed_inside_the_counts_differ(calm: Guest, operator: Operator) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    assert calm.thaw_inside("a") == ["a"]
    running.operation.end_hold()
    outcome = running.outcome()
    assert (outcome.kind, outcome.frozen, outcome.thawed) == (OutcomeKind.BROKEN, 2, 1)
    assert evidence(outcome)["thaw"] == "against"
    assert value(outcome, "thaw") == "1 of 2"
    assert not outcome.certified
    assert outcome.settled
    calm.assert_thawed()


def test_a_guest_that_swaps_writes_rightly_and_is_told(boot: Boot) -> None:
    guest = boot(name="swaps", swap=True)
    guest.shell("mkdir -p /run/big; mount -t tmpfs -o size=200m big /run/big")
    with Operator(guest) as operator:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        free_kb = int(guest.shell("awk '/MemAvailable/ {print $2}' /proc/meminfo"))
        amount = free_kb // 1024 + 10
        guest.shell(f"dd if=/dev/urandom of=/run/big/file bs=1M count={amount} 2>&1")
        told = running.wait_event(EventKind.CONTRADICTION)
        assert "swap" in told.event.text, "it says who writes rightly"
        assert guest.frozen_mounts() == {"a", "b"}, "they never were anything but frozen"
        running.operation.end_hold()
        outcome = running.outcome()
    assert (outcome.kind, outcome.frozen, outcome.thawed) == (OutcomeKind.BROKEN, 2, 2)
    assert evidence(outcome)["writes"] == "against"
    assert "swap" in outcome.reason
    assert not outcome.certified
    guest.assert_thawed()
