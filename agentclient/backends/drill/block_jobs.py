"""One block job of a simulated guest, pure: how far it is follows from the time alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentclient.backends.drill.copy_troubles import CANCELLED, NO_SPACE, RATE


@dataclass(slots=True)
class DrillJob:
    """One job.

    Attributes:
        id: its id.
        type: what it does, in QEMU's word.
        disk: the disk that it reads; empty if it reads none.
        total: bytes to copy.
        since: when its speed was set last; seconds of the guests' clock.
        base: bytes that were copied by then.
        rate: bytes a second without a limit.
        limit: the most bytes a second; 0 without a limit.
        stops_at: bytes after which it copies nothing any more; None if it goes on.
        fails_at: bytes after which its target is full; None if it has room.
        again: it begins anew when it is complete.
        ended: it has ended, well or not.
        error: why it failed; None if it has not.
        group: the jobs that are cancelled if it fails; they share one list.
    """

    id: str
    type: str
    disk: str
    total: int
    since: float
    base: int = 0
    rate: int = RATE
    limit: int = 0
    stops_at: int | None = None
    fails_at: int | None = None
    again: bool = False
    ended: bool = False
    error: str | None = None
    group: tuple[str, ...] = ()

    def done(self, now: float) -> int:
        """Return the bytes that are copied by now."""
        if self.ended:
            return self.base
        rate = min(self.rate, self.limit or self.rate)
        found = self.base + int(rate * max(now - self.since, 0.0))
        if self.again and self.total:
            return found % self.total
        ends = [end for end in (self.total, self.stops_at, self.fails_at) if end is not None]
        return min(found, *ends)

    def set_limit(self, now: float, limit: int) -> None:
        """Limit its speed from now on."""
        self.base, self.since = self.done(now), now
        self.limit = limit

    def end(self, now: float, error: str | None = None) -> None:
        """End it; QEMU keeps it until it is dismissed."""
        if not self.ended:
            self.base = self.done(now)
            self.ended, self.error = True, error

    def advance(self, now: float) -> bool:
        """End it if it has come to its end; return whether it has failed just now."""
        if self.ended:
            return False
        done = self.done(now)
        if self.fails_at is not None and done >= self.fails_at:
            self.end(now, NO_SPACE)
            return True
        if done >= self.total and not self.again and self.type != "mirror":
            self.end(now)
        return False

    def is_ready(self, now: float) -> bool:
        """Return whether its target is equal to its disk."""
        return self.type == "mirror" and not self.ended and self.done(now) >= self.total

    def cancel(self, now: float, *, force: bool) -> None:
        """Cancel it; a mirror that is ready ends as a copy unless it is forced."""
        kept = self.is_ready(now) and not force
        self.end(now, None if kept else CANCELLED)

    def status(self, now: float) -> str:
        """Return QEMU's word for where it is."""
        return "concluded" if self.ended else "ready" if self.is_ready(now) else "running"

    def to_query_jobs(self, now: float) -> dict[str, Any]:
        """Return its entry in the reply to ``query-jobs``."""
        error = {} if self.error is None else {"error": self.error}
        return {
            "id": self.id,
            "type": self.type,
            "status": self.status(now),
            "current-progress": self.done(now),
            "total-progress": self.total,
            **error,
        }

    def to_query_block_jobs(self, now: float) -> dict[str, Any]:
        """Return its entry in the reply to ``query-block-jobs``."""
        return {
            "device": self.id,
            "type": self.type,
            "status": self.status(now),
            "len": self.total,
            "offset": self.done(now),
            "speed": self.limit,
            "busy": not self.ended,
            "paused": False,
            "ready": self.is_ready(now),
            "io-status": "ok",
            "auto-finalize": True,
            "auto-dismiss": False,
        }
