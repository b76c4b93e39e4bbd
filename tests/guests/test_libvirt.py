"""A guest under libvirt: frozen, held, thawed; and whatever befalls its agent, or itself."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from agentclient.freeze.judgement import CAUSE_WITHIN_S
from agentclient.model.events import EventKind
from agentclient.model.rescue import Rung, RungResult
from agentclient.model.states import Cause, OutcomeKind, Refusal, RunState, Stuck
from tests.guests.freezing import Running, evidence, in_the_hook, value
from tests.guests.lab import PATIENCE_S, DomainGuest
from tests.guests.lab.domain import PORT_TOLD_S
from tests.guests.lab.shell import wait_until
from tests.guests.libvirt_operator import DomainOperator, restore, save

AT_ONCE, LATER, NEVER = 0.0, 2.0, None
TRIES = 5
LEFT_TO_HOLDER = "the holder, after we had left the guest to it"
# What calls can show. Whether the agent has read a command is not part of it.
WHOLE = {
    "reply": "for",
    "coverage": "for",
    "status": "for",
    "port": "for",
    "read": "unknown",
    "status-at-thaw": "for",
    "writes": "unknown",
    "thaw": "for",
}


@pytest.fixture
def operator(calm_domain: DomainGuest) -> Iterator[DomainOperator]:
    """Somebody with frostwatch and the module's guest."""
    with DomainOperator(calm_domain) as somebody:
        yield somebody


def assert_certified(running: Running, frozen: int = 2) -> None:
    outcome = running.outcome()
    assert (outcome.kind, outcome.frozen, outcome.thawed) == (OutcomeKind.VERIFIED, frozen, frozen)
    assert evidence(outcome) == WHOLE, running.texts
    assert outcome.certified
    assert outcome.settled


