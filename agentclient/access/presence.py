"""Decides whether a VM has gone: yes, no, or not known (P9).

That a VM has gone is proven, never inferred. A missing path, a refused connection, a monitor that
can't be reached or a counter that fell prove nothing: the VM may still run, with its file systems
frozen. The proof is the end of its process. Where the process can't be found, it is the end of our
own connection to its agent, followed by seconds in which nobody listens on the socket.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.access.host.peer import listener, qemu_process
from agentclient.access.host.process import (
    PROC,
    has_gone,
    process_of,
    start_ticks,
    stat_fields,
)
from agentclient.access.stream import Channel, ConnectProblem
from agentclient.model.vm import Process

# Seconds without a listener that prove a VM gone whose process can't be found.
NOBODY_S: Final = 3.0
_NOBODY: Final = frozenset({ConnectProblem.REFUSED, ConnectProblem.MISSING})


def is_gone(process: Process | None, proc: Path = PROC) -> bool | None:
    """Return whether a VM's process has ended: True and False are both proven.

    Args:
        process: the QEMU; None if it isn't known: then None is returned.
        proc: where the proc file system is.
    """
    if process is None:
        return None
    try:
        _, fields = stat_fields(proc / str(process.pid))
        start_ticks(fields)
    except FileNotFoundError:
        return None if _is_hidden(process.pid, proc) else has_gone(process, proc) or None
    except (OSError, ValueError, IndexError):
        return None
    return has_gone(process, proc)


class Server(NamedTuple):
    """The process that listens at the other end of a connection.

    Attributes:
        process: the QEMU; None if it is another program, or can't be told.
        other: it is certainly another program, such as a relay: its end proves nothing of the VM.
    """

    process: Process | None = None
    other: bool = False


def server_of(channel: Channel, proc: Path = PROC, *, simulated: bool = False) -> Server:
    """Return the process that listens at the other end of a channel (SO_PEERCRED).

    Args:
        channel: a connection that was made to a path.
        proc: where the proc file system is.
        simulated: the VM is a drill's: whatever program listens is all that there is of it.
    """
    pid = _peer(channel)
    process = process_of(pid, proc) if simulated else qemu_process(pid, proc)
    if process is not None:
        return Server(process)
    return Server(other=pid > 0 and os.path.lexists(proc / str(pid)))


class GoneCheck:
    """Decides whether a VM has gone after the connection to its agent has ended; only on proof.

    Args:
        server: the process that had served that connection.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._since: float | None = None

    def tried(self, now: float, problem: ConnectProblem | None) -> bool | None:
        """Take the result of one try to reconnect; return whether the VM has gone, None: not known.

        Args:
            now: seconds of the monotonic clock.
            problem: why the try failed; None if it succeeded.
        """
        if problem not in _NOBODY:
            self._since = None
            return None
        if self._server.other or self._server.process is not None:
            return None  # a relay's end proves nothing; for a QEMU the kernel is asked
        self._since = now if self._since is None else self._since
        return True if now - self._since >= NOBODY_S else None


def _is_hidden(pid: int, proc: Path) -> bool:
    """Return whether a process exists of which the proc file system shows us nothing (hidepid)."""
    if proc != PROC:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # the second: no process can have such a number
        return False
    except OSError:
        return True
    return True


def _peer(channel: Channel) -> int:
    """Return the pid of the process that called ``listen()``; 0 if it is not known here."""
    fd = channel.fileno()
    if fd < 0:
        return 0
    try:
        with socket.socket(fileno=os.dup(fd)) as same:
            return listener(same).pid
    except (OSError, struct.error):
        return 0
