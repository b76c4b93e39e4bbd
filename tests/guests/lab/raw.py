"""A naive client of an agent's socket, to play somebody else: no rules, no politeness.

It is not the product's client on purpose, and shares no code with it.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from pathlib import Path
from typing import Any, Self

from tests.guests.lab.patience import PATIENCE_S

Json = dict[str, Any]


class Silence(Exception):
    """Nothing (whole) came before the deadline."""


class RawClient:
    """A connection to an agent's socket, by anybody.

    Args:
        path: the UNIX socket.
        timeout: seconds that each answer may take, unless a call says otherwise.

    Raises:
        BlockingIOError: too many clients wait there already.
        OSError: nobody listens there.
    """

    def __init__(self, path: Path, timeout: float = PATIENCE_S) -> None:
        self.timeout = timeout
        self.buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        # A full backlog blocks a plain connect for ever.
        self._socket.setblocking(False)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            TimeoutError: nobody takes them.
        """
        self._socket.settimeout(self.timeout)
        self._socket.sendall(data)

    def send_command(self, name: str, arguments: Json | None = None, **more: Any) -> None:
        """Send a command and do not wait; `more` goes beside it, an `id` for example."""
        request: Json = {"execute": name}
        if arguments is not None:
            request["arguments"] = arguments
        self.send(json.dumps(request | more).encode() + b"\n")

    def read_line(self, timeout: float | None = None) -> bytes:
        """The next line, without its end, with a leading 0xFF if it has one.

        Raises:
            Silence: none came in time (seconds).
            EOFError: QEMU closed the connection.
        """
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silence(f"no line in time; so far: {self.buffer!r}")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            if not data:
                raise EOFError(f"the connection ended; so far: {self.buffer!r}")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def read_reply(self, timeout: float | None = None) -> Json:
        """The next line as JSON, whatever it answers; a leading 0xFF is dropped."""
        reply = json.loads(self.read_line(timeout).lstrip(b"\xff"))
        assert isinstance(reply, dict)
        return reply

    def sync(self, timeout: float | None = None) -> list[bytes]:
        """Synchronise: `guest-sync-delimited` behind a 0xFF, and skip to its answer.

        Returns:
            The lines that were skipped: what others left, and the error for the 0xFF.
        """
        key = secrets.randbelow(1 << 53)
        request = {"execute": "guest-sync-delimited", "arguments": {"id": key}}
        self.send(b"\xff" + json.dumps(request).encode() + b"\n")
        skipped: list[bytes] = []
        while True:
            line = self.read_line(timeout)
            if line.startswith(b"\xff") and json.loads(line[1:]).get("return") == key:
                return skipped
            skipped.append(line)

    def ask(self, name: str, arguments: Json | None = None, timeout: float | None = None) -> Json:
        """Send a command and give the next reply, with its `return` or its `error`."""
        self.send_command(name, arguments)
        return self.read_reply(timeout)

    def call(self, name: str, arguments: Json | None = None, timeout: float | None = None) -> Any:
        """Send a command and give what it returned.

        Raises:
            RuntimeError: the agent answered with an error.
        """
        reply = self.ask(name, arguments, timeout)
        if "error" in reply:
            raise RuntimeError(f"{name}: {reply['error']}")
        return reply["return"]

    def freeze(self, timeout: float = PATIENCE_S) -> Any:
        """Freeze everything and give the count; somebody else's freeze, so a foreign one."""
        return self.call("guest-fsfreeze-freeze", timeout=timeout)

    def thaw(self, timeout: float = PATIENCE_S) -> Any:
        """Thaw everything and give the count."""
        return self.call("guest-fsfreeze-thaw", timeout=timeout)

    def status(self, timeout: float | None = None) -> Any:
        """The agent's own idea of the state: "frozen" or "thawed"."""
        return self.call("guest-fsfreeze-status", timeout=timeout)

    def close(self) -> None:
        """Leave; what was written stays written. A second time does nothing."""
        self._socket.close()


def leave(path: Path, data: bytes) -> None:
    """Connect, write bytes and go: half a command, a stale sync, or a whole freeze."""
    with RawClient(path) as client:
        client.send(data)


def half_command() -> bytes:
    """A command without its end."""
    return b'{"execute": "guest-pi'


def command(name: str, **arguments: Any) -> bytes:
    """A whole command as bytes, to leave behind or to send in pieces."""
    request: Json = {"execute": name}
    if arguments:
        request["arguments"] = arguments
    return json.dumps(request).encode() + b"\n"
