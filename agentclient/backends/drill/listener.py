"""A listening socket that serves one client at a time, as QEMU does; others wait unanswered.

Two more clients may connect, and the kernel refuses the next one (protocol §1.2). The bytes of a
client that wrote and left while it waited are still read.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Protocol

_READ = 65536
_AT_ONCE = 1 << 20
_QUEUE = 1
_NO_ROOM_S = 0.01


class ClientHandler(Protocol):
    """The handler of a socket's client."""

    def on_connect(self) -> None:
        """A client is served from now on."""

    def on_data(self, data: bytes) -> None:
        """The client has written."""

    def on_disconnect(self) -> None:
        """The client has left."""


class Loop:
    """An event loop: epoll with a callback for each descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}

    def watch(self, fd: int, events: int, ready: Callable[[int], None]) -> None:
        """Register a descriptor; `ready` is called with its events."""
        self._ready[fd] = ready
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events of a registered descriptor."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Unregister a descriptor; to be called before it is closed."""
        self._ready.pop(fd, None)
        self._epoll.unregister(fd)

    def close(self) -> None:
        """Close the loop."""
        self._ready.clear()
        self._epoll.close()

    def run_once(self, timeout_s: float) -> None:
        """Wait for events, and call their callbacks; a negative time has no bound."""
        for fd, events in self._epoll.poll(timeout_s):
            ready = self._ready.get(fd)  # an earlier callback may have closed it
            if ready is not None:
                ready(events)


class ListeningSocket:
    """One listening socket.

    Args:
        loop: the event loop.
        path: the socket's path; no file may be there yet.
        make_handler: makes the handler of its clients.
        accepts: False to serve nobody, as if another client stayed connected for ever.
    """

    __slots__ = ("_accepts", "_client", "_handler", "_listener", "_loop", "_pending", "path")

    def __init__(
        self,
        loop: Loop,
        path: str,
        make_handler: Callable[[ListeningSocket], ClientHandler],
        *,
        accepts: bool = True,
    ) -> None:
        self.path = path
        self._loop = loop
        self._client: socket.socket | None = None
        self._pending = bytearray()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        self._listener.listen(_QUEUE)
        self._handler = make_handler(self)
        self._accepts = accepts
        self._loop.watch(self._listener.fileno(), _ONCE if accepts else 0, self._accept)

    def serve(self, *, accepts: bool) -> None:
        """Serve the next client, or nobody until it is said again."""
        if accepts is not self._accepts:
            self._accepts = accepts
            if self._client is None:
                self._await_client()

    def _await_client(self) -> None:
        self._loop.change(self._listener.fileno(), _ONCE if self._accepts else 0)

    def write(self, data: bytes) -> None:
        """Queue bytes for the current client, and send them as it reads them."""
        if self._client is None or not data:
            return
        waits = bool(self._pending)
        self._pending += data
        if not waits and not self._flush() and self._client is not None:
            self._loop.change(self._client.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def drop(self) -> None:
        """Disconnect the current client, if there is one; the next one is served then."""
        if self._client is not None:
            self._drop(self._client)

    def close(self) -> None:
        """Stop listening, and disconnect the current client."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._listener.close()

    def remove(self) -> None:
        """Remove the socket's file."""
        os.unlink(self.path)  # noqa: PTH108 - ten thousand of them

    def _accept(self, _: int) -> None:
        try:
            client, _address = self._listener.accept()
        except OSError:  # no descriptor is free: others must leave first
            time.sleep(_NO_ROOM_S)
            self._await_client()
            return
        client.setblocking(False)
        self._client = client
        self._loop.watch(client.fileno(), select.EPOLLIN, self._happened)
        self._handler.on_connect()

    def _happened(self, events: int) -> None:
        if events & select.EPOLLOUT and self._flush() and self._client is not None:
            self._loop.change(self._client.fileno(), select.EPOLLIN)
        if events & ~select.EPOLLOUT and self._client is not None:
            self._read(self._client)

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._handler.on_data(data)
        else:
            self._drop(client)

    def _flush(self) -> bool:
        """Send queued bytes as far as the client takes them; return whether all were sent."""
        client = self._client
        if client is None:
            return True
        try:
            while self._pending:
                with memoryview(self._pending) as view:
                    sent = client.send(view[:_AT_ONCE])
                del self._pending[:sent]
        except BlockingIOError:
            return False
        except OSError:
            self._drop(client)
        return True

    def _drop(self, client: socket.socket) -> None:
        self._loop.forget(client.fileno())
        client.close()
        self._client = None
        self._pending.clear()
        self._handler.on_disconnect()
        self._await_client()  # the next one may be waiting already


# One client is served at a time: the listener is enabled again when that client has left.
_ONCE = select.EPOLLIN | select.EPOLLONESHOT
