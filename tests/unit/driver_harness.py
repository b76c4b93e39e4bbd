"""A driver of a conversation with a virtual guest."""

from __future__ import annotations

import pytest

from agentclient.freeze.effects import Send
from agentclient.freeze.machine import MachineInputs
from agentclient.holder import standby
from agentclient.holder.standby import Standby
from agentclient.operations import driver
from agentclient.operations.driver import (
    Driver,
)
from agentclient.protocol.qga_commands import THAW
from tests.unit.virtual_guest import VirtualGuest
from tests.unit.virtual_holder import VirtualHolder
from tests.unit.virtual_host import VirtualAccess, VirtualHost, VirtualReporter

FAR = 1e9
SLOWLY = 5.0


class DriverHarness:
    """A driver of a conversation with a virtual guest."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, monitor: bool = True) -> None:
        self.host = VirtualHost(VirtualGuest())
        self.host.live_in(monkeypatch, driver, standby)
        self.reporter = VirtualReporter()
        self.access = VirtualAccess(self.host, monitor=monitor)
        self.session = self.host.session()
        self.began_at = self.host.now
        self.before_thaw: list[int] = []
        self.driver = self.drive()

    def drive(self, keeps: Standby | None = None) -> Driver:
        return Driver(
            self.access,
            self.session,
            self.host.control,
            self.reporter,
            keeps,
            before_thaw=lambda: self.before_thaw.append(self.host.asked(THAW)),
        )

    def guarded(self) -> VirtualHolder:
        """Have a holder pass on what is said, and a freeze sent."""
        holder = VirtualHolder(self.host)
        keeps = Standby(holder, self.access.vm, 60.0, None, self.reporter.event)
        keeps.guard(self.session)
        keeps.intend(bound_s=100.0, hold_s=10.0)
        keeps.sent = True
        self.driver = self.drive(keeps)
        return holder

    def wait(
        self, for_s: float = FAR, every_s: float = SLOWLY, *, look_now: bool = False
    ) -> MachineInputs:
        return self.driver.wait(self.host.now + for_s, every_s, look_now=look_now)

    def ask(self, command: str) -> int:
        ticket = self.session.ticket()
        self.driver.perform([Send(ticket, command)])
        return ticket

    def breaks(self) -> MachineInputs:
        self.host.cut()
        return self.wait()

    @property
    def took_s(self) -> float:
        return self.host.now - self.began_at
