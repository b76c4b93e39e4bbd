"""How a freeze ends that its own machine does not end: after a bug, or left to its holder."""

from __future__ import annotations

import time

from agentclient.access.host.process import process_of
from agentclient.freeze.port_watch import PortWatch
from agentclient.freeze.thaw_machine import ThawMachine
from agentclient.freeze.thaw_plan import ThawPlan, ThawReport
from agentclient.holder.guest_standby import GuestStandby
from agentclient.model.next_command import thaw_command
from agentclient.model.states import Stuck
from agentclient.model.vm import Vm
from agentclient.operations.context import OperationContext
from agentclient.operations.driver import Driver
from agentclient.operations.preflight import Prepared


def keep(context: OperationContext, standby: GuestStandby) -> int | None:
    """Leave a window to the holder, and write that down; return its pid, None if it has refused."""
    holder = standby.keep()
    process = process_of(holder) if holder is not None else None
    if context.entry is not None and process is not None:
        context.entry.keep(process)
    return holder


def thaw_after_a_bug(
    context: OperationContext, driver: Driver, prepared: Prepared, timeout_s: float
) -> ThawReport:
    """Thaw after a bug of ours has ended the freeze machine.

    Args:
        context: the context of its freeze.
        driver: drives the guest.
        prepared: what the freeze began with.
        timeout_s: the thaw's bound, in seconds.
    """
    now = time.monotonic()
    plan = ThawPlan(
        str(context.access.vm.id),
        timeout_s,
        connected=driver.connected,
        command=thaw_command(context.access.vm, foreign=False),
    )
    machine = ThawMachine(plan, PortWatch(prepared.baseline, now), prepared.session.ticket, now)
    return driver.thaw(machine)


def unsettled(vm: Vm, reason: str) -> ThawReport:
    """Return the report of a thaw that nobody knows the end of."""
    command = thaw_command(vm, foreign=False)
    return ThawReport(None, None, None, False, reason, command, stuck=Stuck.SILENT)
