"""When a thaw is sent again, a connection is tried again, and when both are given up. Pure.

All times are seconds of the monotonic clock.
"""

from __future__ import annotations

from typing import Final

FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 30.0
# After a try to connect that failed, or a channel that broke anew: the first wait, and the longest.
FIRST_RECONNECT_S: Final = 0.1
LONGEST_RECONNECT_S: Final = 1.0
# A channel that stays away for so long, behind a relay that is gone, say, is tried more rarely: as
# often as keeps the next tries to a hundredth of the time that it was away for, up to the longest.
AWAY_S: Final = 300.0
AWAY_SHARE: Final = 0.01
LONGEST_AWAY_RECONNECT_S: Final = 60.0
# How long an agent has for its answer once the operator has given up.
LAST_CHANCE_S: Final = 0.8


class ThawSchedule:
    """The times of one thaw.

    Args:
        timeout_s: the bound, counted from when the agent is free to run the thaw.
        patience_s: how much longer a pending freeze before it may take.
        now: the time.

    Attributes:
        ends_at: when it is given up.
        agent_is_free: no freeze stands before the thaw any more, so that the bound runs.
        retry_at: when the thaw's answer is overdue, so that another sync is due.
        connect_at: when the next try to connect is due, where there is no channel.
    """

    def __init__(self, timeout_s: float, patience_s: float, now: float) -> None:
        self._timeout_s = timeout_s
        self.ends_at = now + timeout_s + patience_s
        self.agent_is_free = patience_s <= 0
        self.retry_at = now + FIRST_RETRY_S
        self._retry_s = FIRST_RETRY_S
        self.connect_at = now
        self._reconnect_s = 0.0
        self._away_since: float | None = None

    def on_agent_free(self, now: float) -> None:
        """Count the bound from here: no freeze stands before the thaw any more."""
        if not self.agent_is_free:
            self.agent_is_free = True
            self.ends_at = now + self._timeout_s

    def give_up_soon(self, now: float) -> None:
        """Give the agent a moment for its answer, then give up."""
        self.agent_is_free = True
        self.ends_at = min(self.ends_at, now + LAST_CHANCE_S)

    def on_sent(self, now: float, *, repeated: bool) -> None:
        """Take that a thaw was sent.

        Args:
            now: the time.
            repeated: a thaw before it was not answered: then the wait stays as long as it has
                become.
        """
        if not repeated:
            self._retry_s = FIRST_RETRY_S
        self.retry_at = now + self._retry_s

    def on_asked(self, now: float) -> None:
        """Take that the status was asked."""
        self.retry_at = now + FIRST_RETRY_S

    def on_retried(self, now: float) -> None:
        """Take that another sync is sent: the next wait is twice as long."""
        self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)
        self.retry_at = now + self._retry_s

    def retry_at_once(self, now: float) -> None:
        """Send again at once: the host does not keep the guest from answering any more."""
        self.retry_at = now

    def on_disconnected(self, now: float) -> None:
        """Take that the channel broke, or could not be opened."""
        if self._away_since is None:
            self._away_since = now
        away_s = now - self._away_since
        self.connect_at = now + self._reconnect_s
        # A socket that takes us and drops us at once is no better than none.
        wait_s = max(2 * self._reconnect_s, FIRST_RECONNECT_S)
        longest_s = LONGEST_RECONNECT_S
        if away_s > AWAY_S:
            longest_s = min(max(longest_s, away_s * AWAY_SHARE), LONGEST_AWAY_RECONNECT_S)
        self._reconnect_s = min(wait_s, longest_s)

    def on_connected(self, now: float) -> None:
        """Take that another channel was opened."""
        self._retry_s = FIRST_RETRY_S
        self.retry_at = now + FIRST_RETRY_S

    def on_synced(self) -> None:
        """Take that a sync was answered: if the channel breaks now, connect again at once."""
        self._away_since = None
        self._reconnect_s = 0.0
