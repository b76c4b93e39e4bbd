"""The way to another host, which a test cuts: what is on it is lost, and nobody is told of that."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Self

_TURN_S = 0.05
_MOST = 1 << 16


class CutLink:
    """Passes TCP connections on to a port, until it is cut; a context manager.

    Args:
        host: of both ends.
        port: where it leads.

    Attributes:
        port: where it listens.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._cut = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._serve, name="link", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Let nothing pass any more: both ends wait for each other, as where a cable was pulled."""
        self._cut.set()

    def mend(self) -> None:
        """Let new connections pass; those from before stay lost."""
        self.drop()
        self._cut.clear()

    def drop(self) -> None:
        """End all connections, and tell both ends."""
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.socket() as far, selectors.DefaultSelector() as both:
            with self._lock:
                self._ends += [client, far]
            if not self._cut.is_set():
                far.connect(self._target)
            both.register(client, selectors.EVENT_READ, far)
            both.register(far, selectors.EVENT_READ, client)
            with contextlib.suppress(OSError):
                self._carry(both)

    def _carry(self, both: selectors.DefaultSelector) -> None:
        while not self._closed.is_set():
            if self._cut.is_set():
                # Both ends stay connected, and silent, until they are dropped.
                self._closed.wait(_TURN_S)
                continue
            for key, _ in both.select(_TURN_S):
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(_MOST)
                if not data:
                    return
                if not self._cut.is_set():
                    key.data.sendall(data)
