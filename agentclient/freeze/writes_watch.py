"""Whether a guest that wrote steadily writes no more, by the host's counter. Pure.

A guest that is frozen writes nothing. But neither does one that has nothing to write, one whose
host keeps it from running, or one whose storage hangs: so silence proves nothing, and makes a
freeze likely only where it is much longer than any that the guest has made before.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Final

from agentclient.model.others import WritesSeen
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState

# What a guest has written longer ago tells nothing about how it writes now.
_REMEMBERED_S: Final = 300.0
# How often it has to have been seen writing, and how long a steady one is silent at the most.
_LEAST_MOVES: Final = 5
_MOST_GAP_S: Final = 20.0
# For how long it has to be watched before its silence can be said to be nothing new.
_LEAST_WATCHED_S: Final = 40.0
# Silence counts when it is so many times as long as the longest before, and so long at the least.
_TIMES: Final = 3.0
_LEAST_SILENCE_S: Final = 10.0
# A command is seen so much later than it was read, at the most.
_SEEN_LATE_S: Final = 3.0


class WritesWatch:
    """Watches the counter of the bytes that one guest writes.

    Attributes:
        looked_at: when the counter was last seen (seconds of the monotonic clock); -inf if never.
    """

    __slots__ = ("_bytes", "_first_at", "_moves", "_runs_since", "looked_at")

    def __init__(self) -> None:
        self._bytes: int | None = None
        self._first_at = float("inf")
        self._moves: deque[float] = deque()
        self._runs_since: float | None = None  # None while the host keeps it from writing
        self.looked_at = float("-inf")

    def on_look(self, now: float, view: MonitorView) -> None:
        """Take one look at the monitor.

        Args:
            now: seconds of the monotonic clock.
            view: what it showed.
        """
        if view.run_state is not RunState.RUNNING:
            self._runs_since = None
        elif self._runs_since is None:
            self._runs_since = now
        before, after = self._bytes, view.written_bytes
        if after is None:
            return
        self._bytes, self.looked_at = after, now
        if before is None or after < before:  # it counts from its start, as another guest's does
            self._moves.clear()
            self._first_at = now
        elif after > before:
            self._moves.append(now)
            while now - self._moves[0] > _REMEMBERED_S:
                self._moves.popleft()

    @property
    def wrote_at(self) -> float | None:
        """When it was last seen to have written (monotonic clock); None if never."""
        return self._moves[-1] if self._moves else None

    def since(self, sent: float) -> WritesSeen | None:
        """Return what its writes tell about a command.

        Args:
            sent: when the command was seen (monotonic clock).

        Returns:
            None if they tell nothing yet, or can't be seen.
        """
        runs, wrote, gap = self._runs_since, self.wrote_at, self._longest_gap()
        if runs is None or self._bytes is None:
            return None
        steady = False
        if wrote is not None and gap is not None:
            steady = wrote >= sent - max(gap, _SEEN_LATE_S)
            silence = self.looked_at - max(wrote, runs)
            if steady and silence >= max(_LEAST_SILENCE_S, _TIMES * gap):
                return WritesSeen.STOPPED
        if wrote is not None and wrote > sent + _SEEN_LATE_S:
            return WritesSeen.GO_ON
        long_enough = sent - self._first_at >= _LEAST_WATCHED_S
        silent = self.looked_at - sent >= _LEAST_SILENCE_S
        return WritesSeen.SPARSE if not steady and long_enough and silent else None

    def _longest_gap(self) -> float | None:
        """Return how long it was silent at the most, in seconds; None if it wrote too rarely."""
        if len(self._moves) < _LEAST_MOVES:
            return None
        moves = list(self._moves)
        longest = max(after - before for before, after in pairwise(moves))
        return longest if longest <= _MOST_GAP_S else None
