"""What a holder has done in its console's place, written into the journal by a thread of its own.

Nothing in here is imported, and no file is touched, before a take-over: a holder that only stands
by stays small. Whatever is wrong with the journal, no thaw waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.messages import Body

if TYPE_CHECKING:
    from agentclient.holder.record_writer import RecordWriter

CLOSING_S = 1.0
# A guest that can thaw at once has done so by then.
PATIENCE_S = 0.5


class Records:
    """A holder's hand on its console's journal."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._flush_at = 0.0
        self._made: RecordWriter | None = None

    def taken(self, body: Body, why: str) -> None:
        """Note a take-over; it is written by `flush`.

        Args:
            body: how the console described the guest (`Do.ARM`).
            why: why the holder has taken over.
        """
        if not self._waiting:
            self._flush_at = time.monotonic() + PATIENCE_S
        self._waiting.append(lambda: self._writer.taken(body, why))

    def done(self, body: Body, report: ThawReport) -> None:
        """Note what the holder's thaw came to; it is written by `flush`."""
        self._waiting.append(lambda: self._writer.done(body, report))

    def flush(self, *, thawing: bool) -> None:
        """Write what was noted.

        Args:
            thawing: a guest is being thawed: that comes first, unless it takes its time.
        """
        if not self._waiting or (thawing and time.monotonic() < self._flush_at):
            return
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            with suppress(Exception):  # the history is worth neither a guest nor a holder
                write()

    def close(self) -> None:
        """Wait a moment until everything is written."""
        self.flush(thawing=False)
        if self._made is not None:
            self._made.close(CLOSING_S)

    @property
    def _writer(self) -> RecordWriter:
        """What writes; the journal is behind it, and imported with it."""
        if self._made is None:
            made = import_module("agentclient.holder.record_writer").RecordWriter()
            self._made = made
        return self._made
