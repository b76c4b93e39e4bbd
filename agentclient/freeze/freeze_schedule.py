"""When a freeze's step is over, what is waited for then, and how often its port is looked at. Pure.

All times are seconds of the monotonic clock.
"""

from __future__ import annotations

from math import inf
from typing import Final

from agentclient.freeze.freeze_plan import FreezeStage
from agentclient.model.request import Schedule

# How long the channel is read for a last reply once the port was seen closed; and as long again
# where a new agent has opened it already, so that it can be asked what it knows.
DRAIN_S: Final = 0.3
# The agent has just answered: a status that takes longer is evidence that is missing.
VERIFY_S: Final = 5.0
WATCH_S: Final = 0.25
WATCH_CLOSELY_S: Final = 0.05
# An agent that is restarted at once closes its port for some 0.1 s. Where QEMU does not count that
# (before 7.2, and without an id of the port), only looks as close as this see it.
WATCH_UNCOUNTED_S: Final = 0.03


class FreezeSchedule:
    """The times of one freeze up to its verdict (protocol §4).

    Args:
        schedule: how long it is waited for.
        now: when it is sent.

    Attributes:
        sent_at: when it was sent.
        step: 1 for the first timeout, then one more for each probe.
        step_ends_at: when the step's timeout runs out.
        until: until when something else than the freeze's own answer is waited for.
    """

    def __init__(self, schedule: Schedule, now: float) -> None:
        self._schedule = schedule
        self.step = 1
        self.until = inf
        self._can_drain_more = False
        self.on_sent(now)

    @property
    def ends_at(self) -> float:
        """When the bounded wait for the freeze's answer ends at the latest."""
        return self.sent_at + self._schedule.total_s

    def on_sent(self, now: float) -> None:
        """Take that the freeze is sent now."""
        self.sent_at = now
        self.step_ends_at = now + self._schedule.first_timeout_s

    def next_step(self) -> bool:
        """Begin the next step; return whether there is one."""
        if self.step >= self._schedule.steps:
            return False
        self.step += 1
        self.step_ends_at += self._schedule.probe_timeout_s
        return True

    def wait(self, now: float, stage: FreezeStage) -> None:
        """Wait for what the channel still holds, or for the agent's status."""
        self._can_drain_more = stage is FreezeStage.DRAINING
        self.until = now + (DRAIN_S if self._can_drain_more else VERIFY_S)

    def drain_once_more(self, now: float) -> None:
        """Wait as long again for what the channel still holds: once, whatever the port does."""
        if self._can_drain_more:
            self._can_drain_more = False
            self.until = now + DRAIN_S

    def wait_no_more(self) -> None:
        """Wait for nothing but the freeze's own answer, or the end of its window."""
        self.until = inf


def watch_every_s(stage: FreezeStage, *, uncounted: bool) -> float:
    """Return after how many seconds the monitor should be looked at again.

    Args:
        stage: where the freeze is.
        uncounted: nothing counts the port's openings between two looks.
    """
    if uncounted and stage in (FreezeStage.PENDING, FreezeStage.VERIFYING, FreezeStage.HELD):
        return WATCH_UNCOUNTED_S
    close = stage in (FreezeStage.DRAINING, FreezeStage.VERIFYING)
    return WATCH_CLOSELY_S if close else WATCH_S
