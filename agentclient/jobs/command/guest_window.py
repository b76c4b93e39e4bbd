"""One guest's window around a command: when it was open, by the events of its freeze."""

from __future__ import annotations

from collections.abc import Callable

from agentclient.jobs.context import JobContext
from agentclient.jobs.window_end import WindowEnd
from agentclient.model.events import Event, EventKind
from agentclient.model.outcome import Outcome
from agentclient.model.states import OutcomeKind
from agentclient.operations.freeze import FreezeOperation


class GuestWindow:
    """The window of one guest.

    Args:
        context: the collaborators of the job on its VM.
        news: is called when something has happened to it.

    Attributes:
        context: as given.
        freeze: its freeze; None before it was begun.
        verified_at: when it was found open and verified (monotonic seconds); None before.
        outcome: how its freeze ended; None before.
        is_told: its verdict was told, so that its window opens within moments.
    """

    def __init__(self, context: JobContext, news: Callable[[], None]) -> None:
        self.context = context
        self.freeze: FreezeOperation | None = None
        self.verified_at: float | None = None
        self.outcome: Outcome | None = None
        self.is_told = False
        self._news = news
        self._end = WindowEnd()

    def on_event(self, event: Event) -> None:
        """Take an event of its freeze, from whichever thread tells it."""
        if event.kind is EventKind.VERDICT:
            self.is_told = True
        self._end.on_event(event)
        if self.context.on_event is not None:
            self.context.on_event(event)
        self._news()

    @property
    def is_opened(self) -> bool:
        """Whether its window has opened, verified or not, or its freeze has ended."""
        return self.freeze is not None and self.freeze.wait_opened(0)

    @property
    def is_verified(self) -> bool:
        """Whether it is open and verified now."""
        freeze = self.freeze
        if freeze is None or not self.is_opened or self.closed_at is not None:
            return False
        return freeze.verdict is not None and freeze.verdict.kind is OutcomeKind.VERIFIED

    @property
    def ends_at(self) -> float | None:
        """When it ends on its own (monotonic seconds); None if it is not open."""
        return None if self.freeze is None else self.freeze.hold_ends_at

    @property
    def closed_at(self) -> float | None:
        """When it was over, at the earliest that is possible; None while it is open."""
        return self._end.closed_at(self.freeze)

    @property
    def thawed_at(self) -> float | None:
        """When its freeze had ended, with its thaw; None before."""
        return self._end.ended_at

    def end(self) -> None:
        """Thaw the guest now, or as soon as its agent answers; doing it again changes nothing."""
        if self.freeze is None or self.freeze.done:
            return
        if self.is_opened:
            self.freeze.end_hold()
        else:
            self.freeze.cancel()

    def cancel(self) -> None:
        """Stop to wait for it, and thaw the guest."""
        if self.freeze is not None:
            self.freeze.cancel()

    def give_up(self) -> None:
        """Leave the thaw to the holder."""
        if self.freeze is not None:
            self.freeze.give_up()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of its freeze; return whether it has ended."""
        if self.freeze is None:
            return True
        self.outcome = self.freeze.wait(timeout_s)
        return self.outcome is not None
