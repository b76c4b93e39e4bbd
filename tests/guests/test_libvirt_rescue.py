"""The rescue of a guest under libvirt: what can be pressed through it, and what makes no sense."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentclient.access.qmp_session import MonitorError
from agentclient.model.rescue import Means, Rung, RungResult, Step
from agentclient.model.states import FreezeState
from agentclient.model.vm import Vm
from tests.guests.freezing import Bounds
from tests.guests.lab import PATIENCE_S, DomainGuest, start_bare
from tests.guests.lab.shell import wait_until
from tests.guests.libvirt_operator import DomainOperator

pytestmark = pytest.mark.soak

ALLOWED = 1
BY_KEY = Step(Rung.SYSRQ, Means.KEY)
QUICK: Bounds = {"before_s": 0.6, "after_s": 1.5, "agent_s": 1.0}


@pytest.fixture
def operator(calm_domain: DomainGuest) -> Iterator[DomainOperator]:
    """Somebody with frostwatch and the module's guest, which others have frozen."""
    calm_domain.daemon.virsh("domfsfreeze", calm_domain.name)
    with DomainOperator(calm_domain) as somebody:
        yield somebody


def kill_agent(guest: DomainGuest, operator: DomainOperator) -> None:
    guest.kill_agent()
    wait_until(lambda: operator.look().port_open is False, PATIENCE_S, "the port to be closed")


def test_sysrq_by_key_is_seen_by_its_writes(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    kill_agent(calm_domain, operator)
    calm_domain.shell(f"echo {ALLOWED} >/proc/sys/kernel/sysrq")
    outcome = operator.rescue(BY_KEY, **QUICK).rescue_outcome()
    assert (outcome.found, outcome.ok) == (RungResult.WRITES, True), outcome.reason
    calm_domain.assert_thawed()
    calm_domain.start_agent()
    assert operator.rescue(Rung.WAIT).rescue_outcome().thawed == 0, "the agent's flag is cleared"
    tainted = calm_domain.daemon.virsh("dominfo", calm_domain.name)
    assert "custom-monitor" not in tainted
    assert "monitor" not in "".join(one for one in tainted.splitlines() if "taint" in one.lower())


def test_a_reset_leaves_nothing_frozen(calm_domain: DomainGuest, operator: DomainOperator) -> None:
    kill_agent(calm_domain, operator)
    outcome = operator.rescue(Step(Rung.RESET, name=operator.vm.name)).rescue_outcome(
        2 * PATIENCE_S
    )
    assert (outcome.found, outcome.state) == (RungResult.RESET, FreezeState.THAWED), outcome.reason
    assert "its port" in outcome.reason
    calm_domain.wait_reset()
    calm_domain.assert_thawed()


def test_another_start_of_a_domain_is_never_pressed_at(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    libvirtd = calm_domain.daemon
    start_bare(libvirtd, "twice", define=True)

    def listed() -> list[Vm]:
        return [vm for vm in operator.backend.list_vms() if vm.title == "twice"]

    wait_until(lambda: bool(listed()), PATIENCE_S, "it to be listed")
    buttons = operator.accesses.of(listed()[0]).buttons
    assert buttons is not None
    libvirtd.virsh("destroy", "twice")
    libvirtd.virsh("start", "twice", "--paused")
    with pytest.raises(MonitorError, match="started anew"):
        buttons.reset()
    libvirtd.virsh("destroy", "twice")
    libvirtd.virsh("undefine", "twice")
