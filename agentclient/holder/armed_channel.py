"""One guest that a holder has, as the console sees it: its channel, and what becomes of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from agentclient.access.stream import Channel
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.guest_standby import AskedFor, ChannelEnd
from agentclient.holder.process import HolderProcess, NoHolder

# Seconds between a channel's end and the message that tells why, which uses another socket.
WHY_ENDED_S: Final = 0.5
# A wait for the holder notices after so long that it was cancelled.
CANCELLED_S: Final = 0.1


@dataclass(slots=True)
class ArmedChannel:
    """One armed guest, as the console sees it.

    Attributes:
        key: names the guest in messages to the holder.
        channel: what the console uses to talk to the guest; the holder relays it.
        spare: the connection to the agent, unused unless the holder dies; `NO_CHANNEL` if the guest
            is reached by calls.
        holder: the holder that stands by.
        taken: why the holder has taken over; None if it has not.
        over: the hold was over when the holder took over.
        report: the report of the holder's thaw; None until that has ended.
        thaw_announced: the holder was told that the console may send a thaw.
        on_report: is called, in another thread, with that report.
        on_holder_lost: is called, in another thread, if the holder goes without one.
        on_asked: is called, in another thread, with what another process asks for.
        thawed: how many file systems were thawed, for others that wait for it; None: not known.
    """

    key: str
    channel: Channel
    spare: Channel
    holder: HolderProcess | None = None
    taken: str | None = None
    over: bool = False
    report: ThawReport | None = None
    thaw_announced: bool = False
    on_report: Callable[[ThawReport], None] = lambda _: None
    on_holder_lost: Callable[[], None] = lambda: None
    on_asked: Callable[[AskedFor], None] = lambda _: None
    thawed: int | None = None
    _end: socket.socket | None = None
    _decided: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _why: ChannelEnd = ChannelEnd.BROKEN
    _reached: threading.Event = field(default_factory=threading.Event)
    _not_reached: str | None = None

    def connect(self, timeout_s: float, cancelled: Callable[[], bool]) -> None:
        """Wait until the holder has reached a guest by calls.

        Args:
            timeout_s: how long to wait, in seconds.
            cancelled: ends the wait early.

        Raises:
            NoHolder: it has not, or not in time.
        """
        until = time.monotonic() + timeout_s
        while not self._reached.wait(CANCELLED_S):
            if cancelled():
                raise NoHolder("it was cancelled")
            if time.monotonic() >= until:
                raise NoHolder(f"the holder has not reached the guest within {timeout_s:g} s")
        if self._not_reached is not None:
            raise NoHolder(f"the holder can't reach the guest: {self._not_reached}")

    def reach(self, why: str | None) -> None:
        """Record that the guest was reached, or why not; only the client calls this."""
        self._not_reached = why
        self._reached.set()

    def why_ended(self, timeout_s: float = WHY_ENDED_S) -> ChannelEnd:
        """Return why the channel has ended.

        Args:
            timeout_s: how long to wait for the holder's message about it, in seconds.
        """
        self._decided.wait(timeout_s)
        return self._why

    @property
    def lost(self) -> bool:
        """Whether the holder has gone without a report of its thaw."""
        return self.report is None and self._ended.is_set()

    def wait(self, timeout_s: float) -> ThawReport | None:
        """Return the report of the holder's thaw; None if it has not ended in time.

        Args:
            timeout_s: how long to wait, in seconds.
        """
        self._ended.wait(timeout_s)
        return self.report

    def take(self, why: str, *, over: bool = False) -> None:
        """Record that the holder has taken over; only the client calls this."""
        self.taken, self.over = why, over
        self.decide(ChannelEnd.TAKEN)

    def lose(self) -> None:
        """Record that the holder has gone; only the client calls this."""
        self.decide(ChannelEnd.LOST)
        if not self._reached.is_set():
            self.reach("it has gone")
        self._ended.set()
        if self._end is not None:  # a holder stuck in the kernel would keep its end open
            with suppress(OSError):
                self._end.shutdown(socket.SHUT_RDWR)
        if self.lost:
            self.on_holder_lost()

    def decide(self, end: ChannelEnd) -> None:
        """Record why the channel ends; the first reason counts. Only the client calls this."""
        if not self._decided.is_set():
            self._why = end
            self._decided.set()

    def end(self, report: ThawReport) -> None:
        """Record the report of the holder's thaw; only the client calls this."""
        self.report = report
        self._ended.set()
        self.on_report(report)

    def close(self) -> None:
        """Close the console's ends of both channels; the holder keeps its own."""
        self.channel.close()
        self.spare.close()
