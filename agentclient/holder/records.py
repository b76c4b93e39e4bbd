"""Queues what a holder records in the journal, and writes it without delaying a thaw.

The journal is imported and opened at the first record only, so that a holder that just stands by
stays small; and in a thread, since a disk that hangs must not keep the holder from a thaw. The
journal's own thread writes, and its errors are ignored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.messages import Body
from agentclient.late import load
from agentclient.model.errors import NO_THREAD

if TYPE_CHECKING:
    from agentclient.holder.record_writer import RecordWriter

CLOSING_S = 1.0
# Seconds for which the import of the journal is waited for in the end.
IMPORTED_S = 5.0
# Seconds for which the records wait for a thaw: a healthy guest has thawed by then.
PATIENCE_S = 0.5


class Records:
    """A queue of records for the journal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None  # while it writes
        self._flush_at = 0.0
        self._made: RecordWriter | None = None

    def taken(self, body: Body, why: str, *, kept: bool = False) -> None:
        """Queue the record of a take-over; `flush` writes it.

        Args:
            body: the console's message that armed the guest (`ConsoleMessage.ARM`).
            why: why the holder has taken over.
            kept: its console had left it, and it was held to its end.
        """
        if not self._waiting:
            self._flush_at = time.monotonic() + PATIENCE_S
        self._add(lambda: self._writer.taken(body, why, kept=kept))

    def done(self, body: Body, report: ThawReport) -> None:
        """Queue the report of a thaw; `flush` writes it."""
        self._add(lambda: self._writer.done(body, report))

    def changed(self, body: Body, what: str, more_s: float) -> None:
        """Queue what another process has changed of a window; `flush` writes it.

        Args:
            body: the console's message that armed the guest (`ConsoleMessage.ARM`).
            what: what has happened, one clause.
            more_s: by how many seconds the window ends later.
        """
        self._add(lambda: self._writer.changed(body, what, more_s))

    def noted(self, body: Body, warning: str) -> None:
        """Queue what a person has to know of a guest; `flush` writes it."""
        self._add(lambda: self._writer.noted(body, warning))

    def _add(self, write: Callable[[], None]) -> None:
        with self._lock:
            self._waiting.append(write)

    def flush(self, *, thawing: bool) -> None:
        """Begin to write the queued records; never waits.

        Args:
            thawing: a guest is being thawed: wait for it, but not longer than `PATIENCE_S`.
        """
        if not self._waiting or (thawing and time.monotonic() < self._flush_at):
            return
        with self._lock:
            if self._thread is not None:
                return  # it goes on with these
            thread = threading.Thread(target=self._write, name="records", daemon=True)
            self._thread = thread
        try:
            thread.start()
        except NO_THREAD:  # the next turn tries again
            self._thread = None

    def _write(self) -> None:
        """Write all that is queued; in a thread."""
        while True:
            with self._lock:
                waiting, self._waiting = self._waiting, []
                if not waiting:
                    self._thread = None
                    return
            for write in waiting:
                with suppress(Exception):  # a broken journal must not stop the holder
                    write()

    def close(self) -> None:
        """Write the queued records, and wait for that for a few seconds at most."""
        self.flush(thawing=False)
        thread = self._thread
        if thread is not None:
            thread.join(IMPORTED_S)
        else:
            self._write()  # if there was no thread for it
        if self._made is not None:
            self._made.close(CLOSING_S)

    @property
    def _writer(self) -> RecordWriter:
        """The writer; its first use imports the journal."""
        if self._made is None:
            self._made = load("agentclient.holder.record_writer", "RecordWriter")()
        return self._made
