"""One guest, its two sockets and a clock in memory: time passes only while somebody waits."""

from __future__ import annotations

import itertools
import select
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from agentclient.access.agent_session import StreamSession
from agentclient.access.local_access import LocalAccess
from agentclient.access.monitor import Monitor
from agentclient.access.qmp_session import MonitorError
from agentclient.access.stream import ConnectFailed, ConnectProblem, StreamEnded
from agentclient.model.events import EventKind
from agentclient.model.snapshot import MonitorView, Progress
from agentclient.model.vm import AgentChannel, MonitorChannel, Vm, VmId
from agentclient.operations.control import Control
from agentclient.protocol.qga_commands import STATUS
from agentclient.protocol.qmp import QmpReply
from tests.unit.fakes import Clock, FakeReporter
from tests.unit.virtual_guest import VirtualGuest

# A wait looks so often whether something has come.
STEP_S = 0.01
# Descriptors that no process has.
CONTROL_FD, EVENTS_FD, CHANNELS_FD = 1 << 28, 1 << 29, 1 << 30


class VirtualChannel:
    """A connection to the agent's socket; QEMU serves one at a time."""

    def __init__(self, host: VirtualHost, fd: int) -> None:
        self.host = host
        self.fd = fd
        self.broken = False
        self.closed = False
        self.sent: list[tuple[float, bytes]] = []
        self.raises: Exception | None = None

    @property
    def served(self) -> bool:
        return self.host.served is self and not self.closed

    @property
    def ended(self) -> bool:
        return self.broken or self.host.guest.gone

    @property
    def readable(self) -> bool:
        return self.ended or (self.served and bool(self.host.guest.outbox))

    def fileno(self) -> int:
        return -1 if self.closed else self.fd

    def send(self, data: bytes, deadline: float) -> None:
        assert not self.closed, "nothing is written to a channel that is closed"
        if self.ended:
            raise StreamEnded("broken pipe")
        if self.host.stalled:
            self.host.sleep(max(0.0, deadline - self.host.now))
            raise TimeoutError("the other side does not take our bytes")
        self.sent.append((self.host.now, data))
        if self.served:
            self.host.guest.take(data)

    def receive(self) -> bytes:
        assert not self.closed, "nothing is read from a channel that is closed"
        if self.raises is not None:
            error, self.raises = self.raises, None
            raise error
        if self.served and self.host.guest.outbox:
            return self.host.guest.read()
        if self.ended:
            raise StreamEnded("the other side has closed the connection")
        return b""

    def close(self) -> None:
        self.closed = True


class VirtualMonitor:
    """The VM's monitor: it shows what the guest and its channel are like just now."""

    process = None
    version = "9.2.0"

    def __init__(self, host: VirtualHost) -> None:
        self.host = host
        self.looks: list[float] = []
        self.look_s = 0.0
        self.uuid: str | None = None
        self.held = False
        self.told = False

    def look(self, timeout_s: float = 0.5) -> MonitorView:
        self.looks.append(self.host.now)
        self.told = False
        self.host.sleep(min(self.look_s, timeout_s))
        return self.host.view()

    def event_fd(self) -> int | None:
        return EVENTS_FD if self.held else None

    def ask(self, _: object) -> list[QmpReply]:
        if self.uuid is None:
            raise MonitorError("it is not asked")
        return [QmpReply(1, {"UUID": self.uuid})]

    def close(self) -> None:
        pass


class VirtualAccess(LocalAccess):
    """A link to a virtual guest, whose process is known to live or to have ended as a test says."""

    def __init__(self, host: VirtualHost, *, agent: bool = True, monitor: bool = True) -> None:
        vm = Vm(VmId("socket", "db1"))
        if agent:
            vm = vm._replace(agent=AgentChannel(host.path))
        if monitor:
            vm = vm._replace(monitor=MonitorChannel(host.path))
        super().__init__(
            vm, host if agent else None, cast(Monitor, host.monitor) if monitor else None
        )
        self.host = host

    def is_gone(self) -> bool | None:
        return self.host.process_gone


class VirtualControl(Control):
    """The operator's instructions, without a descriptor."""

    def __init__(self) -> None:
        super().__init__()
        self.no_descriptor = False

    @property
    def waiting(self) -> bool:
        return bool(self._new)

    def fileno(self) -> int:
        if self.no_descriptor:
            raise OSError("no descriptor is left")
        return CONTROL_FD


