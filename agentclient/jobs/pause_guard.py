"""The process that lets a paused VM go on if the frostwatch that paused it dies, or is stopped.

It is run as a program of its own, on the standard library alone: ``pause_guard.py SOCKET PID
SECONDS``. Its standard input tells it what to do: ``armed`` before the VM is paused, ``done`` once
it goes on again. The end of the input between both, or nothing for so many seconds, means that
nobody else lets the VM go on.
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
from typing import Any, Final

ARMED: Final = "armed\n"
DONE: Final = "done\n"
READY: Final = "ready\n"
# The monitor may serve another client, or QEMU be busy, for some time.
TRIES_FOR_S: Final = 300.0
EVERY_S: Final = 0.25
TIMEOUT_S: Final = 5.0


def main(path: str, pid: int, most_s: float) -> int:
    """Wait for what is said; resume the VM unless it goes on already.

    Args:
        path: the monitor's socket.
        pid: the VM's process; 0 if it is not known.
        most_s: for how long it may be paused, in seconds.

    Returns:
        The exit code: 0 if the VM is not paused any more.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.write(READY)
    sys.stdout.flush()
    if not _is_needed(most_s):
        return 0
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
        stream = connection.makefile("rw", encoding="utf-8")
        stream.readline()  # the greeting
        _ask(stream, "qmp_capabilities")
        if _status(stream) != "paused":
            return True
        _ask(stream, "cont")
        return _status(stream) != "paused"


def _status(stream: Any) -> str:
    found = _ask(stream, "query-status")
    return str(found.get("status")) if isinstance(found, dict) else ""


def _ask(stream: Any, command: str) -> Any:
    stream.write(json.dumps({"execute": command}) + "\n")
    stream.flush()
    while True:
        line = stream.readline()
        if not line:
            raise OSError("the monitor has closed the connection")
        reply = json.loads(line)
        if "return" in reply:
            return reply["return"]
        if "error" in reply:
            raise OSError(str(reply["error"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
