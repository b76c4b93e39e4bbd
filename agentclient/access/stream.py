"""Connected byte streams with deadlines and cancellation: UNIX sockets.

A connection does not mean that QEMU serves it: QEMU serves one client, and the kernel lets two more
wait in silence (protocol §1.2). `agentclient.protocol.qga` decides what may be written, and when.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from agentclient.access.cancel import Cancellation
from agentclient.access.host.peer import problem_with
from agentclient.access.host.process import socket_identity
from agentclient.access.host.unix_socket import connect_to
from agentclient.model.errors import Cancelled
from agentclient.model.states import Cause
from agentclient.model.vm import Peer

RECEIVE_SIZE = 64 * 1024
_CAN_NOT_WAIT_S = 0.02
# Seconds until a socket that another process serves is connected to again.
AVOIDED_S = 15.0


class ConnectProblem(StrEnum):
    """Why a connection could not be made."""

    MISSING = "missing"
    REFUSED = "refused"
    NO_PERMISSION = "no permission"
    QUEUE_FULL = "queue full"
    NOT_THE_VM = "not the VM"
    NO_DESCRIPTOR = "no descriptor"
    OTHER = "other"


class ConnectFailed(Exception):
    """No connection could be made.

    Args:
        problem: which kind of failure.
        text: one clause for a person.
    """

    def __init__(self, problem: ConnectProblem, text: str) -> None:
        self.problem = problem
        super().__init__(text)


class StreamEnded(Exception):
    """The other side has closed the stream, or it broke.

    Args:
        text: why, as far as it is known; one clause.
        cause: the cause, where the other side has told it.
    """

    def __init__(self, text: str, cause: Cause = Cause.CHANNEL_BROKEN) -> None:
        self.cause = cause
        super().__init__(text)


class HasDescriptor(Protocol):
    """An object with a file descriptor to wait on."""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""


class Channel(Protocol):
    """A connected byte stream."""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""

    def send(self, data: bytes, deadline: float) -> None:
        """Write all of `data`.

        Args:
            data: the bytes.
            deadline: time of the monotonic clock by which they must be written.

        Raises:
            StreamEnded: the stream is broken.
            TimeoutError: the other side does not take the bytes.
        """

    def receive(self) -> bytes:
        """Return what has come, without waiting; empty if nothing has.

        Raises:
            StreamEnded: the stream has ended.
        """

    def close(self) -> None:
        """Close the stream; closing it again changes nothing."""


class Endpoint(Protocol):
    """An address to which a `Channel` can be connected."""

    def connect(self) -> Channel:
        """Connect, and return the channel.

        Raises:
            ConnectFailed: no connection could be made.
        """


class UnixChannel:
    """A connected UNIX socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        if connected.gettimeout() != 0.0:
            connected.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def send(self, data: bytes, deadline: float) -> None:
        """Write all of `data` (see `Channel.send`)."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                self._wait_writable(deadline)
            except OSError as error:
                raise StreamEnded(str(error)) from error

    def receive(self) -> bytes:
        """Return what has come, without waiting (see `Channel.receive`)."""
        try:
            data = self._socket.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise StreamEnded(str(error)) from error
        if not data:
            raise StreamEnded("the other side has closed the connection")
        return data

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _wait_writable(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not wait_any([self.fileno()], left, select.POLLOUT):
            raise TimeoutError("the other side does not take our bytes")


class UnixEndpoint:
    """A UNIX socket on this host.

    Args:
        path: the socket's path, of any length.
        peer: the process that must listen there; None for any.
    """

    def __init__(self, path: Path, peer: Peer | None = None) -> None:
        self.path = path
        self._peer = peer
        self._refused: tuple[float, str, str] | None = None  # when, which socket, why

    def __str__(self) -> str:
        return str(self.path)

    def connect(self) -> UnixChannel:
        """Connect without waiting: a UNIX socket answers at once or not at all.

        Raises:
            ConnectFailed: no connection could be made, or another process listens there.
        """
        if self._refused is not None:
            self._avoid(*self._refused)
        kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            connection = socket.socket(socket.AF_UNIX, kind)
        except OSError as error:
            raise _connect_failed(error) from error
        try:
            connect_to(connection, self.path)
        except (OSError, ValueError) as error:
            connection.close()
            raise _connect_failed(error) from error
        if self._peer is not None:
            problem = problem_with(connection, self.path, self._peer)
            if problem is not None:
                connection.close()
                self._refused = (time.monotonic(), socket_identity(self.path) or "", problem)
                raise ConnectFailed(ConnectProblem.NOT_THE_VM, problem)
        return UnixChannel(connection)

    def _avoid(self, at: float, which: str, why: str) -> None:
        """Refuse for a while to connect again to a socket that another process serves.

        Raises:
            ConnectFailed: it is still the same socket.
        """
        if time.monotonic() < at + AVOIDED_S and socket_identity(self.path) == which:
            raise ConnectFailed(ConnectProblem.NOT_THE_VM, why)
        self._refused = None


def hang_up(channel: HasDescriptor) -> None:
    """End a socket's connection for all processes that share it; it is to be closed still."""
    with suppress(OSError), socket.socket(fileno=os.dup(channel.fileno())) as shared:
        shared.shutdown(socket.SHUT_RDWR)


