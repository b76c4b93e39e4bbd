"""Non-blocking sockets and a selector in memory: a test says what each call gives, and when."""

from __future__ import annotations

import errno
import itertools
import selectors
import socket
from collections.abc import Callable
from typing import Any, cast

_FDS = itertools.count((1 << 30) + (1 << 20))  # descriptors that no process has


class FakeSocket:
    """One end of a connection, as whoever was given it sees it.

    Attributes:
        incoming: what comes, piece by piece; an error is raised; b"" is its end.
        taken: what the other side was sent.
        room: how many bytes the other side takes still; None for any.
        send_error: is raised by each `send`.
    """

    def __init__(self) -> None:
        self.fd = next(_FDS)
        self.incoming: list[bytes | OSError] = []
        self.taken = b""
        self.room: int | None = None
        self.send_error: OSError | None = None
        self.blocking = True
        self.closed = False

    @property
    def real(self) -> socket.socket:
        """The same, for who wants a socket."""
        return cast(socket.socket, self)

    def fileno(self) -> int:
        return -1 if self.closed else self.fd

    def gettimeout(self) -> float | None:
        return None if self.blocking else 0.0

    def setblocking(self, flag: bool) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "bad file descriptor")
        self.blocking = flag

    def recv(self, size: int) -> bytes:
        assert not self.closed
        assert not self.blocking, "it would wait"
        if not self.incoming:
            raise BlockingIOError
        one = self.incoming.pop(0)
        if isinstance(one, OSError):
            raise one
        if len(one) > size:
            self.incoming.insert(0, one[size:])
        return one[:size]

    def send(self, data: bytes) -> int:
        assert not self.closed
        assert not self.blocking, "it would wait"
        if self.send_error is not None:
            raise self.send_error
        if self.room == 0:
            raise BlockingIOError
        count = len(data) if self.room is None else min(self.room, len(data))
        self.taken += bytes(data[:count])
        if self.room is not None:
            self.room -= count
        return count

    def close(self) -> None:
        self.closed = True

    @property
    def readable(self) -> bool:
        return bool(self.incoming)

    @property
    def writable(self) -> bool:
        return self.room != 0


class FakeSelector:
    """What is registered, by descriptor; `turn` calls who has something to do."""

    def __init__(self) -> None:
        self.registered: dict[int, tuple[Any, int, Callable[[int], None]]] = {}
        self.refused = 0
        """So many registrations succeed, the next one fails; 0 for never."""

    @property
    def real(self) -> selectors.BaseSelector:
        return cast(selectors.BaseSelector, self)

    def register(self, what: Any, events: int, data: Callable[[int], None]) -> None:
        if self.refused:
            self.refused -= 1
            if not self.refused:
                raise OSError(errno.ENOSPC, "no watch is left")
        fd = self._fd(what)
        if fd in self.registered:
            raise KeyError(f"{fd} is registered already")
        self.registered[fd] = (what, events, data)

    def modify(self, what: Any, events: int, data: Callable[[int], None]) -> None:
        fd = self._fd(what)
        assert fd in self.registered
        self.registered[fd] = (what, events, data)

    def unregister(self, what: Any) -> None:
        del self.registered[self._fd(what)]

    def events(self, what: FakeSocket) -> int:
        """What is waited for at a socket; 0 for nothing."""
        return self.registered.get(what.fd, (None, 0, None))[1]

    def turn(self, *sockets: FakeSocket) -> None:
        """Call the handler of each socket that has something of what it waits for."""
        for one in sockets:
            if one.fd in self.registered:
                _, events, handler = self.registered[one.fd]
                ready = selectors.EVENT_READ if one.readable else 0
                ready |= selectors.EVENT_WRITE if one.writable else 0
                if ready & events:
                    handler(ready & events)

    def _fd(self, what: Any) -> int:
        fd = what if isinstance(what, int) else what.fileno()
        if fd < 0:
            raise ValueError(f"invalid file descriptor: {fd}")
        return int(fd)
