"""Serves simulated guests in a process of its own: `python -m tests.simulated.server SPEC`.

SPEC is JSON: a list of {"name", "agent", "monitor", "behaviour", "hook_s"}. Like QEMU's chardev,
each socket serves one client and lets the next ones wait (test_fact_second_client_stays_silent).
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import selectors
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.simulated.guest import SimulatedGuest

GREETING = b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}}}\n'


class Port:
    """One listening socket with its one client."""

    def __init__(
        self,
        server: Server,
        path: str,
        on_data: Callable[[Port, bytes], None],
        greeting: bytes = b"",
        on_client: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._server = server
        self._on_data = on_data
        self._on_client = on_client
        self._greeting = greeting
        self._listener = socket.socket(socket.AF_UNIX)
        Path(path).unlink(missing_ok=True)
        self._listener.bind(path)
        self._listener.listen(1)
        self._listener.setblocking(False)
        self._client: socket.socket | None = None
        self._pending = bytearray()
        server.selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def write(self, data: bytes) -> None:
        """Write to the client of now, as it takes it."""
        if self._client is None:
            return
        self._pending += data
        self._flush()

    def _accept(self, _: int) -> None:
        self._client, _address = self._listener.accept()
        self._client.setblocking(False)
        self._server.selector.unregister(self._listener)
        self._server.selector.register(self._client, selectors.EVENT_READ, self._ready)
        self._on_client(True)
        self.write(self._greeting)

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if not events & selectors.EVENT_READ or self._client is None:
            return
        try:
            data = self._client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_data(self, data)
        else:
            self._drop()

    def _flush(self) -> None:
        assert self._client is not None
        try:
            sent = self._client.send(self._pending[: 1 << 20]) if self._pending else 0
            del self._pending[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._pending else 0)
        self._server.selector.modify(self._client, wanted, self._ready)

    def _drop(self) -> None:
        assert self._client is not None
        self._server.selector.unregister(self._client)
        self._client.close()
        self._client = None
        self._pending.clear()
        self._on_client(False)
        self._server.selector.register(self._listener, selectors.EVENT_READ, self._accept)


class Server:
    """All guests in one loop."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self._later: list[tuple[float, int, Port, bytes]] = []
        self._order = itertools.count()

    def add(self, guest: SimulatedGuest, monitor_path: str | None) -> None:
        """Serve one guest."""

        def agent(port: Port, data: bytes) -> None:
            now = time.monotonic()
            for answer in guest.agent(data, now):
                due = now + answer.delay_s
                heapq.heappush(self._later, (due, next(self._order), port, answer.data))

        def monitor(port: Port, data: bytes) -> None:
            port.write(b"".join(guest.monitor(line) for line in data.splitlines()))

        def client(present: bool) -> None:
            guest.client = present

        Port(self, guest.agent_path, agent, on_client=client)
        if monitor_path:
            Port(self, monitor_path, monitor, greeting=GREETING)

    def run(self) -> None:
        """Serve until the parent closes our standard input."""
        self.selector.register(sys.stdin, selectors.EVENT_READ, lambda _: sys.exit(0))
        while True:
            self._say_what_is_due()
            wait = self._later[0][0] - time.monotonic() if self._later else None
            for key, events in self.selector.select(None if wait is None else max(0.0, wait)):
                with contextlib.suppress(KeyError):
                    key.data(events)

    def _say_what_is_due(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            _, _, port, data = heapq.heappop(self._later)
            port.write(data)


def main() -> None:
    """Serve the guests of the command line."""
    server = Server()
    for spec in json.loads(sys.argv[1]):
        guest = SimulatedGuest(
            spec["name"], spec["agent"], spec.get("behaviour", "quick"), spec.get("hook_s", 10.0)
        )
        server.add(guest, spec.get("monitor"))
    print("ready", flush=True)
    server.run()


if __name__ == "__main__":
    main()