def wait_readable(
    channel: HasDescriptor, deadline: float, cancellation: Cancellation | None = None
) -> bool:
    """Wait until `channel` has something to read.

    Args:
        channel: a channel, or any object with a file descriptor.
        deadline: time of the monotonic clock at which the wait ends.
        cancellation: ends the wait early.

    Returns:
        False if the deadline passed.

    Raises:
        Cancelled: the cancellation was set.
    """
    waited_for = [channel.fileno()]
    if cancellation is not None:
        waited_for.append(cancellation.fileno())
    ready = wait_any(waited_for, max(0.0, deadline - time.monotonic()))
    if cancellation is not None and cancellation.is_set:
        raise Cancelled("cancelled")
    return bool(ready)


def wait_any(fds: Iterable[int], timeout_s: float, events: int = select.POLLIN) -> set[int]:
    """Wait for descriptors, and return those that may be ready; they must be non-blocking.

    Where poll() fails (no memory; a limit of open files below what is open), it sleeps shortly and
    returns all of them: a thaw must not fail for that.

    Args:
        fds: the descriptors.
        timeout_s: how long to wait, in seconds.
        events: the events to wait for, as in `select.poll`.
    """
    waited_for = list(fds)
    try:
        poll = select.poll()
        for fd in waited_for:
            poll.register(fd, events)
        return {fd for fd, _ in poll.poll(timeout_s * 1000)}
    except OSError:
        time.sleep(min(timeout_s, _CAN_NOT_WAIT_S))
        return set(waited_for)


def _connect_failed(error: OSError | ValueError) -> ConnectFailed:
    if not isinstance(error, OSError):
        return ConnectFailed(ConnectProblem.OTHER, str(error))
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return ConnectFailed(ConnectProblem.MISSING, "the socket does not exist")
        case errno.ECONNREFUSED:
            return ConnectFailed(ConnectProblem.REFUSED, "nobody listens on the socket")
        case errno.EACCES | errno.EPERM:
            return ConnectFailed(
                ConnectProblem.NO_PERMISSION,
                "we may not open the socket: run as root, or as a member of its group",
            )
        case errno.EMFILE | errno.ENFILE:
            return ConnectFailed(
                ConnectProblem.NO_DESCRIPTOR, "no descriptor is left for it (ulimit -n)"
            )
        case errno.EAGAIN:
            return ConnectFailed(
                ConnectProblem.QUEUE_FULL, "other clients wait for the socket already"
            )
        case _:
            return ConnectFailed(ConnectProblem.OTHER, error.strerror or str(error))
