"""A tiny blocking QMP client: the lab's own monitor, apart from the one under test.

It is not the product's on purpose: a test must not find its witness wrong in the same way.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tests.guests.lab.errors import LabError, QmpError
from tests.guests.lab.patience import PATIENCE_S

Json = dict[str, Any]


class LabMonitor:
    """One connection to a QMP socket, with a thread that collects replies and events.

    Args:
        connection: connected to a QMP socket.
        timeout: seconds to wait for a reply.
        on_event: called with each event before anybody else sees it, on the reading thread.
    """

    def __init__(
        self,
        connection: socket.socket,
        timeout: float = PATIENCE_S,
        on_event: Callable[[Json], None] = lambda _: None,
    ) -> None:
        self.timeout = timeout
        self._on_event = on_event
        self._socket = connection
        self._lock = threading.Lock()
        self._news = threading.Condition()
        self._replies: dict[int, Json] = {}
        self._events: list[Json] = []
        self._ended = False
        self._number = 0
        threading.Thread(target=self._read, name="lab-monitor", daemon=True).start()
        self.execute("qmp_capabilities")

    @property
    def events(self) -> list[Json]:
        """All events so far, oldest first, as QEMU sent them."""
        with self._news:
            return list(self._events)

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Run a command and give what it returned.

        Raises:
            QmpError: QEMU refused it.
            LabError: QEMU is gone, or did not answer in time.
        """
        with self._lock:
            self._number += 1
            number = self._number
            request = {"execute": command, "id": number}
            if arguments:
                request["arguments"] = dict(arguments)
            try:
                self._socket.sendall(json.dumps(request).encode() + b"\n")
            except OSError as error:
                raise LabError(f"{command}: QEMU is gone: {error}") from error
        with self._news:
            answered = self._news.wait_for(
                lambda: number in self._replies or self._ended, self.timeout
            )
            reply = self._replies.pop(number, None)
        if reply is None:
            cause = "QEMU is gone" if answered else f"no reply in {self.timeout:g} s"
            raise LabError(f"{command}: {cause}")
        if "error" in reply:
            raise QmpError(command, reply["error"]["class"], reply["error"]["desc"])
        return reply["return"]

    def wait_event(self, name: str, timeout: float, after: int = 0) -> Json:
        """Wait for an event.

        Args:
            name: QMP's name of it, such as `RESET`.
            timeout: seconds.
            after: how many events to pass over: `len(monitor.events)` before the cause.

        Raises:
            LabError: it did not come.
        """
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                for event in self._events[after:]:
                    if event["event"] == name:
                        return event
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise LabError(f"no event {name} in {timeout:g} s")
                self._news.wait(left)

    def forget(self, after: int, names: Collection[str]) -> None:
        """Drop events of some names; `after` as in `wait_event`."""
        with self._news:
            later = [event for event in self._events[after:] if event["event"] not in names]
            self._events[after:] = later

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self) -> None:
        """Sort what QEMU says into replies and events until it ends."""
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    self._sort(json.loads(line))
        except (OSError, ValueError):
            pass
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _sort(self, message: Json) -> None:
        if "event" in message:
            self._on_event(message)
        with self._news:
            if "event" in message:
                self._events.append(message)
            elif "id" in message:
                self._replies[message["id"]] = message
            self._news.notify_all()
