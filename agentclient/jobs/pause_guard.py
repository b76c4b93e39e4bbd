"""The process that lets a paused VM go on if the frostwatch that paused it dies, or is stopped.

It is run as a program of its own, on the standard library alone: ``pause_guard.py SOCKET PID
SECONDS DESCRIPTOR``. Its standard input tells it what to do: ``armed`` before the VM is paused,
``done`` once it goes on again. The end of the input between both, or nothing for so many seconds,
means that nobody else lets the VM go on.

A monitor serves one client at a time, and goes on serving one that is stopped. So the VM is paused
through a connection that this process shares (DESCRIPTOR), and lets it go on by.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any, Final

ARMED: Final = "armed\n"
DONE: Final = "done\n"
READY: Final = "ready\n"
# The monitor may serve another client, or QEMU be busy, for some time.
# In the ids of our commands, which whoever shares the connection does not use.
NAME: Final = "frostwatch-pause-guard"
TRIES_FOR_S: Final = 300.0
EVERY_S: Final = 0.25
TIMEOUT_S: Final = 5.0


def main(path: str, pid: int, most_s: float, shared: int) -> int:
    """Wait for what is said; resume the VM unless it goes on already.

    Args:
        path: the monitor's socket.
        pid: the VM's process; 0 if it is not known.
        most_s: for how long it may be paused, in seconds.
        shared: the descriptor of the connection by which it is paused.

    Returns:
        The exit code: 0 if the VM is not paused any more.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.write(READY)
    sys.stdout.flush()
    with socket.socket(fileno=shared) as connection:
        if not _is_needed(most_s) or _resume_by(Talk(connection)):
            return 0
    return _resume_anew(path, pid)


def _resume_by(talk: Talk) -> bool:
    """Resume the VM by the shared connection, however long QEMU is busy.

    Returns:
        Whether it is not paused any more; False if the connection has ended.
    """
    try:
        talk.begin_anew()
        if talk.until_answered("query-status").get("status") != "paused":
            talk.end()  # whoever was stopped before it has paused the VM can't do it later
            return True
        talk.until_answered("cont")
        return talk.until_answered("query-status").get("status") != "paused"
    except (OSError, ValueError):
        return False


def _resume_anew(path: str, pid: int) -> int:
    """Resume the VM by connections of our own; return the exit code."""
    until = time.monotonic() + TRIES_FOR_S
    while time.monotonic() < until:
        try:
            if resume(path, pid):
                return 0
        except (OSError, ValueError):
            pass  # it serves another client, or is busy
        time.sleep(EVERY_S)
    return 1


def _is_needed(most_s: float) -> bool:
    """Wait until nobody else lets the VM go on; return False once somebody has, or will."""
    said, until = "", None
    while DONE not in said:
        left = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([sys.stdin], [], [], left)[0]:
            return True
        more = os.read(sys.stdin.fileno(), 64)
        if not more:
            return ARMED in said
        said += more.decode("ascii", "replace")
        if until is None and ARMED in said:
            until = time.monotonic() + most_s
    return False


def resume(path: str, pid: int) -> bool:
    """Resume a paused VM through its monitor; return whether it is not paused any more.

    Raises:
        OSError: the monitor can't be reached, or does not answer.
        ValueError: what it says is no QMP.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(path)
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if pid and struct.unpack("3i", peer)[0] != pid:
            return True  # it is another VM: the one that was paused has ended
        talk = Talk(connection)
        talk.line()  # the greeting
        talk.ask("qmp_capabilities")
        if talk.ask("query-status").get("status") != "paused":
            return True
        talk.ask("cont")
        return talk.ask("query-status").get("status") != "paused"


class Talk:
    """Commands to a monitor, and their answers.

    Args:
        connection: to the monitor.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""
        self._asked = 0

    def begin_anew(self) -> None:
        """Have QEMU forget a part of a command that whoever shares the connection has sent."""
        self._send(b"\xff\n")

    def until_answered(self, command: str) -> dict[str, Any]:
        """Send a command until it is answered; return its answer (see `ask`)."""
        while True:
            try:
                return self.ask(command)
            except TimeoutError:
                pass  # QEMU is busy, or whoever shares the connection has received the answer

    def ask(self, command: str) -> dict[str, Any]:
        """Send a command, and return its answer; empty if that is no object.

        Raises:
            TimeoutError: there is none within 5 s.
            OSError: the connection has ended, or QEMU answers with an error.
            ValueError: it is no QMP.
        """
        self._asked += 1
        number = f"{NAME}-{self._asked}"
        self._send(json.dumps({"execute": command, "id": number}).encode() + b"\n")
        until = time.monotonic() + TIMEOUT_S
        while True:
            reply = json.loads(self.line(until))
            if not isinstance(reply, dict) or reply.get("id") != number:
                continue  # an event, or an answer to whoever shares the connection
            if "error" in reply:
                raise OSError(str(reply["error"]))
            found = reply.get("return")
            return found if isinstance(found, dict) else {}

    def line(self, until: float | None = None) -> bytes:
        """Return the next line.

        Args:
            until: time of the monotonic clock at which the wait ends; None for 5 s from now.

        Raises:
            TimeoutError: there is none.
            OSError: the connection has ended.
        """
        until = time.monotonic() + TIMEOUT_S if until is None else until
        while b"\n" not in self._rest:
            left = max(0.0, until - time.monotonic())
            if not select.select([self._connection], [], [], left)[0]:
                raise TimeoutError
            try:
                more = self._connection.recv(65536)
            except BlockingIOError:  # whoever shares the connection has received it
                continue
            if not more:
                raise OSError("the monitor has closed the connection")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def end(self) -> None:
        """End the connection, also for whoever shares it."""
        self._connection.shutdown(socket.SHUT_RDWR)

    def _send(self, data: bytes) -> None:
        """Write all of `data`, however long QEMU does not take it."""
        while data:
            select.select([], [self._connection], [])
            with suppress(BlockingIOError):
                data = data[self._connection.send(data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
