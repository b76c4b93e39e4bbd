"""Cancellation that reaches a thread while it waits on file descriptors."""

from __future__ import annotations

import os
import threading


class Cancellation:
    """A flag that is set once, and a file descriptor that becomes readable with it.

    It can be waited for together with a socket, so that a cancellation ends a wait at once and
    not at the next round of a polling loop (P1).
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._flag = False

    def set(self) -> None:
        """Cancel; doing it again changes nothing."""
        with self._lock:
            if not self._flag and self._fd >= 0:
                self._flag = True
                os.eventfd_write(self._fd, 1)

    @property
    def is_set(self) -> bool:
        """Whether it was cancelled."""
        return self._flag

    def fileno(self) -> int:
        """Return the descriptor that is readable from the cancellation on."""
        return self._fd

    def close(self) -> None:
        """Release the descriptor; the flag stays as it is."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __del__(self) -> None:
        self.close()
