"""Relays bytes between a guest's channel and the console, with backpressure."""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

READ_BYTES: Final = 64 * 1024
SHORT: Final = (errno.ENOMEM, errno.ENOBUFS)
"""Errors of the system, not of the connection: they pass, and the call is repeated later."""


class Relay:
    """Relays bytes between two sockets, which it makes non-blocking.

    While one side does not read, the other is not read either, so that a guest that floods a
    stopped console costs no memory.

    Args:
        selector: where the sockets are registered, with the method to call as data.
        guest: the agent's channel.
        console: the holder's end of the socket pair to the console.
        ended: is called once, with the side that has ended: "guest" or "console".
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        guest: socket.socket,
        console: socket.socket,
        ended: Callable[[str], None],
    ) -> None:
        self._selector = selector
        self._sides = {"guest": guest, "console": console}
        self._unsent = {"guest": b"", "console": b""}
        self._ended = ended
        self._over = False
        self.to_guest = 0
        """Number of bytes sent to the guest."""
        self.from_guest = 0
        """Number of bytes received from the guest."""
        self._events = {"guest": 0, "console": 0}
        try:
            for side, connection in self._sides.items():
                connection.setblocking(False)
                self._register(side, selectors.EVENT_READ)
        except BaseException:
            self._forget()
            raise

    def stop(self) -> None:
        """Stop relaying, drop what was read but not sent, and close the console's end."""
        if self._over:
            return
        self._over = True
        self._forget()
        self._sides["console"].close()

    def _forget(self) -> None:
        for side in self._sides:
            with suppress(KeyError, ValueError):
                self._register(side, 0)

    def _handler(self, side: str) -> Callable[[int], None]:
        def handle(events: int) -> None:
            if events & selectors.EVENT_WRITE and not self._over:
                self._flush(side)
            if events & selectors.EVENT_READ and not self._over:
                self._read(side)

        return handle

    def _read(self, side: str) -> None:
        try:
            data = self._sides[side].recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in SHORT:
                return
            data = b""
        if not data:
            self._end(side)
            return
        if side == "guest":
            self.from_guest += len(data)
        other = _other(side)
        self._unsent[other] += data
        self._flush(other)

    def _flush(self, side: str) -> None:
        unsent = self._unsent[side]
        try:
            sent = self._sides[side].send(unsent) if unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if error.errno not in SHORT:
                self._end(side)
                return
            sent = 0
        if side == "guest":
            self.to_guest += sent
        self._unsent[side] = unsent[sent:]
        self._watch()

    def _watch(self) -> None:
        """Read from a side only while nothing is unsent to the other."""
        for side in self._sides:
            read = 0 if self._unsent[_other(side)] else selectors.EVENT_READ
            self._register(side, read | (selectors.EVENT_WRITE if self._unsent[side] else 0))

    def _register(self, side: str, events: int) -> None:
        connection, before = self._sides[side], self._events[side]
        if events == before:
            return
        if not events:
            self._selector.unregister(connection)
        elif before:
            self._selector.modify(connection, events, self._handler(side))
        else:
            self._selector.register(connection, events, self._handler(side))
        self._events[side] = events

    def _end(self, side: str) -> None:
        if not self._over:
            self._ended(side)


def _other(side: str) -> str:
    return "console" if side == "guest" else "guest"
