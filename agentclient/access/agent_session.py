"""A session with an agent: sends requests, and receives their replies as events."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Protocol

from agentclient.access.stream import Channel
from agentclient.protocol.qga import AgentWire
from agentclient.protocol.qga_events import WireEvent

# QEMU takes a line at once or is broken: that of a frozen guest still reads its socket.
SEND_S = 2.0


class AgentSession(Protocol):
    """A session with an agent: sends requests, and receives events, matched by ticket numbers.

    Attributes:
        channel: its connection; None where there is none.
        tags: whether the agent takes ids; None until that is known.
    """

    channel: Channel | None
    tags: bool | None

    @property
    def busy(self) -> str | None:
        """Whose command runs in place of ours, as a clause; None if none is known."""

    @property
    def plain(self) -> bool:
        """Whether syncs are sent without 0xFF."""

    @property
    def refusals(self) -> Sequence[tuple[str, str]]:
        """Errors (class, text) that came before a sync was answered; the first few."""

    @property
    def flood(self) -> str | None:
        """What the guest sends without end in place of replies, as a clause; None if nothing."""

    @property
    def noisy(self) -> bool:
        """Whether only noise comes, so that reading should be slowed down."""

    @property
    def unfinished(self) -> bool:
        """Whether a part of a reply has been received, and not its end."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when `receive` has something."""

    def ticket(self) -> int:
        """Return a fresh number for a request."""

    def allow(self, command: str, seconds: float) -> None:
        """Set the bound of a command, in seconds; a session of calls passes it on."""

    def sync(self, ticket: int, deadline: float) -> None:
        """Ask for proof that the agent answers this session; `Synced` is the proof.

        Args:
            ticket: the number of the request.
            deadline: time of the monotonic clock by which it must have been sent.

        Raises:
            StreamEnded: the session has broken.
            TimeoutError: it could not be sent.
        """

    def ask(
        self,
        ticket: int,
        command: str,
        arguments: Mapping[str, object] | None,
        deadline: float,
        *,
        tag: bool | None = None,
    ) -> None:
        """Send a request.

        Args:
            ticket: its number.
            command: the agent's command.
            arguments: its arguments.
            deadline: time of the monotonic clock by which it must have been sent.
            tag: whether it carries an id; None if the agent is known to take one.

        Raises:
            StreamEnded: the session has broken.
            TimeoutError: it could not be sent.
        """

    def receive(self) -> list[WireEvent]:
        """Return the events that have come, without waiting.

        Raises:
            StreamEnded: the session has broken; nothing more will come.
        """

    def switch_to(self, channel: Channel) -> None:
        """Continue the same session on another channel; the old one stays open."""

    def start_anew_on(self, channel: Channel) -> None:
        """Start a new session on another channel; ticket numbers are not used again."""

    def close(self) -> None:
        """Close the session; closing it again changes nothing."""


class StreamSession:
    """A session on one connection.

    Args:
        channel: the connected stream; the session closes it.
        wire: the protocol's state on it.
    """

    def __init__(self, channel: Channel, wire: AgentWire | None = None) -> None:
        self.channel: Channel | None = channel
        self.busy: str | None = None
        self._stream = channel
        self.wire = wire or AgentWire()
        self._tickets = itertools.count(1)

    @property
    def tags(self) -> bool | None:
        """Whether the agent takes ids; None until that is known."""
        return self.wire.tags

    @tags.setter
    def tags(self, tags: bool | None) -> None:
        self.wire.tags = tags

    @property
    def plain(self) -> bool:
        """Whether syncs are sent without 0xFF."""
        return self.wire.plain

    @property
    def refusals(self) -> Sequence[tuple[str, str]]:
        """Errors (class, text) that came before a sync was answered; the first few."""
        return self.wire.refusals

    @property
    def flood(self) -> str | None:
        """What the guest sends without end in place of replies, as a clause; None if nothing."""
        return self.wire.flood

    @property
    def noisy(self) -> bool:
        """Whether only noise comes, so that reading should be slowed down."""
        return self.wire.noisy

    @property
    def unfinished(self) -> bool:
        """Whether a part of a line has been received, and not its end."""
        return self.wire.unfinished

    def fileno(self) -> int:
        """Return the channel's descriptor."""
        return self._stream.fileno()

    def ticket(self) -> int:
        """Return a fresh number for a request."""
        return next(self._tickets)

    def allow(self, command: str, seconds: float) -> None:
        """Do nothing: on a stream a reply may come at any time."""

    def sync(self, ticket: int, deadline: float) -> None:
        """Write a sync (see `AgentWire.sync` and `Channel.send`)."""
        self._stream.send(self.wire.sync(ticket), deadline)

    def ask(
        self,
        ticket: int,
        command: str,
        arguments: Mapping[str, object] | None,
        deadline: float,
        *,
        tag: bool | None = None,
    ) -> None:
        """Write a request (see `AgentWire.request` and `Channel.send`)."""
        self._stream.send(self.wire.request(ticket, command, arguments, tag=tag), deadline)

    def receive(self) -> list[WireEvent]:
        """Return the events that have come, without waiting.

        Raises:
            StreamEnded: the stream has ended.
        """
        data = self._stream.receive()
        return self.wire.feed(data) if data else []

    def switch_to(self, channel: Channel) -> None:
        """Continue the same session on another channel; the old one stays open."""
        self.channel = self._stream = channel

    def start_anew_on(self, channel: Channel) -> None:
        """Start a new session on another channel; ticket numbers are not used again."""
        self._stream.close()
        self.channel = self._stream = channel
        self.wire = AgentWire(plain=self.wire.plain)

    def close(self) -> None:
        """Close the channel."""
        self._stream.close()
