"""Connecting to a UNIX socket whose path has any length."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

# A socket's address has room for so many bytes, one of them the zero at its end.
_ADDRESS_BYTES: Final = 108


def connect_to(connection: socket.socket, path: Path) -> None:
    """Connect a UNIX socket to a path of any length.

    Raises:
        OSError: it can't be had.
        ValueError: this is no path.
    """
    if len(os.fsencode(path)) < _ADDRESS_BYTES:
        connection.connect(str(path))
        return
    # A longer one has no room in an address; an open descriptor of the same file has a short name.
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{found}")
    finally:
        os.close(found)
