"""Runs copies without a guest: a freeze that does as told, and the block layer of `FakeQemu`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from agentclient.access.guest_access import GuestAccess
from agentclient.fleet.store import Fleet
from agentclient.jobs.context import JobContext
from agentclient.jobs.control import JobControl
from agentclient.jobs.reporter import JobReporter
from agentclient.model.events import Event, EventKind, OnEvent
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest
from agentclient.model.states import Level, OutcomeKind, Refusal
from agentclient.model.vm import MonitorChannel, Process, Vm, VmId
from agentclient.operations.manager import OperationManager
from tests.unit.fake_qemu import FakeQemu

WEB = VmId("qemu", "web1")
VERIFIED = Outcome(OutcomeKind.VERIFIED, "frozen: 2 file systems", frozen=2)
CERTIFIED = VERIFIED._replace(certified=True, settled=True, thawed=2)
BROKEN = VERIFIED._replace(kind=OutcomeKind.BROKEN, reason="the agent has gone", settled=True)
NO_AGENT = Outcome(OutcomeKind.REFUSED, "no agent runs", refusal=Refusal.NO_AGENT, settled=True)


class FakeFreeze:
    """A freeze of which a test says what comes of it.

    Args:
        verdict: when its window opens; None if it does not open.
        ends: how it ends.
        pending: it is not answered before it is cancelled.
    """

    def __init__(self, verdict: Outcome | None, ends: Outcome, *, pending: bool = False) -> None:
        self._ends = ends
        self._pending = pending
        self._over = threading.Event()
        self.verdict = verdict
        self.cancelled = False
        self.hold_ends_at: float | None = time.monotonic() + 100
        self.on_event: OnEvent = lambda _: None
        self.thawed_after: list[str] = []
        self.context = SimpleNamespace(entry=None)
        if verdict is None and not pending:
            self._over.set()

    @property
    def done(self) -> bool:
        return self._over.is_set()

    def wait_opened(self, timeout_s: float | None = None) -> bool:
        if not self._pending:
            return True
        return self._over.wait(timeout_s)

    def end_hold(self) -> None:
        self._over.set()

    def cancel(self) -> None:
        self.cancelled = True
        if not self._pending:
            self._over.set()

    def break_window(self) -> None:
        """End the window by itself, as when the hold is over."""
        self._over.set()

    def thaw_is_sent(self) -> None:
        """Tell that the thaw was sent: the guest may write, long before it is acknowledged."""
        text, kind = "thaw sent", EventKind.THAW_SENT
        self.on_event(Event(WEB, datetime.now(UTC), kind, Level.INFO, text, None))

    def wait(self, timeout_s: float | None = None) -> Outcome | None:
        return self._ends if self._over.wait(timeout_s) else None


class _Access:
    process: Process | None = None
    disk_calls: Any = None

    def __init__(self, qemu: FakeQemu, *, gone: bool | None = None) -> None:
        self.monitor = qemu
        self.gone = gone
        self.why_unproven: str | None = None

    def unproven(self) -> str | None:
        return self.why_unproven

    def is_gone(self) -> bool | None:
        return self.gone


class _Freezer:
    def __init__(self, freeze: Callable[..., FakeFreeze]) -> None:
        self.freeze = freeze


class CopyHarness:
    """A VM whose copies are tried: what it was told, and what comes of its freezes.

    Attributes:
        qemu: its QEMU.
        events: what copies have told.
        freeze: makes the freeze that comes next.
    """

    def __init__(self, **of_vm: Any) -> None:
        self.qemu = FakeQemu()
        self.vm = Vm(WEB, monitor=MonitorChannel(Path("/run/web1.qmp")), **of_vm)
        self.fleet = Fleet(wall=lambda: datetime.now(UTC))
        self.fleet.set_vms("qemu", [self.vm])
        self.access = _Access(self.qemu)
        self.events: list[Event] = []
        self.freezes: list[FakeFreeze] = []
        self.requests: list[FreezeRequest] = []
        self.freeze: Callable[[], FakeFreeze] = lambda: FakeFreeze(VERIFIED, CERTIFIED)
        self.control = JobControl()

    def context(self, **changes: Any) -> JobContext:
        """Return the context of a copy."""
        values: dict[str, Any] = {
            "vm": self.vm,
            "access": cast(GuestAccess, self.access),
            "operations": cast(OperationManager, _Freezer(self._begin_freeze)),
            "reporter": JobReporter(self.fleet, self.vm, self.events.append),
            "control": self.control,
            "wall": self.fleet.wall,
            "on_event": self.events.append,
            "clock_set": lambda: self.fleet.clock_set,
        }
        return JobContext(**(values | changes))

    def _begin_freeze(self, _: Vm, request: FreezeRequest, on_event: OnEvent) -> FakeFreeze:
        self.requests.append(request)
        freeze = self.freeze()
        freeze.on_event = on_event
        self.freezes.append(freeze)
        return freeze

    @property
    def stages(self) -> list[str]:
        """The stages that were told."""
        told = [getattr(event.details, "stage", None) for event in self.events]
        return [one.value for one in told if one is not None]
