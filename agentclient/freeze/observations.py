"""What was seen of one freeze so far: the agent's answers, as facts for the verdict. Pure."""

from __future__ import annotations

from agentclient.freeze.evidence import Facts
from agentclient.freeze.freeze_plan import FreezePlan
from agentclient.freeze.port_watch import PortWatch
from agentclient.model.states import FreezeState


class Observations:
    """What the agent has said since the freeze was sent; times in seconds of the monotonic clock.

    Attributes:
        replied_at: when the freeze's own answer came; None if it has not.
        frozen: the number in that answer; None if it was no number.
        error: the agent's own words, where it answered with an error.
        passed_over: a later request was answered, so that the freeze will not be.
        status: the status that was asked after the freeze; None if it was not answered.
        status_at: when it was answered.
        written_before: the host's write counter by the first look that began after the answer.
    """

    def __init__(self) -> None:
        self.replied_at: float | None = None
        self.frozen: int | None = None
        self.error: str | None = None
        self.passed_over = False
        self.status: FreezeState | None = None
        self.status_at: float | None = None
        self.written_before: int | None = None

    @property
    def replied(self) -> bool:
        """Whether the freeze was answered."""
        return self.replied_at is not None

    @property
    def pending(self) -> bool:
        """Whether the freeze's own answer may still come."""
        return not self.replied and not self.passed_over

    @property
    def succeeded(self) -> bool:
        """Whether the agent has answered that it froze: then its status tells what is to be done.

        After a failed hook it says thawed, before a thaw and after it (protocol §3.8).
        """
        return self.replied and self.error is None

    def on_reply(self, now: float, frozen: int | None, error: str | None) -> None:
        """Take the freeze's answer.

        Args:
            now: the time.
            frozen: the number in it; None if it is no number.
            error: the agent's words, if it is an error; else None.
        """
        self.replied_at, self.frozen, self.error = now, frozen, error

    def on_status(self, now: float, status: FreezeState | None) -> None:
        """Take the answer to the status; None stands for one that can't be read."""
        self.status, self.status_at = status, now

    def on_look(self, written_bytes: int | None) -> None:
        """Take how many bytes the VM had written by a look at the monitor.

        The driver passes on what it has read before it looks, so that this look began after the
        answer. An older look would count what was flushed before the guest was frozen.
        """
        if self.replied and self.written_before is None:
            self.written_before = written_bytes

    def facts(
        self, now: float, plan: FreezePlan, watch: PortWatch, sent_at: float, *, cancelled: bool
    ) -> Facts:
        """Return what is known now, for the verdict.

        Args:
            now: the time.
            plan: the freeze's.
            watch: the port.
            sent_at: when the freeze was sent.
            cancelled: the operator asked to stop waiting.
        """
        # A port that was not seen since the answer proves nothing about what came before it.
        since = self.replied_at or sent_at
        seen = watch.seen_at is not None and watch.seen_at >= since
        return Facts(
            now=now,
            replied_at=self.replied_at,
            frozen=self.frozen,
            error=self.error,
            coverage=plan.coverage,
            covered_at=plan.covered_at,
            status=self.status,
            status_at=self.status_at,
            port_closed=watch.ever_closed if seen or watch.ever_closed else None,
            port_at=watch.seen_at,
            port_uncounted=watch.uncounted,
            port_problem=watch.view.problem or (None if watch.visible else "it has no state"),
            cause=watch.cause,
            read=watch.read,
            strict=plan.strict,
            cancelled=cancelled,
        )
