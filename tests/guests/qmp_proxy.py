"""A monitor that lacks something: QEMU's own, behind a relay that misspells a command's name."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self


class PoorerMonitor:
    """Relays a QMP socket, so that a command is one that QEMU does not know.

    Args:
        target: QEMU's socket.
        path: where to listen.
        lacks: the command.
    """

    def __init__(self, target: Path, path: Path, lacks: str) -> None:
        self.path = path
        self._target = target
        self._lacks = lacks.encode()
        # Of the same length, and no command.
        self._instead = b"X" * len(self._lacks)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, name="poorer-monitor", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._relay(client)

    def _relay(self, client: socket.socket) -> None:
        """Serve one client at a time, as QEMU does."""
        with client, socket.socket(socket.AF_UNIX) as qemu:
            qemu.connect(str(self._target))
            answers = threading.Thread(target=_copy, args=(qemu, client), daemon=True)
            answers.start()
            # Our client writes whole commands, so that no name is ever cut.
            while data := client.recv(65536):
                qemu.sendall(data.replace(self._lacks, self._instead))
            qemu.shutdown(socket.SHUT_RDWR)
            answers.join(5.0)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
