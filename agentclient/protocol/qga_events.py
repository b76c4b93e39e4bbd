"""What comes from an agent, as `agentclient.protocol.qga.AgentWire` reads it from the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentclient.model.text import printable

SENTINEL_ERROR: Final = "the error that our sync's leading 0xFF provokes"
NO_AGENT: Final = "a QEMU monitor answers there, no agent: are the two sockets swapped?"


@dataclass(frozen=True, slots=True)
class Reply:
    """A request was answered.

    Attributes:
        ticket: the caller's number for the request.
        value: what the agent returned, of whatever type the guest chose.
    """

    ticket: int
    value: object


@dataclass(frozen=True, slots=True)
class Failure:
    """A request was answered with an error.

    Attributes:
        ticket: the caller's number for the request.
        error_class: the protocol's class, such as ``CommandNotFound``; safe to show.
        desc: the agent's words; safe to show.
    """

    ticket: int
    error_class: str
    desc: str


@dataclass(frozen=True, slots=True)
class Synced:
    """A sync was answered: the channel is ours, and everything before it has been read (§2.1).

    Attributes:
        ticket: the caller's number for the sync.
    """

    ticket: int


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A later request was answered before this one, which is presumed never to be (§3.1).

    Attributes:
        ticket: the caller's number for the request.
    """

    ticket: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something came that answers none of our requests, or that is no protocol.

    Attributes:
        text: what it was, for the log.
        violation: it breaks the protocol's rules, and can't be what another client has left.
    """

    text: str
    violation: bool = False


WireEvent = Reply | Failure | Synced | PassedOver | Dropped


def answer(ticket: int, message: Mapping[str, object]) -> Reply | Failure:
    """Return what a message with ``return`` or ``error`` answers to the request `ticket`."""
    if "error" not in message:
        return Reply(ticket, message.get("return"))
    error = message["error"]
    if not isinstance(error, dict):
        return Failure(ticket, "GenericError", printable(error))
    return Failure(
        ticket,
        printable(error.get("class", "GenericError"), 60),
        printable(error.get("desc", "no description")),
    )
