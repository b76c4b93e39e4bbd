"""When the window of a freeze was over: by the events that the freeze tells."""

from __future__ import annotations

import time
from typing import Protocol

from agentclient.model.events import Event, EventKind


class HasWindow(Protocol):
    """A freeze (`agentclient.operations.freeze`), as far as its window goes."""

    hold_ends_at: float | None

    @property
    def done(self) -> bool:
        """Whether it has ended."""


class WindowEnd:
    """The end of one window; its freeze's events are told to it, from whichever thread.

    A guest may write from the moment that its thaw is sent, which is long before that is
    acknowledged where it has hooks to run; and a window that is past its hold is thawed by others.

    Attributes:
        ended_at: when the freeze had ended, with its thaw (monotonic seconds); None before.
    """

    def __init__(self) -> None:
        self._thaw_sent_at: float | None = None
        self.ended_at: float | None = None

    def on_event(self, event: Event) -> None:
        """Take an event of the freeze."""
        now = time.monotonic()
        if event.kind is EventKind.THAW_SENT and self._thaw_sent_at is None:
            self._thaw_sent_at = now
        elif event.kind is EventKind.OUTCOME and self.ended_at is None:
            self.ended_at = now

    def closed_at(self, freeze: HasWindow | None) -> float | None:
        """Return when the window was over, at the earliest that is possible; None while it is open.

        Args:
            freeze: its freeze; None before that was begun.
        """
        now = time.monotonic()
        times = [self._thaw_sent_at, self.ended_at]
        if freeze is not None:
            times.append(freeze.hold_ends_at)
            if freeze.done and self.ended_at is None:
                times.append(now)
        passed = [at for at in times if at is not None and at <= now]
        return min(passed) if passed else None
