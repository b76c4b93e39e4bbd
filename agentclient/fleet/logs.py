"""The recent log lines of each VM, bounded for each VM and in total, whatever a guest sends (P7).

The journal, if there is one, keeps the lines of freezes and thaws for longer.
"""

from __future__ import annotations

import sys
from collections import deque
from datetime import datetime, tzinfo
from itertools import islice
from typing import Final

from agentclient.model.snapshot import LogLine
from agentclient.model.states import Level
from agentclient.model.vm import VmId

DEFAULT_LINES: Final = 500
DEFAULT_BYTES: Final = 12 * 1024 * 1024
# The memory of a line beside its text: its objects, and its places in two queues.
_LINE_BYTES: Final = 200


# A line without its number, which follows from its place: Python allocates each int above 256.
_Entry = tuple[datetime, Level, str]


class _Log:
    """One VM's lines, numbered from 1.

    Attributes:
        lines: the lines that are kept, oldest first.
        last: the number of the newest line, which may have been dropped.
        overtaken: how many of its entries in the common queue belong to dropped lines.
    """

    __slots__ = ("last", "lines", "overtaken")

    def __init__(self) -> None:
        self.lines: deque[_Entry] = deque()
        self.last = 0
        self.overtaken = 0


class Logs:
    """The logs of all VMs. Not thread-safe: the caller holds a lock.

    Args:
        lines: how many lines are kept for each VM; its oldest are dropped first.
        total_bytes: about how many bytes are kept in total; the oldest lines are dropped first.
    """

    def __init__(self, *, lines: int = DEFAULT_LINES, total_bytes: int = DEFAULT_BYTES) -> None:
        self._most_lines = lines
        self._most_bytes = total_bytes
        self._logs: dict[VmId, _Log] = {}
        self._bytes = 0
        self._queue: deque[_Log] = deque()  # the VM's log of each line, oldest line first
        self._overtaken = 0
        self._zones: dict[tzinfo | None, tzinfo | None] = {}

    def add(self, vm_id: VmId, at: datetime, level: Level, text: str) -> datetime:
        """Append a line to a VM's log, and return its time as it is kept.

        Args:
            vm_id: the VM.
            at: the wall clock's time.
            level: its severity.
            text: the line, safe to show.
        """
        log = self._logs.setdefault(vm_id, _Log())
        log.last += 1
        # Each reading of the wall clock brings a time zone of its own, larger than the time.
        at = at.replace(tzinfo=self._zones.setdefault(at.tzinfo, at.tzinfo))
        log.lines.append((at, level, text))
        self._bytes += _bytes(text)
        self._queue.append(log)
        if len(log.lines) > self._most_lines:
            self._overtake(log)
        self._make_room()
        return at

    def since(self, vm_id: VmId, number: int = 0) -> tuple[LogLine, ...]:
        """Return a VM's lines that came after `number`.

        A number that was never given is of a log that was forgotten since: then all are returned.
        """
        log = self._logs.get(vm_id)
        if log is None:
            return ()
        gone, number = log.last - len(log.lines), number if number <= log.last else 0
        known = max(number - gone, 0)
        lines = islice(log.lines, known, None)
        return tuple(LogLine(each, *line) for each, line in enumerate(lines, gone + known + 1))

    def forget(self, vm_id: VmId) -> None:
        """Drop a VM's log."""
        log = self._logs.pop(vm_id, None)
        while log is not None and log.lines:
            self._overtake(log)
        self._make_room()

    def _overtake(self, log: _Log) -> None:
        """Drop a VM's oldest line, although other VMs have older ones; its entry stays queued."""
        self._drop(log)
        log.overtaken += 1
        self._overtaken += 1

    def _drop(self, log: _Log) -> None:
        self._bytes -= _bytes(log.lines.popleft()[2])

    def _make_room(self) -> None:
        while self._bytes > self._most_bytes and len(self._queue) > 1:
            log = self._queue.popleft()
            if log.overtaken:
                log.overtaken -= 1
                self._overtaken -= 1
            else:
                self._drop(log)
        if self._overtaken > len(self._queue) // 2:
            self._tidy()

    def _tidy(self) -> None:
        """Remove the common queue's entries that belong to dropped lines."""
        kept: deque[_Log] = deque()
        for log in self._queue:
            if log.overtaken:
                log.overtaken -= 1
            else:
                kept.append(log)
        self._queue = kept
        self._overtaken = 0


def _bytes(text: str) -> int:
    return _LINE_BYTES + sys.getsizeof(text)
