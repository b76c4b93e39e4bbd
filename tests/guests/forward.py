"""A forward before a guest's agent, as `socat` or `ssh -L` make one: it breaks, and comes back."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from pathlib import Path
from typing import Self


class Forward:
    """Passes bytes between its own socket and another one; serves one client at a time.

    Args:
        target: QEMU's socket.
        path: where it listens.
    """

    def __init__(self, target: Path, path: Path) -> None:
        self.path = path
        self._target = target
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        """Listen."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._serve, args=(listener,), name="forward", daemon=True).start()

    def end(self) -> None:
        """End: its clients are dropped, and its socket's file is away."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self.path.unlink()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with self._lock:
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def away(self, seconds: float) -> None:
        """Be away for a while."""
        self.end()
        time.sleep(seconds)
        self.begin()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as qemu, selectors.DefaultSelector() as both:
            qemu.connect(str(self._target))
            with self._lock:
                self._ends = [client, qemu]
            both.register(client, selectors.EVENT_READ, qemu)
            both.register(qemu, selectors.EVENT_READ, client)
            with contextlib.suppress(OSError):
                while True:
                    for key, _ in both.select():
                        assert isinstance(key.fileobj, socket.socket)
                        data = key.fileobj.recv(65536)
                        if not data:
                            return
                        key.data.sendall(data)
