"""Is a VM still there? Three values: it has gone, it is there, it is not known (P9).

Gone is proven, never inferred. A path that is away, a connection that is refused, a monitor that
can't be reached or a counter that fell say nothing about the VM: it may run on, with its file
systems frozen. What proves that it has gone is the end of its process. Where the process can't be
found, it is an end of our own connection to its agent, and nobody who listens there for seconds.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.access.host.peer import listener, qemu_process
from agentclient.access.host.process import PROC, has_gone, start_ticks, stat_fields
from agentclient.access.stream import Channel, ConnectProblem
from agentclient.model.vm import Process

# For so long nobody may listen where our connection has ended, if nothing better can be known.
NOBODY_S: Final = 3.0
_NOBODY: Final = frozenset({ConnectProblem.REFUSED, ConnectProblem.MISSING})


def is_gone(process: Process | None, proc: Path = PROC) -> bool | None:
    """Return whether a VM's process has ended: True and False are both proven.

    Args:
        process: the QEMU; None where it isn't known: then nothing is known.
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
    """Who listens at the other end of a connection.

    Attributes:
        process: the QEMU; None if it is another program, or can't be told.
        other: it is another program for sure, such as a forward: its end says nothing of the VM.
    """

    process: Process | None = None
    other: bool = False


def server_of(channel: Channel, proc: Path = PROC) -> Server:
    """Return who listens at the other end of a channel, as the kernel knows it (SO_PEERCRED).

    Args:
        channel: a connection that was made to a path.
        proc: where the proc file system is.
    """
    pid = _peer(channel)
    process = qemu_process(pid, proc)
    if process is not None:
        return Server(process)
    return Server(other=pid > 0 and os.path.lexists(proc / str(pid)))


class Absence:
    """Whether a VM has gone whose agent's connection has ended, as far as can be proven. Pure.

    Args:
        server: who had served that connection.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._since: float | None = None

    def tried(self, now: float, problem: ConnectProblem | None) -> bool | None:
        """Take one try to connect again; return whether the VM has gone by all that is known now.

        Args:
            now: seconds of the monotonic clock.
            problem: why nobody could be reached; None if somebody was.
        """
        if problem not in _NOBODY:
            self._since = None
            return None
        if self._server.other or self._server.process is not None:
            return None  # a forward's end proves nothing; a QEMU's is asked of the kernel
        self._since = now if self._since is None else self._since
        return True if now - self._since >= NOBODY_S else None


def _is_hidden(pid: int, proc: Path) -> bool:
    """Return whether a process exists of which the proc file system shows us nothing (hidepid)."""
    if proc != PROC:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _peer(channel: Channel) -> int:
    """Return the pid of who called ``listen()``; 0 if that can't be told from here."""
    fd = channel.fileno()
    if fd < 0:
        return 0
    try:
        with socket.socket(fileno=os.dup(fd)) as same:
            return listener(same).pid
    except (OSError, struct.error):
        return 0
