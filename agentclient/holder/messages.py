"""The messages between the console and its holder: one JSON object a packet, with descriptors.

The holder acknowledges every request by its number, and says whether it was done, so that the
console knows that the holder stands by before a freeze is sent. Heartbeats are acknowledged, too:
a holder that is silent for longer than an acknowledgement may take is treated as dead.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from agentclient.model.vm import Peer, Process

VERSION: Final = 4
"""The protocol's version; the console checks the holder's by `HELLO`, before anything else."""
REQUEST_VERSION: Final = 1
"""The version of what another process asks of a holder (`HolderRequest`)."""
MOST_BYTES: Final = 64 * 1024
MOST_DESCRIPTORS: Final = 2
# Seconds between two heartbeats, and without one until the console counts as stopped.
BEAT_S: Final = 0.25
SILENCE_S: Final = 1.0

Body = Mapping[str, object]


class ConsoleMessage(StrEnum):
    """What the console asks of the holder."""

    HELLO = "hello"  # acknowledge, with your version
    ARM = "arm"  # stand by for a guest: its channel, if any, and the console's end come with it
    INTENT = "intent"  # a freeze comes next, or was sent on an earlier connection
    HOLD = "hold"  # the window is open, and ends in so many seconds
    THAWING = "thawing"  # the console may send a thaw: ask for the status before another one
    TAKE = "take"  # the console leaves: thaw the guest
    DISARM = "disarm"  # the guest is thawed: forget it
    KEEP = "keep"  # the console leaves the window: hold it to its end, and thaw it then
    BEAT = "beat"  # the console is alive


class HolderMessage(StrEnum):
    """What the holder tells the console."""

    ACK = "ack"  # done as asked, or why not
    READY = "ready"  # a guest that is reached by calls was reached, or why not
    TAKEN = "taken"  # the holder has taken over
    BROKEN = "broken"  # QEMU has gone, or has closed the agent's channel
    DONE = "done"  # the report of the thaw
    ASKED = "asked"  # another process has asked for something that the console has to do


class HolderRequest(StrEnum):
    """What another process asks of a holder (`agentclient.holder.outside_requests`)."""

    LOOK = "look"  # tell how a guest stands
    THAW = "thaw"  # thaw it now, and tell when that has ended
    EXTEND = "extend"  # hold it for so many seconds more
    ATTACH = "attach"  # its console has left it: let me be its console


def socket_name(holder: Process) -> bytes:
    """Return the name of the socket on which a holder hears others, in the abstract name space."""
    return f"\0frostwatch-hold/{holder.pid}/{holder.start_ticks}".encode()


def pack(body: Body) -> bytes:
    """Return a message as a packet."""
    return json.dumps(body, separators=(",", ":")).encode()


def unpack(packet: bytes) -> dict[str, object]:
    """Return the message in a packet; an empty one if it can't be parsed."""
    try:
        body = json.loads(packet)
    except (ValueError, RecursionError):  # brackets in brackets
        return {}
    return body if isinstance(body, dict) else {}


def send(connection: socket.socket, body: Body, descriptors: Sequence[int] = ()) -> None:
    """Send one message whole, or not at all; never blocks.

    Raises:
        BlockingIOError: the other side does not read; nothing was sent.
        OSError: the other side has gone, or the system is short of memory.
    """
    if descriptors:
        socket.send_fds(connection, [pack(body)], list(descriptors), socket.MSG_DONTWAIT)
    else:
        connection.send(pack(body), socket.MSG_DONTWAIT)


def receive(connection: socket.socket) -> tuple[dict[str, object], list[int]] | None:
    """Receive one message and its descriptors; None at the end of the stream.

    Raises:
        BlockingIOError: no message has come.
        OSError: the other side was killed.
    """
    packet, descriptors, _, _ = socket.recv_fds(connection, MOST_BYTES, MOST_DESCRIPTORS)
    for each in descriptors:
        # The journal's process, which a holder starts, would keep a guest's channel from others.
        os.set_inheritable(each, False)
    if not packet and not descriptors:
        return None
    return unpack(packet), descriptors


def number(body: Body, key: str, default: float = 0.0) -> float:
    """Return a message's field as a number; `default` if it is none."""
    value = body.get(key)
    return float(value) if isinstance(value, int | float) else default


def text(body: Body, key: str) -> str:
    """Return a message's field as a string; empty if it is none."""
    value = body.get(key)
    return value if isinstance(value, str) else ""


def refused(why: str) -> Body:
    """Return the answer to another process whose request is not carried out, and why."""
    return {"say": HolderMessage.ACK, "done": False, "why": why, "version": REQUEST_VERSION}


def peer_in(peer: Peer | None) -> object:
    """Return, as a message's field, which process or user must listen on a VM's sockets."""
    return None if peer is None else [peer.process, peer.uid]


def peer_of(body: Body, key: str = "peer") -> Peer | None:
    """Return which process or user must listen on a VM's sockets, from a message's field.

    A field that can't be parsed gives a peer that matches nobody: no new connection is made.
    """
    match body.get(key):
        case None:
            return None
        case [[int(pid), int(ticks)], int() | None as uid]:
            return Peer(Process(pid, ticks), uid)
        case [None, int() | None as uid]:
            return Peer(None, uid)
    return Peer(None, None)
