"""The recent lines of all VMs' logs in one row, as they came; bounded, whatever guests send (P7).

A VM that is forgotten keeps its lines here, and none of a VM's lines pushes out another VM's: what
falls out is the oldest, and how many lines that were is counted.
"""

from __future__ import annotations

import sys
from collections import deque
from datetime import datetime
from itertools import islice
from typing import Final, NamedTuple

from agentclient.model.states import Level
from agentclient.model.vm import VmId

DEFAULT_LINES: Final = 10_000
DEFAULT_BYTES: Final = 6 * 1024 * 1024
# The memory of a line beside its text, which it mostly shares with its VM's log.
_LINE_BYTES: Final = 120


class FleetLine(NamedTuple):
    """A line of a VM's log, among those of all VMs.

    Attributes:
        number: counts up from 1 for all VMs together.
        vm: whose log it is of.
        at: when it happened (wall clock).
        level: how much it matters.
        text: safe to show, but *not* markup.
    """

    number: int
    vm: VmId
    at: datetime
    level: Level
    text: str


class RecentLines:
    """The newest lines. Not thread-safe: the caller holds a lock.

    Args:
        lines: how many are kept; the oldest are dropped first.
        total_bytes: about how many bytes are kept.
    """

    def __init__(self, *, lines: int = DEFAULT_LINES, total_bytes: int = DEFAULT_BYTES) -> None:
        self._most_lines = lines
        self._most_bytes = total_bytes
        self._lines: deque[tuple[VmId, datetime, Level, str]] = deque()
        self._bytes = 0
        self.dropped = 0

    def add(self, vm_id: VmId, at: datetime, level: Level, text: str) -> None:
        """Append a line.

        Args:
            vm_id: the VM.
            at: the wall clock's time.
            level: its severity.
            text: the line, safe to show.
        """
        self._lines.append((vm_id, at, level, text))
        self._bytes += _bytes(text)
        while len(self._lines) > self._most_lines or (
            self._bytes > self._most_bytes and len(self._lines) > 1
        ):
            self._bytes -= _bytes(self._lines.popleft()[3])
            self.dropped += 1

    def since(self, number: int = 0) -> tuple[FleetLine, ...]:
        """Return the lines that came after `number`, oldest first."""
        known = max(number - self.dropped, 0)
        first = self.dropped + known + 1
        lines = islice(self._lines, known, None)
        return tuple(FleetLine(each, *line) for each, line in enumerate(lines, first))


def _bytes(text: str) -> int:
    return _LINE_BYTES + sys.getsizeof(text)
