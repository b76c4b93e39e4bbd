"""Cancellation that reaches a thread while it waits on file descriptors."""

from __future__ import annotations

import os
import threading


class Wakeup:
    """An event with a file descriptor that is readable while the event is set.

    The descriptor is opened when it is first asked for: a thousand operations that wait for their
    turn need none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd = -1
        self._is_set = False
        self._closed = False

    def set(self) -> None:
        """Set the event: the descriptor becomes readable."""
        with self._lock:
            if not self._is_set and not self._closed:
                self._is_set = True
                if self._fd >= 0:
                    os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """Clear the event: the descriptor is not readable any more."""
        with self._lock:
            if self._is_set and not self._closed:
                self._is_set = False
                if self._fd >= 0:
                    os.eventfd_read(self._fd)

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed.

        Raises:
            OSError: the process has no descriptor left.
        """
        with self._lock:
            if self._fd < 0 and not self._closed:
                self._fd = os.eventfd(int(self._is_set), os.EFD_CLOEXEC | os.EFD_NONBLOCK)
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
        self._wakeup = Wakeup()
        self._lock = threading.Lock()
        self._closed = False
        self._flag = False

    def set(self) -> None:
        """Cancel; doing it again changes nothing."""
        with self._lock:
            if not self._closed:
                self._flag = True
                self._wakeup.set()

    @property
    def is_set(self) -> bool:
        """Whether it was cancelled."""
        return self._flag

    def fileno(self) -> int:
        """Return the descriptor that is readable from the cancellation on; -1 once it is closed.

        Raises:
            OSError: the process has no descriptor left.
        """
        return self._wakeup.fileno()

    def close(self) -> None:
        """Release the descriptor; the flag stays as it is."""
        with self._lock:
            self._closed = True
            self._wakeup.close()