class VirtualReporter(FakeReporter):
    """Remembers what it was told, and how far it was told that it has got."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Progress] = []
        self.ports: list[bool] = []

    def progress(self, progress: Progress | None) -> None:
        assert progress is not None, "it was begun"
        self.shown.append(progress)

    def port(self, *, is_open: bool) -> None:
        self.ports.append(is_open)

    def kinds(self) -> list[EventKind]:
        return [tell.kind for tell in self.told]

    def texts(self, kind: EventKind = EventKind.NOTE) -> list[str]:
        return [tell.text for tell in self.told if tell.kind is kind]


class VirtualHost(Clock):
    """The clock, the guest and its QEMU, the monitor and the operator's instructions.

    Attributes:
        served: the connection that QEMU serves.
        refusal: why nobody can connect; None if anybody can.
        stalled: the guest takes no bytes.
        other_client: somebody else is connected.
        process_gone: what is known of the VM's process.
        unseen: what the monitor shows instead of the truth.
    """

    def __init__(self, guest: VirtualGuest | None = None) -> None:
        super().__init__()
        self.path = Path("/run/virtual/db1.qga")
        self.guest = guest or VirtualGuest()
        self.guest.now = self.now
        self.monitor = VirtualMonitor(self)
        self.control = VirtualControl()
        self.channels: dict[int, Any] = {}
        self.served: VirtualChannel | None = None
        self.refusal: ConnectFailed | None = None
        self.stalled = False
        self.other_client = False
        self.process_gone: bool | None = None
        self.unseen: MonitorView | None = None
        self.connects: list[float] = []
        self._fds = itertools.count(CHANNELS_FD)
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Callable[[], object]]] = []

    # -- time -----------------------------------------------------------------------------

    def after(self, seconds: float, do: Callable[[], object]) -> None:
        """Have something happen while somebody waits."""
        heappush(self._due, (self.now + seconds, next(self._numbers), do))

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            at, _, do = heappop(self._due)
            self._pass_to(max(at, self.now))
            do()
        self._pass_to(max(end, self.now))

    def _pass_to(self, at: float) -> None:
        self.guest.advance(at - self.now)
        self.now = self.guest.now = at

    def wait_until(self, holds: Callable[[], object], timeout_s: float) -> None:
        """Let time pass until something holds, but no longer than that."""
        end = self.now + timeout_s
        while not holds() and self.now < end:
            self.sleep(min(STEP_S, end - self.now))

    def wait_any(
        self, fds: Iterable[int], timeout_s: float, events: int = select.POLLIN
    ) -> set[int]:
        """Stand in for `agentclient.access.stream.wait_any`."""
        waited_for = list(fds)
        self.wait_until(lambda: self._ready(waited_for, events), timeout_s)
        return self._ready(waited_for, events)

    def _ready(self, fds: list[int], events: int) -> set[int]:
        return {fd for fd in fds if self._is_ready(fd, events)}

    def _is_ready(self, fd: int, events: int) -> bool:
        if fd == CONTROL_FD:
            return self.control.waiting
        if fd == EVENTS_FD:
            return self.monitor.told
        channel = self.channels[fd]
        return bool(channel.readable if events else channel.ended)

    def live_in(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        """Make modules read this clock, and wait by it."""
        for module in modules:
            for name in ("time", "wait_any"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, self if name == "time" else self.wait_any)

    # -- the guest's QEMU -----------------------------------------------------------------

    def connect(self) -> VirtualChannel:
        """Stand in for an endpoint: connect to the agent's socket."""
        self.connects.append(self.now)
        if self.refusal is not None:
            raise self.refusal
        channel = VirtualChannel(self, self.new_fd())
        self.channels[channel.fd] = channel
        if self.served is None or self.served.closed or self.served.broken:
            self.served = channel
        return channel

    def new_fd(self) -> int:
        return next(self._fds)

    def cut(self) -> None:
        """QEMU drops its client, and lives on; what the agent had not read is gone with it."""
        if self.served is not None:
            self.served.broken = True
        self.guest.inbox.clear()
        self.guest.read()

    def refuse(self, problem: ConnectProblem = ConnectProblem.REFUSED) -> None:
        self.refusal = ConnectFailed(problem, "nobody listens on the socket")

    def leave(self) -> None:
        """The VM's process ends, and that is known."""
        self.guest.leave()
        self.process_gone = True
        self.refuse()

    def view(self) -> MonitorView:
        if self.unseen is not None:
            return self.unseen
        served = self.served is not None and self.served.served and not self.served.broken
        return self.guest.view()._replace(client=served or self.other_client)

    def session(self) -> StreamSession:
        """Connect to the agent, and prove that the channel is ours."""
        session = StreamSession(self.connect())
        session.sync(session.ticket(), self.now + 1.0)
        self._answered(session)
        session.ask(session.ticket(), STATUS, None, self.now + 1.0, tag=True)
        self._answered(session)
        assert session.wire.tags
        return session

    def _answered(self, session: StreamSession) -> None:
        self.sleep(0.0)
        session.receive()

    @property
    def sent(self) -> list[bytes]:
        """What was written to the agent, on whichever connection."""
        every = [one for channel in self.channels.values() for one in getattr(channel, "sent", ())]
        return [data for _, data in sorted(every, key=lambda one: one[0])]

    def asked(self, command: str) -> int:
        """How often the agent was sent a command."""
        return sum(f'"{command}"'.encode() in data for data in self.sent)
