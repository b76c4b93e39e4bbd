"""How a guest under libvirt ends, or begins anew, under a freeze: rare, and told rightly."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from agentclient.model.events import EventKind
from agentclient.model.states import Cause, OutcomeKind, Stuck
from tests.guests.freezing import in_the_hook
from tests.guests.lab import PATIENCE_S, DomainGuest, Libvirtd, boot_domain
from tests.guests.lab.shell import wait_until
from tests.guests.libvirt_operator import DomainOperator

pytestmark = pytest.mark.soak


@pytest.fixture
def operator(calm_domain: DomainGuest) -> Iterator[DomainOperator]:
    """Somebody with frostwatch and the module's guest."""
    with DomainOperator(calm_domain) as somebody:
        yield somebody


def test_a_qemu_that_is_killed_has_not_answered(libvirtd: Libvirtd) -> None:
    """Before libvirt 11.2 it is error 1, as an agent's own error is."""
    with boot_domain(libvirtd, name="killed", mounts=("a",)) as guest, DomainOperator(guest) as one:
        running = in_the_hook(guest, one, 60.0)
        guest.kill_qemu()
        outcome = running.outcome()
        assert (outcome.kind, outcome.cause, outcome.settled) == (
            OutcomeKind.LOST,
            Cause.VM_GONE,
            True,
        ), running.texts
        assert not running.find(EventKind.REPLY), running.texts


def test_panicked_in_the_hook_it_is_lost_and_has_to_be_reset(libvirtd: Libvirtd) -> None:
    with (
        boot_domain(libvirtd, name="panics", mounts=("a",), pvpanic=True) as guest,
        DomainOperator(guest) as one,
    ):
        running = in_the_hook(guest, one, 60.0)
        guest.panic()
        verdict = running.verdict()
        assert verdict.kind is OutcomeKind.LOST
        outcome = running.outcome()
        assert (outcome.cause, outcome.stuck, outcome.settled) == (
            Cause.GUEST_PANICKED,
            Stuck.PANICKED,
            False,
        ), running.texts
        assert "reset" in (outcome.next or "")


def test_reset_while_held_the_window_is_broken(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    running = operator.freeze(hold_s=100.0)
    running.wait_event(EventKind.HELD)
    calm_domain.daemon.virsh("reset", calm_domain.name)
    outcome = running.outcome()
    assert (outcome.kind, outcome.certified, outcome.settled) == (
        OutcomeKind.BROKEN,
        False,
        True,
    ), running.texts
    assert running.find(EventKind.PORT, "the guest was reset"), running.texts
    calm_domain.wait_reset()
    calm_domain.assert_thawed()


def test_a_daemon_that_hangs_under_a_pending_freeze_delays_its_answer(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    running = in_the_hook(calm_domain, operator)
    calm_domain.daemon.kill(signal.SIGSTOP)
    try:
        calm_domain.release_hook()
        wait_until(lambda: calm_domain.frozen_mounts() == {"a", "b"}, PATIENCE_S, "the freeze")
    finally:
        calm_domain.daemon.kill(signal.SIGCONT)
    outcome = running.outcome()
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True), running.texts
    calm_domain.assert_thawed()


def test_shut_down_in_the_hook_nothing_is_frozen_any_more(libvirtd: Libvirtd) -> None:
    with boot_domain(libvirtd, name="off", mounts=("a",)) as guest, DomainOperator(guest) as one:
        running = in_the_hook(guest, one, 60.0)
        guest.power_off()
        outcome = running.outcome()
        assert (outcome.kind, outcome.settled) == (OutcomeKind.LOST, True), running.texts
        assert outcome.cause in (Cause.VM_GONE, Cause.GUEST_SHUTDOWN)
