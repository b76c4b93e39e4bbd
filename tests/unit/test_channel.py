"""The channel's rules, on a socket that is none."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from agentclient.access import stream as channel_module
from agentclient.access.cancel import Cancellation
from agentclient.access.stream import (
    ConnectFailed,
    ConnectProblem,
    StreamEnded,
    UnixChannel,
    UnixEndpoint,
    wait_readable,
)
from agentclient.model.errors import Cancelled
from tests.unit.fakes import Clock


class FakeSocket:
    """Does what its script says, one step a call; `fd` is polled."""

    def __init__(self, *script: Any, fd: int = -1) -> None:
        self.script = list(script)
        self.fd = fd
        self.taken = b""
        self.closed = 0
        self.blocking: bool | None = None

    def _step(self) -> Any:
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def made(self, _family: int, kind: int) -> FakeSocket:
        self.blocking = not kind & socket.SOCK_NONBLOCK
        return self

    def setblocking(self, flag: bool) -> None:
        self.blocking = flag

    def gettimeout(self) -> float | None:
        return 0.0 if self.blocking is False else None

    def connect(self, path: str) -> None:
        assert self.blocking is False  # a full queue must not keep us
        self._step()

    def send(self, data: bytes) -> int:
        count = int(self._step())
        self.taken += bytes(data[:count])
        return count

    def recv(self, size: int) -> bytes:
        return bytes(self._step())

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(channel_module, "time", made)
    return made


@pytest.fixture
def event_fd() -> Any:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


def channel(fake: Any) -> UnixChannel:
    return UnixChannel(fake)


def test_it_never_blocks() -> None:
    fake = FakeSocket()
    channel(fake)
    assert fake.blocking is False


def test_all_bytes_are_written_however_few_are_taken_at_once() -> None:
    fake = FakeSocket(2, 1, 3)
    channel(fake).send(b"abcdef", 0.0)
    assert fake.taken == b"abcdef"
    assert fake.script == []


def test_a_full_socket_is_waited_for(clock: Clock, event_fd: int) -> None:
    fake = FakeSocket(2, BlockingIOError(), 4, fd=event_fd)  # an eventfd is writable
    channel(fake).send(b"abcdef", clock.now + 1.0)
    assert fake.taken == b"abcdef"


def test_a_full_socket_is_not_waited_for_beyond_the_deadline(clock: Clock, event_fd: int) -> None:
    fake = FakeSocket(2, BlockingIOError(), fd=event_fd)
    with pytest.raises(TimeoutError):
        channel(fake).send(b"abcdef", clock.now)
    os.eventfd_write(event_fd, 2**64 - 2)  # not writable any more
    fake = FakeSocket(BlockingIOError(), fd=event_fd)
    with pytest.raises(TimeoutError):
        channel(fake).send(b"a", clock.now + 0.001)


@pytest.mark.parametrize("error", [BrokenPipeError(), ConnectionResetError(), OSError(5, "x")])
def test_a_broken_stream_has_ended(error: OSError) -> None:
    with pytest.raises(StreamEnded):
        channel(FakeSocket(error)).send(b"a", 0.0)
    with pytest.raises(StreamEnded):
        channel(FakeSocket(error)).receive()


def test_receiving_never_waits_and_tells_nothing_from_the_end() -> None:
    assert channel(FakeSocket(BlockingIOError())).receive() == b""
    assert channel(FakeSocket(b"abc")).receive() == b"abc"
    with pytest.raises(StreamEnded, match="closed"):
        channel(FakeSocket(b"")).receive()


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (errno.ENOENT, ConnectProblem.MISSING),
        (errno.ENOTDIR, ConnectProblem.MISSING),
        (errno.ECONNREFUSED, ConnectProblem.REFUSED),
        (errno.EACCES, ConnectProblem.NO_PERMISSION),
        (errno.EPERM, ConnectProblem.NO_PERMISSION),
        (errno.EAGAIN, ConnectProblem.QUEUE_FULL),
        (errno.EMFILE, ConnectProblem.NO_DESCRIPTOR),
    ],
)
def test_why_a_connection_failed(
    monkeypatch: pytest.MonkeyPatch, error: int, problem: ConnectProblem
) -> None:
    fake = FakeSocket(OSError(error, os.strerror(error)))
    monkeypatch.setattr(socket, "socket", fake.made)
    with pytest.raises(ConnectFailed) as caught:
        UnixEndpoint(Path("/run/x")).connect()
    assert caught.value.problem is problem
    assert str(caught.value)
    assert fake.closed == 1


def test_a_path_that_no_socket_can_have_is_a_failure() -> None:
    with pytest.raises(ConnectFailed) as caught:
        UnixEndpoint(Path("/" + "x" * 300)).connect()
    assert caught.value.problem is ConnectProblem.OTHER
    assert "too long" in str(caught.value)


# -- waiting ------------------------------------------------------------------------------------


def test_what_is_readable_is_not_waited_for(clock: Clock, event_fd: int) -> None:
    fake = channel(FakeSocket(fd=event_fd))
    assert wait_readable(fake, clock.now) is False
    assert wait_readable(fake, clock.now - 5) is False
    os.eventfd_write(event_fd, 1)
    assert wait_readable(fake, clock.now + 60) is True
    assert wait_readable(fake, clock.now - 5) is True


def test_a_cancellation_ends_the_wait_even_if_something_has_come(
    clock: Clock, event_fd: int
) -> None:
    fake = channel(FakeSocket(fd=event_fd))
    cancellation = Cancellation()
    assert wait_readable(fake, clock.now, cancellation) is False
    cancellation.set()
    with pytest.raises(Cancelled):
        wait_readable(fake, clock.now + 60, cancellation)
    os.eventfd_write(event_fd, 1)
    with pytest.raises(Cancelled):
        wait_readable(fake, clock.now, cancellation)
    cancellation.close()


def test_a_connection_is_a_channel_of_that_path(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSocket(None, fd=7)
    monkeypatch.setattr(socket, "socket", fake.made)
    endpoint = UnixEndpoint(Path("/run/x"))
    made = endpoint.connect()
    assert (made.fileno(), fake.blocking, str(endpoint)) == (7, False, "/run/x")
    made.close()
    assert fake.closed == 1
