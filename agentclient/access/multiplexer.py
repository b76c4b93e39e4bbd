"""Runs many exchanges in one thread, none of which waits for another."""

from __future__ import annotations

import heapq
import itertools
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from agentclient.access.exchange import Exchange, NoAnswer
from agentclient.access.stream import StreamEnded

T = TypeVar("T")
# A step writes a few hundred bytes, which a socket takes at once or never.
_WRITE_S: Final = 0.0
# With so many exchanges in flight the thread waits a moment for more replies: to wake up costs more
# than to process a reply.
_MANY: Final = 6
_GATHER_S: Final = 0.002


@dataclass(slots=True, eq=False)
class _Flight:
    """An exchange that waits for bytes."""

    exchange: Exchange[Any]
    fd: int
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]
    over: bool = False


class Multiplexer:
    """Runs many exchanges at once. All methods but `wake` must be called from one thread."""

    def __init__(self) -> None:
        # Not the selectors module: its bookkeeping costs more than the waiting itself.
        self._epoll = select.epoll()
        self._waiting: dict[int, _Flight] = {}
        self._deadlines: list[tuple[float, int, _Flight]] = []
        self._order = itertools.count()
        self._flights = 0
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return a descriptor that is readable when `turn` has something to do."""
        return self._epoll.fileno()

    @property
    def in_flight(self) -> int:
        """The number of exchanges that have begun and not ended."""
        return self._flights

    def begin(
        self, exchange: Exchange[T], done: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> None:
        """Run an exchange's first step; `turn` runs the others.

        Args:
            exchange: the exchange.
            done: is called with the value that the steps return.
            failed: is called with the exception that they raise; it ends no other exchange (P8).
        """
        flight = _Flight(exchange, exchange.channel.fileno(), done, failed)
        self._flights += 1
        self._waiting[flight.fd] = flight
        heapq.heappush(self._deadlines, (exchange.deadline, next(self._order), flight))
        try:
            self._epoll.register(flight.fd, select.EPOLLIN)
        except OSError as error:  # no memory, or too many descriptors are waited for
            why = StreamEnded(f"it can't be waited for: {error.strerror}")
            self._step(flight, lambda: _broken_at_once(exchange, why))
        else:
            self._step(flight, lambda: next(exchange.steps))

    def turn(self, until: float) -> None:
        """Wait for bytes, but not beyond `until`, and run the steps that they are for.

        Args:
            until: time of the monotonic clock.
        """
        if self._deadlines:
            until = min(until, self._deadlines[0][0])
        if self._flights >= _MANY:
            time.sleep(_GATHER_S)
        wait = max(0.0, until - time.monotonic())
        for fd, _ in self._epoll.poll(wait):
            flight = self._waiting.get(fd)  # an earlier one in this round may have ended it
            if flight is not None:
                self._receive(flight)
            elif fd == self._wake_fd:
                os.eventfd_read(fd)
        self._expire(time.monotonic())

    def wake(self) -> None:
        """End a `turn` early; may be called from any thread."""
        with self._lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """End all exchanges, and release everything."""
        for _, _, flight in self._deadlines:
            if not flight.over:
                self._end(flight)
                flight.exchange.steps.close()
        self._deadlines.clear()
        with self._lock:
            self._epoll.close()
            os.close(self._wake_fd)
            self._wake_fd = -1

    def _receive(self, flight: _Flight) -> None:
        try:
            came = flight.exchange.channel.receive()
        except StreamEnded as error:
            self._throw(flight, error)
            return
        self._step(flight, lambda: flight.exchange.steps.send(came))

    def _throw(self, flight: _Flight, error: Exception) -> None:
        self._step(flight, lambda: flight.exchange.steps.throw(error))

    def _step(self, flight: _Flight, take: Callable[[], object]) -> None:
        """Run one step, and send what it yields."""
        try:
            data = take()
        except StopIteration as end:
            self._end(flight)
            self._tell(flight, end.value)
            return
        except Exception as error:  # noqa: BLE001 - P8: whatever it is, it is this exchange's alone
            self._end(flight)
            flight.failed(error)
            return
        if data:
            self._send(flight, data)

    def _tell(self, flight: _Flight, result: object) -> None:
        try:
            flight.done(result)
        except Exception as error:  # noqa: BLE001 - P8, as above
            flight.failed(error)

    def _send(self, flight: _Flight, data: object) -> None:
        try:
            flight.exchange.channel.send(data, _WRITE_S)
        except (StreamEnded, TimeoutError) as error:
            self._throw(flight, error)

    def _end(self, flight: _Flight) -> None:
        flight.over = True
        self._flights -= 1
        del self._waiting[flight.fd]
        if flight.exchange.channel.fileno() >= 0:  # else its closing has taken it out
            with suppress(OSError):  # somebody else has closed a session that is held, just now
                self._epoll.unregister(flight.fd)

    def _expire(self, now: float) -> None:
        while self._deadlines and (self._deadlines[0][2].over or self._deadlines[0][0] <= now):
            flight = heapq.heappop(self._deadlines)[2]
            if not flight.over:
                self._throw(flight, NoAnswer())
                if not flight.over:  # its steps ignore the timeout: end it
                    self._end(flight)
                    flight.exchange.steps.close()
                    flight.failed(TimeoutError("its steps do not end"))


def _broken_at_once(exchange: Exchange[Any], why: StreamEnded) -> object:
    """Run the first step, and let it end: steps that never began release no lock."""
    next(exchange.steps)
    return exchange.steps.throw(why)
