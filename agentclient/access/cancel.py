"""Cancellation that reaches a thread while it waits on file descriptors."""

from __future__ import annotations

import os
import threading


class Bell:
    """A descriptor that is readable while it rings; it is opened when it is first asked for.

    What waits its turn before anything is done has none yet: a thousand operations may.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd = -1
        self._rings = False
        self._closed = False

    def ring(self) -> None:
        """Be readable."""
        with self._lock:
            if not self._rings and not self._closed:
                self._rings = True
                if self._fd >= 0:
                    os.eventfd_write(self._fd, 1)

    def hush(self) -> None:
        """Be readable no more."""
        with self._lock:
            if self._rings and not self._closed:
                self._rings = False
                if self._fd >= 0:
                    os.eventfd_read(self._fd)

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed.

        Raises:
            OSError: the process has none left for it.
        """
        with self._lock:
            if self._fd < 0 and not self._closed:
                self._fd = os.eventfd(int(self._rings), os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            return self._fd

    def close(self) -> None:
        """Release the descriptor; doing it again changes nothing."""
        with self._lock:
            self._closed = True
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __del__(self) -> None:
        self.close()


class Cancellation:
    """A flag that is set once, and a file descriptor that becomes readable with it.

    It can be waited for together with a socket, so that a cancellation ends a wait at once and
    not at the next round of a polling loop (P1).
    """

    def __init__(self) -> None:
        self._bell = Bell()
        self._lock = threading.Lock()
        self._closed = False
        self._flag = False

    def set(self) -> None:
        """Cancel; doing it again changes nothing."""
        with self._lock:
            if not self._closed:
                self._flag = True
                self._bell.ring()

    @property
    def is_set(self) -> bool:
        """Whether it was cancelled."""
        return self._flag

    def fileno(self) -> int:
        """Return the descriptor that is readable from the cancellation on; -1 once it is closed.

        Raises:
            OSError: the process has none left for it.
        """
        return self._bell.fileno()

    def close(self) -> None:
        """Release the descriptor; the flag stays as it is."""
        with self._lock:
            self._closed = True
            self._bell.close()