def test_it_is_frozen_held_thawed_and_certified(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    assert calm_domain.frozen_mounts() == {"a", "b"}
    running.operation.cancel()
    outcome = running.outcome()
    assert (outcome.frozen, outcome.thawed, outcome.certified) == (2, 2, True)
    assert evidence(outcome) == WHOLE
    calm_domain.assert_thawed()
    assert calm_domain.hook_log()[-2:] == ["freeze", "thaw"]


def test_a_slow_freeze_is_waited_for_by_one_call(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    running = in_the_hook(calm_domain, operator, 7.0)  # longer than libvirt's own sync waits
    assert_certified(running)


def test_some_mount_points_alone(calm_domain: DomainGuest, operator: DomainOperator) -> None:
    running = operator.freeze("/mnt/a", hold_s=100.0)
    running.wait_event(EventKind.HELD)
    assert calm_domain.frozen_mounts() == {"a"}
    running.operation.cancel()
    assert_certified(running, frozen=1)


@pytest.mark.parametrize("respawn", [AT_ONCE, LATER, NEVER], ids=["at-once", "later", "never"])
def test_killed_in_the_hook_it_is_lost(
    calm_domain: DomainGuest, operator: DomainOperator, respawn: float | None
) -> None:
    calm_domain.set_respawn(respawn)
    thaw_s = 2.0 if respawn is NEVER else PATIENCE_S
    running = in_the_hook(calm_domain, operator, 60.0, thaw_timeout_s=thaw_s)
    calm_domain.kill_agent()
    verdict = running.verdict()
    assert verdict.kind is OutcomeKind.LOST
    assert verdict.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
    outcome = running.outcome()
    assert (outcome.kind, outcome.frozen) == (OutcomeKind.LOST, None)
    if respawn is NEVER:
        assert (outcome.thawed, outcome.settled) == (None, False)
        assert "restart the agent" in (outcome.next or "")
        calm_domain.start_agent()
        running.wait_event(EventKind.NOTE, LEFT_TO_HOLDER)
    else:
        assert (outcome.thawed, outcome.settled) == (0, True)
    calm_domain.assert_thawed()


@pytest.mark.soak
def test_whose_restart_libvirt_has_missed_is_restarted_once_more(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    """An agent that ends within a second of its start, and is started again at once."""
    calm_domain.set_respawn(AT_ONCE)
    for _ in range(TRIES):
        calm_domain.kill_agent()
        time.sleep(PORT_TOLD_S)
        running = in_the_hook(calm_domain, operator, 60.0, thaw_timeout_s=3.0)
        calm_domain.kill_agent()
        outcome = running.outcome()
        assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.AGENT_RESTARTED)
        if not outcome.settled:
            break
    else:
        pytest.skip("this machine is too slow: libvirt has missed no restart")
    assert (outcome.stuck, outcome.thawed) == (Stuck.SILENT, None)
    assert (outcome.next or "").startswith("restart the agent in the guest, for its holder")
    time.sleep(PORT_TOLD_S)
    calm_domain.kill_agent()
    running.wait_event(EventKind.NOTE, f"{LEFT_TO_HOLDER}: nothing to thaw")
    calm_domain.assert_thawed()


def test_terminated_in_the_hook_its_success_is_partial(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    calm_domain.set_respawn(AT_ONCE)
    running = in_the_hook(calm_domain, operator)
    calm_domain.kill_agent("TERM")
    calm_domain.release_hook()
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.PARTIAL, running.texts
    assert (outcome.frozen, outcome.certified, outcome.settled) == (2, False, True)
    assert evidence(outcome)["port"] == "against"
    calm_domain.assert_thawed()


def test_killed_while_held_the_window_is_at_risk_and_settled(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    calm_domain.set_respawn(AT_ONCE)
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    calm_domain.kill_agent()
    running.wait_event(EventKind.AT_RISK)
    running.operation.end_hold()
    outcome = running.outcome()
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True)
    assert not outcome.certified
    assert "while the freeze was held" in str(value(outcome, "port"))
    calm_domain.assert_thawed()


def test_reset_in_the_hook(calm_domain: DomainGuest, operator: DomainOperator) -> None:
    running = in_the_hook(calm_domain, operator, 60.0)
    calm_domain.daemon.virsh("reset", calm_domain.name)
    verdict = running.wait_event(EventKind.VERDICT)
    outcome = running.outcome()
    assert outcome.kind is OutcomeKind.LOST, running.texts
    # The agent's end is told at once, and why a third of a second later, or more on a busy machine.
    told = running.wait_event(EventKind.PORT, "the guest was reset")
    soon = told.at < verdict.at + CAUSE_WITHIN_S
    assert (outcome.cause is Cause.GUEST_RESET) is soon, running.texts
    assert outcome.settled
    calm_domain.wait_reset()
    calm_domain.assert_thawed()


def test_paused_in_the_hook_it_is_blocked_and_goes_on(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    running = in_the_hook(calm_domain, operator)
    calm_domain.daemon.virsh("suspend", calm_domain.name)
    running.wait_event(EventKind.BLOCKED)
    assert operator.look().run_state is RunState.PAUSED
    calm_domain.daemon.virsh("resume", calm_domain.name)
    calm_domain.release_hook()
    assert_certified(running)


def test_paused_while_held_it_is_thawed_once_it_goes_on(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    calm_domain.daemon.virsh("suspend", calm_domain.name)
    running.operation.end_hold()
    wait_until(lambda: bool(running.find(EventKind.THAW_SENT)), PATIENCE_S, "the thaw")
    calm_domain.daemon.virsh("resume", calm_domain.name)
    outcome = running.outcome()
    assert (outcome.thawed, outcome.settled) == (2, True)
    calm_domain.assert_thawed()


def test_paused_before_it_is_refused(calm_domain: DomainGuest, operator: DomainOperator) -> None:
    hooks = calm_domain.hook_log()
    calm_domain.daemon.virsh("suspend", calm_domain.name)
    outcome = operator.freeze().outcome()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.PAUSED)
    calm_domain.daemon.virsh("resume", calm_domain.name)
    assert calm_domain.hook_log() == hooks


def test_without_an_agent_it_is_refused(calm_domain: DomainGuest, operator: DomainOperator) -> None:
    calm_domain.kill_agent()
    wait_until(lambda: operator.look().port_open is False, PATIENCE_S, "the port to be closed")
    outcome = operator.freeze().outcome()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.NO_AGENT)


def test_frozen_by_another_client_it_is_refused_and_stays_frozen(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    calm_domain.daemon.virsh("domfsfreeze", calm_domain.name)
    outcome = operator.freeze().outcome()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.ALREADY_FROZEN)
    assert calm_domain.frozen_mounts() == {"a", "b"}
    calm_domain.daemon.virsh("domfsthaw", calm_domain.name)


def test_its_ladder_says_what_libvirt_can_do_and_a_thaw_thaws(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    calm_domain.daemon.virsh("domfsfreeze", calm_domain.name)
    found = operator.operations.ladder(operator.vm).result(PATIENCE_S)
    impossible = {one.title: one.why_not for one in found if not one.possible}
    assert impossible == {
        "connect": (
            "its hypervisor holds the agent's channel all the time, so that a connection"
            " releases nothing"
        ),
        "sysrq by serial": "libvirt sends no break to a serial port",
    }
    outcome = operator.rescue(Rung.CONNECT).rescue_outcome()
    assert outcome.found is RungResult.REFUSED
    assert operator.rescue(Rung.THAW).rescue_outcome().thawed == 2
    calm_domain.assert_thawed()


def test_saved_while_it_is_held_it_is_frozen_still_where_it_goes_on(
    calm_domain: DomainGuest,
) -> None:
    """Its domain is transient: while it is saved, libvirt has nothing to be asked about."""
    with DomainOperator(calm_domain) as operator:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        place = save(calm_domain)
        outcome = running.outcome()
        assert (outcome.kind, outcome.cause, outcome.stuck, outcome.settled) == (
            OutcomeKind.BROKEN,
            Cause.MIGRATED,
            Stuck.MIGRATED,
            False,
        ), running.texts
    restore(calm_domain, place)
    assert calm_domain.frozen_mounts() == {"a", "b"}
    with DomainOperator(calm_domain) as operator:
        assert operator.vm.incoming, "it was started with a guest that had run before"
        thaw = operator.thaw(foreign=True).thaw_outcome()
        assert (thaw.ok, thaw.thawed) == (True, 2)
    calm_domain.assert_thawed()
