"""The control shell: commands inside the guest, over its second serial port.

The other end is `inside/shell.sh`, which describes the protocol. It goes on working while file
systems are frozen, and starts anew after each boot.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable

from tests.guests.lab.errors import LabError, ShellError
from tests.guests.lab.patience import BOOT_S, PATIENCE_S

_MARK = b"\x1e"
_READY = _MARK + b"READY\n"
# What a slow machine may add to a command's own limit.
_GRACE_S = PATIENCE_S
# Instead of a command's status: bytes of it were lost on the way.
_DAMAGED = -1
_MOST_TRIES = 10


class SerialShell:
    """One connection to the guest's shell; one command at a time, from any thread.

    Args:
        connection: connected to the serial port's socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._turn = threading.Lock()
        self._news = threading.Condition()
        self._buffer = b""
        self._boots = 0
        self._expected_boots = 1
        self._ended = False
        threading.Thread(target=self._read, name="lab-shell", daemon=True).start()

    def expect_boot(self) -> None:
        """Say that the guest is about to start anew: commands wait until it is up again."""
        with self._news:
            self._expected_boots = self._boots + 1
            self._buffer = b""
            self._news.notify_all()

    def expect_none(self) -> None:
        """Say that the guest is up, and greets nobody: it was when its state was saved."""
        with self._news:
            self._expected_boots = self._boots
            self._news.notify_all()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the guest is up; False when it is not in time (seconds), or QEMU ended."""
        with self._news:
            self._news.wait_for(lambda: self._ended or self._up(), timeout)
            return self._up() and not self._ended

    def run(self, command: str, timeout: float = PATIENCE_S) -> str:
        """Run a command and give what it printed (both streams, UTF-8 or replaced).

        A command that outlives its timeout is killed; should it be blocked in the kernel, it is
        left alone. Background children (`... &`) are not waited for.

        Args:
            command: for the guest's `sh`; may have several lines.
            timeout: seconds.

        Raises:
            ShellError: it failed (with its status), took too long (124), or the guest is mute
                (None), paused for example.
        """
        with self._turn:
            if not self.wait_ready(timeout + BOOT_S):
                raise ShellError(command, None, "the guest is not up")
            for _ in range(_MOST_TRIES):
                status, output = self._ask(command, timeout)
                if status != _DAMAGED:  # else nothing was run
                    break
        text = output.decode(errors="replace")
        if status != 0:
            raise ShellError(command, status, text)
        return text

    def fire(self, command: str) -> None:
        """Run a command that takes the guest down: its reply is not waited for."""
        with self._turn:
            self._send(secrets.token_hex(4), command, _GRACE_S)

    def answers(self, timeout: float = 1.0) -> bool:
        """Whether the shell answers in so many seconds; for a guest that is just waking up.

        What is sent to a sleeping serial port is lost, so that asking again may help.
        """
        with self._turn:
            return self._ask("true", timeout, grace=0.0)[0] == 0

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _ask(
        self, command: str, timeout: float, grace: float = _GRACE_S
    ) -> tuple[int | None, bytes]:
        """Send one request and wait for its reply; status None when there is none."""
        key = secrets.token_hex(4)
        begin = _MARK + key.encode() + b" B\n"
        end = re.compile(re.escape(_MARK + key.encode()) + rb" (\d+|damaged)\n")

        def reply() -> re.Match[bytes] | None:
            return end.search(self._buffer)

        with self._news:
            self._buffer = b""
            boots = self._boots
        self._send(key, command, timeout)
        self._wait(lambda: reply() is not None or self._boots != boots, timeout + grace)
        with self._news:
            found = reply()
            if found is None:
                return None, b"the guest started anew" if self._boots != boots else self._buffer
            if found.group(1) == b"damaged":
                return _DAMAGED, b""
            start = self._buffer.find(begin) + len(begin)
            return int(found.group(1)), self._buffer[start : found.start()]

    def _send(self, key: str, command: str, timeout: float) -> None:
        """Send a request, on a line of its own whatever was sent before."""
        lines = command.split("\n")
        size = len(command.encode()) + 1
        request = f"\nR {key} {timeout:g} {len(lines)} {size}\n{command}\n"
        try:
            self._socket.sendall(request.encode())
        except OSError as error:
            raise LabError(f"the guest's serial port is gone: {error}") from error

    def _wait(self, condition: Callable[[], bool], timeout: float) -> None:
        with self._news:
            self._news.wait_for(lambda: condition() or self._ended or not self._up(), timeout)

    def _up(self) -> bool:
        return self._boots >= self._expected_boots

    def _read(self) -> None:
        """Collect what the serial port says until QEMU ends."""
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            with self._news:
                if data:
                    self._buffer += data
                    self._boots += self._take_greeting()
                else:
                    self._ended = True
                self._news.notify_all()
            if not data:
                return

    def _take_greeting(self) -> int:
        """Drop everything up to a greeting; the number of greetings that were there."""
        before, greeting, after = self._buffer.rpartition(_READY)
        if greeting:
            self._buffer = after
        return before.count(_READY) + (1 if greeting else 0)


def wait_until(
    condition: Callable[[], bool], timeout: float, what: str, step: float | None = None
) -> None:
    """Poll until something holds.

    Args:
        condition: asked again and again; a question to a guest takes a good part of a core.
        timeout: seconds.
        what: for the message.
        step: seconds between two looks; None for an eighth of the time that was waited.

    Raises:
        LabError: it did not hold in time.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > timeout:
            raise LabError(f"waited {timeout:g} s in vain for: {what}")
        time.sleep(min(0.5, max(0.02, waited / 8)) if step is None else step)
