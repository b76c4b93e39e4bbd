"""The process that simulates guests: `python -m agentclient.backends.drill.server`.

It reads one line of JSON from its standard input. At the end of the input, the program that started
the drill has ended: then the server removes its sockets and ends. It writes ``ready`` to its
standard output, or one sentence with the reason why it can't serve.

    {"directory": "/tmp/…", "speed": 1.0, "guests": [{"name": …, "agent": …, "monitor": …}, …]}
"""

from __future__ import annotations

import gc
import heapq
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from agentclient.backends.drill.guest import NEVER, DrillGuest
from agentclient.backends.drill.listener import ListeningSocket, Loop
from agentclient.backends.drill.plan import GuestPlan
from agentclient.backends.drill.qmp_monitor import GREETING, MonitorSession

READY: Final = "ready"
SOCKETS_EACH: Final = 2
# Descriptors kept for connected clients, and for Python's own files; where there are few of them,
# one for each client that a socket can have, and those of Python.
_ROOM = 512
_OWN = 32

_Clock = Callable[[], float]


class GuestServer:
    """One guest with its two sockets.

    Args:
        server: the server, which has the guests' clock and wakes the guest.
        spec: the guest's plan and the sockets' paths; the monitor's may be None.
    """

    __slots__ = ("_agent", "_awake_at", "_server", "guest", "sockets")

    def __init__(self, server: Server, spec: dict[str, Any]) -> None:
        self._server = server
        self._awake_at = NEVER
        self.guest = DrillGuest(GuestPlan.from_json(spec))
        loop, accepts = server.loop, self.guest.accepts
        self._agent = ListeningSocket(
            loop, spec["agent"], lambda _: AgentSide(self), accepts=accepts
        )
        self.sockets = [self._agent]
        if spec["monitor"] is not None:
            path = spec["agent"]
            listening_socket = ListeningSocket(
                loop,
                spec["monitor"],
                lambda listening_socket: MonitorSide(self, listening_socket, path),
            )
            self.sockets.append(listening_socket)

    @property
    def now(self) -> float:
        """The time of the guests' clock, in seconds."""
        return self._server.now()

    def flush(self) -> None:
        """Send the agent's output to its client, and set the time of the next wake-up."""
        self._agent.serve(accepts=self.guest.accepts)
        self._agent.write(self.guest.take_output())
        wakes_at = self.guest.wakes_at
        if wakes_at < self._awake_at:
            self._server.wake(wakes_at, self)
            self._awake_at = wakes_at

    def woke(self) -> None:
        """Run the guest's due steps."""
        self._awake_at = NEVER
        self.guest.advance(self.now)
        self.flush()


class AgentSide:
    """The handler of the agent's socket."""

    __slots__ = ("_guest_server",)

    def __init__(self, guest_server: GuestServer) -> None:
        self._guest_server = guest_server

    def on_connect(self) -> None:
        """A client is served from now on."""
        self._guest_server.guest.client_came(self._guest_server.now)
        self._guest_server.flush()

    def on_data(self, data: bytes) -> None:
        """The client has written."""
        self._guest_server.guest.receive(self._guest_server.now, data)
        self._guest_server.flush()

    def on_disconnect(self) -> None:
        """The client has left."""
        self._guest_server.guest.client_left(self._guest_server.now)
        self._guest_server.flush()


class MonitorSide:
    """The handler of the monitor's socket: a session for each client."""

    __slots__ = ("_agent_path", "_guest_server", "_session", "_socket")

    def __init__(
        self, guest_server: GuestServer, listening_socket: ListeningSocket, agent_path: str
    ) -> None:
        self._guest_server = guest_server
        self._socket = listening_socket
        self._agent_path = agent_path
        self._session: MonitorSession | None = None

    def on_connect(self) -> None:
        """A client is served from now on: send QMP's greeting."""
        self._session = MonitorSession(self._guest_server.guest, self._agent_path)
        self._socket.write(GREETING)

    def on_data(self, data: bytes) -> None:
        """The client has written: send the replies."""
        assert self._session is not None
        self._socket.write(self._session.receive(self._guest_server.now, data))
        self._guest_server.flush()

    def on_disconnect(self) -> None:
        """The client has left."""
        self._session = None


class Server:
    """All guests of one process, in one event loop.

    Args:
        speed: how many times faster than `clock` the guests' clock runs.
        clock: returns the seconds of a monotonic clock.
    """

    def __init__(self, speed: float, clock: _Clock = time.monotonic) -> None:
        self.loop = Loop()
        self._speed = speed
        self._clock = clock
        self._began_at = clock()
        self._wakes: list[tuple[float, int, GuestServer]] = []
        self._order = 0
        self._over = False
        self._sockets: list[ListeningSocket] = []

    def now(self) -> float:
        """Return the time of the guests' clock, in seconds."""
        return (self._clock() - self._began_at) * self._speed

    def add(self, spec: dict[str, Any]) -> None:
        """Add a guest, and open its sockets."""
        guest_server = GuestServer(self, spec)
        self._sockets += guest_server.sockets
        guest_server.flush()

    def wake(self, at: float, guest_server: GuestServer) -> None:
        """Wake a guest at a time of the guests' clock."""
        self._order += 1
        heapq.heappush(self._wakes, (at, self._order, guest_server))

    def run(self, until: int) -> None:
        """Serve until the descriptor `until` is at its end."""
        events = select.EPOLLIN | select.EPOLLHUP
        self.loop.watch(until, events, lambda _: self._end(until))
        while not self._over:
            self.loop.run_once(self._wait_s())
            while self._wakes and self._wakes[0][0] <= self.now():
                heapq.heappop(self._wakes)[2].woke()

    def remove(self) -> None:
        """Remove the files of all sockets."""
        for listening_socket in self._sockets:
            with suppress(OSError):
                listening_socket.remove()

    def _wait_s(self) -> float:
        if not self._wakes:
            return -1.0
        return max(0.0, (self._wakes[0][0] - self.now()) / self._speed)

    def _end(self, fd: int) -> None:
        self._over = not os.read(fd, 4096)


def room() -> int:
    """Return how many guests one process can simulate, by the system's limit of open files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(0, (hard - _ROOM) // SOCKETS_EACH, (hard - _OWN) // (2 * SOCKETS_EACH))


def make_room(guests: int) -> None:
    """Raise this process's limit of open files for so many guests, which are at most `room`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = SOCKETS_EACH * guests + _ROOM
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def main() -> int:
    """Serve the guests that standard input names; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the sockets are removed first
    spec = json.loads(sys.stdin.buffer.readline())
    server = Server(spec["speed"])
    try:
        make_room(len(spec["guests"]))
        for guest in spec["guests"]:
            server.add(guest)
        # The guests live as long as the process: the garbage collector need not search them.
        gc.freeze()
        print(READY, flush=True)
        server.run(sys.stdin.fileno())
    except (OSError, ValueError) as problem:
        print(problem, flush=True)
        return 1
    finally:
        server.remove()
        with suppress(OSError):
            os.rmdir(spec["directory"])  # noqa: PTH106 - empty, unless somebody else is in it
    return 0


if __name__ == "__main__":
    sys.exit(main())
