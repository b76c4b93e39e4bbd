"""The checksum of a file, which may be large, on a storage that may hang."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from agentclient.jobs.errors import JobFailed
from agentclient.model.errors import NO_THREAD

BLOCK: Final = 4 << 20
TICK_S: Final = 0.1
# A read that takes longer does not come back.
HANGS_S: Final = 60.0


class Checksum:
    """Reads one file in a thread of its own, and tells how far it is.

    Args:
        handle: the file; it is closed when it was read, or when its read comes back at last.

    Attributes:
        done: bytes that were read.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._digest = hashlib.sha256()
        self._problem: str | None = None
        self.done = 0

    def run(self, tick: Callable[[int], object]) -> str:
        """Read it, and return its SHA-256 in hexadecimal digits.

        Args:
            tick: is called about ten times a second with the bytes that were read; what it raises
                ends the reading.

        Raises:
            JobFailed: it can't be read, or a read takes longer than 60 s.
        """
        try:
            threading.Thread(target=self._read, name="checksum", daemon=True).start()
        except NO_THREAD as error:
            os.close(self._handle)
            raise JobFailed(f"this host has no thread left: {error}") from error
        last, since = -1, time.monotonic()
        try:
            while not self._ended.wait(TICK_S):
                if self.done != last:
                    last, since = self.done, time.monotonic()
                elif time.monotonic() - since > HANGS_S:
                    raise JobFailed(f"reading it hangs for {HANGS_S:g} s")
                tick(self.done)
        finally:
            self._stop.set()
        if self._problem is not None:
            raise JobFailed(f"it can't be read: {self._problem}")
        return self._digest.hexdigest()

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                block = os.read(self._handle, BLOCK)
                if not block:
                    break
                self._digest.update(block)
                self.done += len(block)
        except OSError as error:
            self._problem = error.strerror or str(error)
        finally:
            os.close(self._handle)
            self._ended.set()
