"""An armed guest of a holder in memory: its guest, the console's end, its monitor and the clock."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, cast

import pytest

from agentclient.access.multiplexer import Multiplexer
from agentclient.access.stream import ConnectFailed, ConnectProblem, UnixChannel
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder import armed_guest, stream_guest
from agentclient.holder.armed_guest import ArmedGuest, HolderServices
from agentclient.holder.stream_guest import StreamGuest
from agentclient.model.snapshot import MonitorView
from tests.unit.fake_sockets import FakeSelector, FakeSocket
from tests.unit.fakes import Clock
from tests.unit.virtual_guest import VirtualGuest

FREEZE_LINE = b'{"execute": "guest-fsfreeze-freeze", "id": "x.1"}\n'
STEP_S = 0.05


class FakeMonitor:
    """Stands in for the monitor of an armed guest."""

    def __init__(
        self, harness: ArmedGuestHarness, endpoint: Any, channel: Any, process: object
    ) -> None:
        self.harness = harness
        self.path, self.peer = endpoint.path, endpoint.peer
        self.channel = channel
        self.process = process

    def begin(self, *, full: bool) -> object:
        assert full
        if self.harness.monitor_refusal is not None:
            raise self.harness.monitor_refusal
        return None if self.harness.monitor_busy else self

    def unreachable(self, error: Exception) -> MonitorView:
        return MonitorView(problem=f"monitor: {error}")


class FakeEndpoint:
    """Stands in for the agent's socket, and for the monitor's."""

    def __init__(self, harness: ArmedGuestHarness, path: object, peer: object) -> None:
        self.harness, self.path, self.peer = harness, path, peer

    def connect(self) -> UnixChannel:
        self.harness.connects.append(self.harness.clock.now)
        if self.harness.refusal is not None:
            raise self.harness.refusal
        self.harness.socket = FakeSocket()
        return UnixChannel(self.harness.socket.real)


class ArmedGuestHarness:
    """One armed guest with all that it needs.

    Attributes:
        socket: the connection to the guest.
        gone: what is known of the VM's process.
        view: what the monitor shows.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **body: object) -> None:
        self.clock = Clock()
        self.guest = VirtualGuest(now=self.clock.now)
        self.selector = FakeSelector()
        self.socket, self.console = FakeSocket(), FakeSocket()
        self.told_broken: list[ArmedGuest] = []
        self.reports: list[ThawReport] = []
        self.connects: list[float] = []
        self.refusal: ConnectFailed | None = None
        self.monitor_refusal: ConnectFailed | None = None
        self.monitor_busy = False
        self.monitor: FakeMonitor | None = None
        self.view: MonitorView | None = None
        self.looks: list[float] = []
        self.gone: bool | None = None
        self._passed = 0
        self._of = self.socket
        for module in (armed_guest, stream_guest):
            monkeypatch.setattr(module, "time", self.clock)
        monkeypatch.setattr(
            stream_guest, "UnixEndpoint", lambda path, peer: FakeEndpoint(self, path, peer)
        )
        monkeypatch.setattr(stream_guest, "Monitor", self._make_monitor)
        monkeypatch.setattr(stream_guest, "is_gone", lambda _: self.gone)
        services = HolderServices(
            self.selector.real,
            cast(Multiplexer, self),
            self.told_broken.append,
            lambda _, report: self.reports.append(report),
        )
        said = {"key": "a#1", "vm": "db1", "thaw_s": 60.0, "command": "thaw db1", "agent": "/agent"}
        self.armed_guest = StreamGuest(
            {**said, **body}, self.socket.real, self.console.real, services
        )

    def _make_monitor(self, endpoint: Any, channel: object, *, process: object) -> FakeMonitor:
        self.monitor = FakeMonitor(self, endpoint, channel, process)
        return self.monitor

    # A multiplexer, as far as the armed guest uses it.
    def begin(
        self, exchange: object, done: Callable[[MonitorView], None], _: Callable[[Any], None]
    ) -> None:
        assert exchange is self.monitor
        self.looks.append(self.clock.now)
        done(self.view or self.guest.view()._replace(client=not self.socket.closed))

    @property
    def report(self) -> ThawReport:
        (report,) = self.reports
        return report

    @property
    def commands(self) -> bytes:
        """What the guest was sent on the connection that there is now."""
        return self.socket.taken

    def frozen(self, *, bound_s: float = 100.0, hold_s: float = 10.0) -> None:
        """Let the console intend and send a freeze, and the guest answer it."""
        self.armed_guest.intend({"bound_s": bound_s, "hold_s": hold_s}, self.clock.now)
        self.say(FREEZE_LINE)
        self.turn()

    def say(self, data: bytes) -> None:
        """The console says something."""
        self.console.incoming.append(data)
        self.turn()

    def turn(self) -> None:
        """Let the guest work, and hand over what there is to read or to write."""
        for _ in range(6):
            self._guest()
            self.selector.turn(self.socket, self.console)

    def pass_time(self, seconds: float, step_s: float = STEP_S) -> None:
        """Let time pass, and the armed guest do what it does by then."""
        end = self.clock.now + seconds
        while self.clock.now < end - 1e-9:
            self.clock.now += min(step_s, end - self.clock.now)
            self.turn()
            self.armed_guest.tick(self.clock.now)
            self.turn()

    def take_over(self) -> bool:
        taken = self.armed_guest.take_over(self.clock.now)
        self.turn()
        return taken

    def hang_up(self) -> None:
        """The guest's QEMU drops the connection, and lives on."""
        self.guest.inbox.clear()
        self.socket.incoming.append(b"")
        self.turn()

    def refuse(self, problem: ConnectProblem = ConnectProblem.QUEUE_FULL) -> None:
        self.refusal = ConnectFailed(problem, "it can't be had")

    def break_pipe(self) -> None:
        self.socket.send_error = BrokenPipeError(errno.EPIPE, "broken pipe")

    def _guest(self) -> None:
        if self._of is not self.socket:
            self._of, self._passed = self.socket, 0
        whole = self.socket.taken.rfind(b"\n") + 1
        for line in self.socket.taken[self._passed : whole].splitlines():
            _, sentinel, rest = line.rpartition(b"\xff")
            self.guest.take(sentinel + rest + b"\n")
        self._passed = max(self._passed, whole)
        self.guest.advance(self.clock.now - self.guest.now)
        if self.guest.outbox and not self.socket.closed:
            self.socket.incoming.append(self.guest.read())
