"""A whole freeze of a virtual guest: the operation, its driver, its holder and its operator."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentclient.freeze.coverage import Coverage
from agentclient.holder import standby
from agentclient.journal.entry import Entry
from agentclient.model.events import EventKind
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.operations import driver, freeze, freeze_end, operation, thaw
from agentclient.operations.context import OperationContext
from agentclient.operations.freeze import FreezeOperation
from agentclient.operations.preflight import Prepared
from tests.unit.virtual_freeze import FILE_SYSTEMS
from tests.unit.virtual_guest import VirtualGuest
from tests.unit.virtual_holder import VirtualHolder
from tests.unit.virtual_host import VirtualAccess, VirtualHost, VirtualReporter


class FreezeHarness:
    """A guest, its holder, and a freeze of it that has not begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, guest: VirtualGuest | None = None) -> None:
        self._patch = monkeypatch
        self.host = VirtualHost(guest)
        self.host.live_in(monkeypatch, driver, operation, freeze, freeze_end, thaw, standby)
        self.guest = self.host.guest
        self.holder = VirtualHolder(self.host)
        self.reporter = VirtualReporter()
        self.access = VirtualAccess(self.host)
        self.hold_s = 5.0
        self.first_s, self.probes, self.thaw_s = 600.0, 5, 180.0
        self.remote_hold = False
        self.entry: Entry | None = None
        self.began_at = self.host.now

    def run(self, *, keep: bool = False) -> Outcome:
        session = self.host.session()
        coverage = Coverage(FILE_SYSTEMS)
        prepared = Prepared(session, coverage, self.host.now, self.host.view())
        self._patch.setattr(FreezeOperation, "_prepare", lambda _: prepared)
        schedule = Schedule(
            first_timeout_s=self.first_s,
            probe_timeout_s=self.first_s,
            probes=self.probes,
            hold_s=self.hold_s,
            thaw_timeout_s=self.thaw_s,
        )
        request = FreezeRequest(schedule=schedule, keep=keep, remote_hold=self.remote_hold)
        self.operation = FreezeOperation(self.context(), request)
        outcome = self.operation.run()
        assert session.fileno() == -1, "the channel is closed in the end"
        return outcome

    def context(self) -> OperationContext:
        """Return what the freeze works with."""
        vm, access = self.access.vm, self.access
        return OperationContext(
            vm, access, self.reporter, self.host.control, self.holder, self.entry
        )

    def when_held(self, seconds: float, do: Callable[[], object]) -> None:
        """Do something so long after the guest was frozen; it is frozen at once."""
        self.host.after(seconds, lambda: self._held(do))

    def _held(self, do: Callable[[], object]) -> None:
        assert self.guest.frozen, "it is held by then"
        do()

    @property
    def took_s(self) -> float:
        return self.host.now - self.began_at

    def at(self, kind: EventKind) -> int:
        return self.reporter.kinds().index(kind)
