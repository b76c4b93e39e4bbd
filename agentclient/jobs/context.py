"""The collaborators of a job, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from agentclient.access.guest_access import GuestAccess
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.called_port import CalledPort, hanging_calls
from agentclient.jobs.control import JobControl
from agentclient.jobs.disk_port import DiskPort
from agentclient.jobs.errors import JobRefused
from agentclient.jobs.reporter import JobReporter
from agentclient.journal.writer import Journal
from agentclient.model.events import OnEvent
from agentclient.model.job import JobRefusal
from agentclient.model.vm import Vm

if TYPE_CHECKING:
    from agentclient.model.snapshot import VmState
    from agentclient.operations.manager import OperationManager


class Noted(NamedTuple):
    """A time of the wall clock, which may be set after it.

    Attributes:
        at: the time, as the clock showed it.
        clock_set: by how much it had been set until then.
    """

    at: datetime
    clock_set: timedelta


@dataclass(frozen=True, slots=True)
class JobContext:
    """The collaborators of a job on one VM.

    Attributes:
        vm: the VM as it was when the job was asked for.
        access: the access to the guest.
        operations: freezes and thaws it.
        reporter: receives the job's events.
        control: the operator's instructions meanwhile.
        on_event: is called with each event of the job's freeze; None for nobody.
        wall: returns the wall clock's time.
        journal: the record of all windows; None where none is kept.
        read_only: why nothing may be done to this VM, as a clause; None if something may.
        state: returns what is known of the VM now; None if nobody keeps that.
        clock_set: returns by how much the wall clock was set since some moment.
    """

    vm: Vm
    access: GuestAccess
    operations: OperationManager
    reporter: JobReporter
    control: JobControl
    wall: Callable[[], datetime]
    on_event: OnEvent | None = None
    journal: Journal | None = None
    read_only: str | None = None
    state: Callable[[], VmState] | None = None
    clock_set: Callable[[], timedelta] = timedelta

    def note_time(self) -> Noted:
        """Return the time now, to be told later."""
        return Noted(self.wall(), self.clock_set())

    def time_of(self, noted: Noted | None) -> datetime | None:
        """Return a time by the wall clock as it is set now; None for None."""
        return None if noted is None else noted.at + (self.clock_set() - noted.clock_set)

    @property
    def agent_version(self) -> str | None:
        """The version of the guest's agent, as far as that was asked."""
        return self.state().agent.version if self.state is not None else None

    def port(self) -> DiskPort:
        """Return what reaches the VM's disks.

        Raises:
            JobRefused: nothing does (see `block`).
        """
        calls = self.access.disk_calls
        return self.block() if calls is None else CalledPort(calls, hanging_calls(self.access))

    def called(self) -> CalledPort:
        """Return what reaches the disks of a VM whose manager has to copy them.

        Raises:
            JobRefused: its manager can't be asked.
        """
        calls = self.access.disk_calls
        if calls is None:
            why = "its manager's calls don't reach its disks"
            raise JobRefused(JobRefusal.MANAGED, why, "use its manager's own tools")
        return CalledPort(calls, hanging_calls(self.access))

    def block(self) -> BlockLayer:
        """Return the VM's block layer.

        Raises:
            JobRefused: it has no monitor, or the monitor is not proven to be the VM's (P10).
        """
        monitor = self.access.monitor
        if monitor is None:
            why = self.vm.no_monitor or "none is known"
            named = "name its QMP socket: --vm name=…,agent=…,monitor=PATH"
            raise JobRefused(
                JobRefusal.NO_MONITOR,
                f"its disks are reached through a monitor of its own: {why}",
                None if self.vm.by_call else named,
            )
        why_not = self.access.unproven()
        if why_not is not None:
            raise JobRefused(JobRefusal.NO_MONITOR, f"the monitor may be another VM's: {why_not}")
        return BlockLayer(monitor)
