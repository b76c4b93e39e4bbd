"""Queues what a holder records in the journal, and writes it without delaying a thaw.

The journal is imported and opened at the first take-over only, so that a holder that just stands by
stays small. The journal's own thread writes, and its errors are ignored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.messages import Body
from agentclient.late import load

if TYPE_CHECKING:
    from agentclient.holder.record_writer import RecordWriter

CLOSING_S = 1.0
# Seconds for which the records wait for a thaw: a healthy guest has thawed by then.
PATIENCE_S = 0.5


class Records:
    """A queue of records for the journal."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._flush_at = 0.0
        self._made: RecordWriter | None = None

    def taken(self, body: Body, why: str, *, kept: bool = False) -> None:
        """Queue the record of a take-over; `flush` writes it.

        Args:
            body: the console's message that armed the guest (`Do.ARM`).
            why: why the holder has taken over.
            kept: its console had left it, and it was held to its end.
        """
        if not self._waiting:
            self._flush_at = time.monotonic() + PATIENCE_S
        self._waiting.append(lambda: self._writer.taken(body, why, kept=kept))

    def done(self, body: Body, report: ThawReport) -> None:
        """Queue the report of a thaw; `flush` writes it."""
        self._waiting.append(lambda: self._writer.done(body, report))

    def changed(self, body: Body, what: str, more_s: float) -> None:
        """Queue what another process has changed of a window; `flush` writes it.

        Args:
            body: the console's message that armed the guest (`Do.ARM`).
            what: what has happened, one clause.
            more_s: by how many seconds the window ends later.
        """
        self._waiting.append(lambda: self._writer.changed(body, what, more_s))

    def flush(self, *, thawing: bool) -> None:
        """Write the queued records.

        Args:
            thawing: a guest is being thawed: wait for it, but not longer than `PATIENCE_S`.
        """
        if not self._waiting or (thawing and time.monotonic() < self._flush_at):
            return
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            with suppress(Exception):  # a broken journal must not stop the holder
                write()

    def close(self) -> None:
        """Write the queued records, and wait for the journal, for `CLOSING_S` seconds at most."""
        self.flush(thawing=False)
        if self._made is not None:
            self._made.close(CLOSING_S)

    @property
    def _writer(self) -> RecordWriter:
        """The writer; its first use imports the journal."""
        if self._made is None:
            self._made = load("agentclient.holder.record_writer", "RecordWriter")()
        return self._made
