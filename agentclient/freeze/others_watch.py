"""What another client of an agent's channel has pending, from looks at the monitor alone. Pure.

Protocol §10: QEMU counts what it has handed to the guest, what the guest has not read yet, and what
the guest has answered. Not a byte is sent to the agent.

These counts show no command that came in one piece with a sync, as Proxmox's do: the sync's answer
is all that moves. But a client that connects for one command alone waits for as long as it stays.

A command that they have left pending, or that was lost, may have frozen the guest, whoever is
connected since: that stays so until an agent has answered somebody.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from agentclient.freeze.port_watch import GUEST_ENDED, Change, PortWatch
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, OthersState

PENDING_AFTER_S: Final = 1.0
# A channel on which nothing moves for so long is idle.
IDLE_AFTER_S: Final = 1.0
_INDEXES: Final = 1 << 16
# States that end by themselves, where nothing moves and nothing is pending.
_AT_REST: Final = frozenset({OthersState.TALKING, OthersState.ANSWERED, OthersState.UNKNOWN})
_LOSES: Final = GUEST_ENDED | {
    Change.CLOSED,
    Change.RESTARTED,
    Change.RESET,
    Change.DEVICE_RESET,
}


class OthersEventKind(StrEnum):
    """What a look has shown of another client."""

    CAME = "came"
    PENDING = "pending"
    ANSWERED = "answered"
    LOST = "lost"
    LEFT = "left"


class OthersEvent(NamedTuple):
    """One thing that another client has met; times are seconds of the monotonic clock.

    Attributes:
        kind: what.
        at: when it was seen.
        since: when the command was seen that it is about; when the client was, if it is about none.
        cause: why the command is lost; None if it is not.
        certain: it is proven that a command waits, and not only likely.
        left: who had sent it has left before.
    """

    kind: OthersEventKind
    at: float
    since: float
    cause: Cause | None = None
    certain: bool = False
    left: bool = False


class OthersWatch:
    """Watches one channel while somebody else holds it.

    Args:
        view: the first look that shows the other client.
        now: when that was (seconds of the monotonic clock).

    Attributes:
        state: what the client has pending.
        since: since when that is so.
        cause: why its command is lost; None while it is not.
        took_s: how long its last command took that was pending for a second or more; None if none.
        certain: with *pending*: a command is proven to wait behind it, or in front of an agent that
            does not read.
        leaving: the client has left, and the next look, at what is counted, tells with what.
        has_left: with *lost* and *left*: who had sent it has left.
    """

    def __init__(self, view: MonitorView, now: float) -> None:
        self._port = PortWatch(view, now)
        self._traffic = view.traffic
        self._outstanding = 0
        self._read_at: float | None = None  # when the oldest command without an answer was seen
        self._began = now
        self._moved_at: float | None = None
        self._told_pending = False
        self._presumed = False
        self.state = OthersState.HELD if view.traffic is None else OthersState.UNKNOWN
        self.since = now
        self.cause: Cause | None = None
        self.took_s: float | None = None
        self.certain = False
        self.leaving = False
        self.has_left = False
        self._is_there = True
        self._take_unread(now, view)

    @property
    def why_blind(self) -> str | None:
        """Why it can't be told what is pending, as a clause; None if it can."""
        if self._traffic is not None:
            return None
        return "this QEMU, or this kind of port, does not count what the agent reads and answers"

    @property
    def waits_since(self) -> float:
        """When the command was seen that is pending, lost or left."""
        return self.since if self._read_at is None else self._read_at

    def on_look(self, now: float, view: MonitorView, *, waits: bool = False) -> list[OthersEvent]:
        """Take one look at the monitor.

        Args:
            now: seconds of the monotonic clock.
            view: what it showed.
            waits: the client connects for one command at a time, so that it waits while it stays.

        Returns:
            What the look before did not show, in order.
        """
        if view.client:
            self._come()
        if waits:
            self._presume(view)
        changes = self._port.on_look(now, view)
        events: list[OthersEvent] = []
        if self._read_at is not None and not _LOSES.isdisjoint(changes):
            events += self._lose(now)
        events += self._take_traffic(now, view)
        self._improve_cause()
        if view.client is False or view.gone:
            if not self._is_there:
                return events
            if self._may_have_been_answered(view):
                self.leaving = True
                return events
            events.append(self._leave(now))
        elif self._read_at is not None and now - self._read_at >= PENDING_AFTER_S:
            events += self._pend(now)
        elif self._read_at is None and self.state in _AT_REST:
            self._rest(now)
        return events

    def _come(self) -> None:
        """Take that somebody is connected; what was left pending waits on, as before."""
        self.leaving = False
        if not self._is_there and self.state is OthersState.LEFT:
            self._told_pending = False
        self._is_there = True

    def _take_traffic(self, now: float, view: MonitorView) -> list[OthersEvent]:
        before, after = self._traffic, view.traffic
        if after is None:
            return []
        self._traffic = after
        if before is None:
            return []
        handed = (after.handed - before.handed) % _INDEXES
        answers = (after.answers - before.answers) % _INDEXES
        if not self._is_there:  # whoever has asked the agent meanwhile is none of them
            self._read_at = None if answers else self._read_at  # it answers in order
            return []
        if self._port.device_reset and after.handed < before.handed:
            self._outstanding = 0  # the queues were set up anew, and count from 0
            return []
        if self.state is OthersState.LOST and view.client is False:
            handed = 0  # what the lost one's client had not sent yet goes when it has left
        events = self._answer(now) if answers else []
        # One write may hold several commands, and one command have several answers.
        self._outstanding = max(0, self._outstanding + handed - answers)
        if handed or answers:
            self._moved_at = now
        if self._outstanding and self._read_at is None and handed:
            self._begin(now)
        self._take_unread(now, view)
        if self._read_at is None and not events and (handed or answers):
            self._go(OthersState.TALKING, now)
        return events

    def _take_unread(self, now: float, view: MonitorView) -> None:
        """Take what the agent has not read: it is at work on something, or does not run on."""
        unread = view.traffic.unread if view.traffic is not None else 0
        self.certain = unread > 0
        if unread:
            self._outstanding = max(self._outstanding, unread)
            if self._read_at is None and self.state is not OthersState.LOST:
                self._begin(now)

    def _presume(self, view: MonitorView) -> None:
        """Take that a command waits since the channel was silent, unless no agent runs.

        What is written to a closed port is dropped when its client leaves.
        """
        waiting = self._read_at is not None or self.state is OthersState.LOST
        if waiting or self._traffic is None or not view.client or self._port.open is False:
            return
        self._outstanding = max(1, self._outstanding)
        self._begin(self._began if self._moved_at is None else self._moved_at)
        self._presumed = True

    def _begin(self, now: float) -> None:
        if self.state is not OthersState.LOST:
            self._port.cause = None  # what befell an earlier one explains nothing about this one
        self._read_at, self._told_pending, self._presumed = now, False, False

    def _answer(self, now: float) -> list[OthersEvent]:
        since, told = self._read_at, self._told_pending
        self._read_at, self._told_pending, self.cause = None, False, None
        if self.state is OthersState.LOST:
            self._go(OthersState.TALKING, now)  # a new agent answers what came later
        if since is None or not told:
            return []
        self.took_s = now - since
        self._go(OthersState.ANSWERED, now)
        return [OthersEvent(OthersEventKind.ANSWERED, now, since)]

    def _pend(self, now: float) -> list[OthersEvent]:
        assert self._read_at is not None, "a command waits"
        if self._told_pending:
            return []
        self._told_pending = True
        self._go(OthersState.PENDING, self._read_at)
        return [OthersEvent(OthersEventKind.PENDING, now, self._read_at, certain=self.certain)]

    def _lose(self, now: float) -> list[OthersEvent]:
        assert self._read_at is not None, "a command was waiting"
        since, self._read_at, self._told_pending = self._read_at, None, False
        self._outstanding = 0
        self.cause = self._port.cause or Cause.UNKNOWN
        self._go(OthersState.LOST, since, has_left=not self._is_there)
        gone = not self._is_there
        return [OthersEvent(OthersEventKind.LOST, now, since, self.cause, left=gone)]

    def _improve_cause(self) -> None:
        """A later look may explain better why the port closed: a guest that was reset, say."""
        if self.state is OthersState.LOST and self._port.cause is not None:
            self.cause = self._port.cause

    def _may_have_been_answered(self, view: MonitorView) -> bool:
        """Return whether it can't be told yet if a client left with its answer or without it.

        Then one more look is taken, at what is counted.
        """
        uncounted = view.traffic is None and self._traffic is not None and not view.gone
        return uncounted and self._read_at is not None and not self.leaving

    def _leave(self, now: float) -> OthersEvent:
        since = self._read_at if self._read_at is not None else self.since
        pending = self._read_at is not None and (self._told_pending or not self._presumed)
        self._is_there = self.leaving = False
        if pending or self.state is not OthersState.LOST:
            self._go(OthersState.LEFT if pending else OthersState.IDLE, now, has_left=pending)
        else:
            self.has_left = True
        return OthersEvent(OthersEventKind.LEFT, now, since, self.cause, certain=pending)

    def _rest(self, now: float) -> None:
        if self._moved_at is not None and now - self._moved_at >= IDLE_AFTER_S:
            self._go(OthersState.IDLE, self._moved_at)

    def _go(self, state: OthersState, since: float, *, has_left: bool = False) -> None:
        if state is not self.state:
            self.state, self.since, self.has_left = state, since, has_left
