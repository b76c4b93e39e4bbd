"""Passes the calls of a session to the holder, which makes them in the console's place.

So one process talks to the guest: a console that was stopped before its freeze can't send it after
the holder has thawed and gone (protocol §8.1). Each packet is one JSON object; a packet of the
console is a request, one of the holder an event.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from agentclient.access.agent_session import SEND_S
from agentclient.access.call_session import CallSession, NotSent
from agentclient.access.stream import Channel, StreamEnded
from agentclient.model.states import Cause
from agentclient.protocol.qga_events import Failure, PassedOver, Reply, Synced, WireEvent

MOST_BYTES: Final = 60 * 1024
"""A longer reply is not passed on: what comes between a freeze and its thaw is short."""
_MOST_CHARACTERS: Final = MOST_BYTES // 16  # each takes 12 bytes at the most


class CallRelay:
    """The console's end: what a `CallSession` does here, by calls that the holder makes.

    Args:
        channel: the channel to the holder; packets, not a stream.
        bounds: the bound of each command that has one of its own, in seconds.

    Attributes:
        lost: the holder's end has closed.
    """

    def __init__(self, channel: Channel, bounds: Mapping[str, float]) -> None:
        self._channel = channel
        self.lost = False
        for command, seconds in bounds.items():
            with suppress(StreamEnded, TimeoutError):  # `receive` tells it
                self.allow(command, seconds)

    def fileno(self) -> int:
        """Return a descriptor that is readable when `receive` has something."""
        return self._channel.fileno()

    def allow(self, command: str, seconds: float) -> None:
        """Set the bound of a command, in seconds."""
        self._send({"allow": command, "seconds": seconds})

    def sync(self, ticket: int, deadline: float) -> None:
        """Let the holder prove that the agent answers (see `CallSession.sync`)."""
        self._send({"sync": ticket}, deadline)

    def ask(
        self, ticket: int, command: str, arguments: Mapping[str, object] | None, deadline: float
    ) -> None:
        """Let the holder make a call."""
        self._send({"ask": ticket, "command": command, "arguments": arguments}, deadline)

    def start_anew(self) -> None:
        """Let the holder continue after the agent had gone."""
        self._send({"anew": True})

    def receive(self) -> list[WireEvent]:
        """Return the event that has come, without waiting.

        Raises:
            StreamEnded: the agent, the connection to it, or the holder has gone.
            NotSent: the freeze that was asked for has not been sent.
        """
        try:
            packet = self._channel.receive()
        except StreamEnded:
            self.lost = True
            raise
        return [_event(_object(packet))] if packet else []

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _send(self, body: Mapping[str, object], deadline: float | None = None) -> None:
        until = time.monotonic() + SEND_S if deadline is None else deadline
        try:
            self._channel.send(json.dumps(body).encode(), until)
        except StreamEnded:
            self.lost = True
            raise


def carry_out(session: CallSession, packet: bytes) -> tuple[int, str] | None:
    """Do what a packet of the console asks of a session.

    Returns:
        The request's number and its command; None if nothing is asked of the agent.

    Raises:
        StreamEnded: the session has broken.
    """
    match _object(packet):
        case {"allow": str(command), "seconds": int() | float() as seconds}:
            session.allow(command, seconds)
        case {"sync": int(ticket)}:
            session.sync(ticket, 0.0)
            return ticket, ""
        case {"ask": int(ticket), "command": str(command), "arguments": dict() | None as arguments}:
            session.ask(ticket, command, arguments, 0.0)
            return ticket, command
        case {"anew": True}:
            session.start_anew()
    return None


def told(event: WireEvent) -> bytes:
    """Return an event of a session as a packet for the console."""
    match event:
        case Reply(ticket, value):
            try:
                packet = json.dumps({"reply": ticket, "value": value}).encode()
            except (TypeError, ValueError, RecursionError):
                return _failed(ticket, "its reply is no JSON")
            too_long = f"its reply has {len(packet)} bytes"
            return packet if len(packet) <= MOST_BYTES else _failed(ticket, too_long)
        case Failure(ticket, error_class, desc):
            return _failed(ticket, desc, error_class)
        case Synced(ticket):
            return json.dumps({"synced": ticket}).encode()
        case PassedOver(ticket):
            return json.dumps({"passed": ticket}).encode()
    raise ValueError(event)


def told_end(error: StreamEnded | NotSent) -> bytes:
    """Return, as a packet for the console, that a session has broken or has not sent a freeze."""
    text = str(error)[:_MOST_CHARACTERS]
    if isinstance(error, NotSent):
        return json.dumps({"refused": text}).encode()
    return json.dumps({"ended": text, "cause": error.cause}).encode()


def _failed(ticket: int, desc: str, error_class: str = "") -> bytes:
    body = {"failure": ticket, "class": error_class[:80], "desc": desc[:_MOST_CHARACTERS]}
    return json.dumps(body).encode()


def _event(body: Mapping[str, object]) -> WireEvent:
    match body:
        case {"reply": int(ticket), "value": value}:
            return Reply(ticket, value)
        case {"failure": int(ticket), "class": str(error_class), "desc": str(desc)}:
            return Failure(ticket, error_class, desc)
        case {"synced": int(ticket)}:
            return Synced(ticket)
        case {"passed": int(ticket)}:
            return PassedOver(ticket)
        case {"refused": str(text)}:
            raise NotSent(text)
        case {"ended": str(text), "cause": str(cause)}:
            raise StreamEnded(text, Cause(cause))
    raise StreamEnded("the holder says what can't be read")


def _object(packet: bytes) -> Mapping[str, object]:
    try:
        body = json.loads(packet)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
