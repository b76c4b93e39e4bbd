"""Writes to the system's log, where no console is left to show something, without waiting for it.

A log that is full, or whose daemon is stopped, keeps its writers waiting: a holder that waited
would not thaw its other guests.
"""

from __future__ import annotations

import syslog
import threading
import time
from typing import Final

from agentclient.model.errors import NO_THREAD

# So many sentences may wait for the log at once; further ones are lost.
MOST_WAITING: Final = 8
CLOSING_S: Final = 1.0


class SystemLog:
    """Writes each sentence in a thread of its own."""

    def __init__(self) -> None:
        self._writing: list[threading.Thread] = []
        self._last = ""

    def tell(self, said: str) -> None:
        """Write a sentence, unless it was the last one as well; never waits."""
        self._writing = [one for one in self._writing if one.is_alive()]
        if said == self._last or len(self._writing) >= MOST_WAITING:
            return
        self._last = said
        thread = threading.Thread(target=_write, args=(said,), name="syslog", daemon=True)
        try:
            thread.start()
        except NO_THREAD:
            _write(said)  # it mostly takes no time, and nobody else would know
            return
        self._writing.append(thread)

    def close(self) -> None:
        """Wait until all is written, for `CLOSING_S` seconds at most."""
        until = time.monotonic() + CLOSING_S
        for thread in self._writing:
            thread.join(max(0.0, until - time.monotonic()))


def _write(said: str) -> None:
    syslog.openlog("frostwatch")
    syslog.syslog(syslog.LOG_ALERT, said)
