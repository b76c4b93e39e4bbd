"""What the console and its holder tell each other: one JSON object a packet, descriptors beside it.

Every request is acknowledged by its number, with whether it was done, so that the console knows
that the holder stands by before a freeze is sent. Beats are acknowledged, too: a holder that is
silent for as long as an acknowledgement may take stands by no more.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from agentclient.model.vm import Peer, Process

VERSION: Final = 2
"""Both ends must be of the same one: `HELLO` asks, before anything else is said."""
MOST_BYTES: Final = 64 * 1024
MOST_DESCRIPTORS: Final = 2
# The console says that it lives this often; without it for so long, it is taken to be stopped.
BEAT_S: Final = 0.25
SILENCE_S: Final = 1.0

Body = Mapping[str, object]


class Do(StrEnum):
    """What the console asks of the holder."""

    HELLO = "hello"  # are you there?
    ARM = "arm"  # here is a guest's channel, and the end through which we talk to it
    INTENT = "intent"  # the next bytes are a freeze; or one was sent on a connection before this
    HOLD = "hold"  # the window is open, and ends in so many seconds
    THAWING = "thawing"  # our own thaw may be sent from now on: ask before another one is
    TAKE = "take"  # we leave it: thaw it in our place
    DISARM = "disarm"  # it is thawed: forget it
    BEAT = "beat"  # we live


class Say(StrEnum):
    """What the holder tells the console."""

    ACK = "ack"  # done as asked, or why not
    TAKEN = "taken"  # the conversation is the holder's now
    BROKEN = "broken"  # the guest's own end has closed: QEMU has gone, or dropped us
    DONE = "done"  # what came of it


def pack(body: Body) -> bytes:
    """Return a message as a packet."""
    return json.dumps(body, separators=(",", ":")).encode()


def unpack(packet: bytes) -> dict[str, object]:
    """Return what a packet says; nothing if it can't be read."""
    try:
        body = json.loads(packet)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def send(connection: socket.socket, body: Body, descriptors: Sequence[int] = ()) -> None:
    """Send one message, or none: it never waits.

    Raises:
        BlockingIOError: the other side does not read; nothing was sent.
        OSError: it has gone.
    """
    if descriptors:
        socket.send_fds(connection, [pack(body)], list(descriptors), socket.MSG_DONTWAIT)
    else:
        connection.send(pack(body), socket.MSG_DONTWAIT)


def receive(connection: socket.socket) -> tuple[dict[str, object], list[int]] | None:
    """Receive one message and its descriptors; None at the end.

    Raises:
        BlockingIOError: nothing has come.
        OSError: the other side was killed.
    """
    packet, descriptors, _, _ = socket.recv_fds(connection, MOST_BYTES, MOST_DESCRIPTORS)
    if not packet and not descriptors:
        return None
    return unpack(packet), descriptors


def number(body: Body, key: str, default: float = 0.0) -> float:
    """Return a number of a message."""
    value = body.get(key)
    return float(value) if isinstance(value, int | float) else default


def text(body: Body, key: str) -> str:
    """Return a string of a message; empty if it has none."""
    value = body.get(key)
    return value if isinstance(value, str) else ""


def peer_in(peer: Peer | None) -> object:
    """Return who must listen on a VM's sockets, for a message."""
    return None if peer is None else [peer.process, peer.uid]


def peer_of(body: Body, key: str = "peer") -> Peer | None:
    """Return who must listen on a VM's sockets, as a message has it.

    What can't be read is nobody: then no new connection is made.
    """
    match body.get(key):
        case None:
            return None
        case [[int(pid), int(ticks)], int() | None as uid]:
            return Peer(Process(pid, ticks), uid)
        case [None, int() | None as uid]:
            return Peer(None, uid)
    return Peer(None, None)
