"""A session with an agent: its protocol on a channel, for requests to be sent and replies read."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Protocol

from agentclient.access.stream import Channel
from agentclient.protocol.qga import AgentWire
from agentclient.protocol.qga_events import WireEvent

# The other side takes a line at once or is broken; a frozen guest's QEMU still reads its socket.
SEND_S = 2.0


class AgentSession(Protocol):
    """A session with an agent: requests are sent, and events received, one ticket for each.

    Attributes:
        channel: its connection; None where there is none.
        tags: whether the agent takes ids; None until that is known.
        busy: whose command has kept ours out, as a clause; None if nobody's is known to.
    """

    channel: Channel | None
    tags: bool | None
    busy: str | None

    @property
    def plain(self) -> bool:
        """Whether the agent is to be sent no 0xFF."""

    @property
    def refusals(self) -> Sequence[tuple[str, str]]:
        """Errors (class, text) that came before a sync was answered; the first few."""

    @property
    def flood(self) -> str | None:
        """What comes instead of answers, without an end to be seen; None if nothing."""

    @property
    def noisy(self) -> bool:
        """Whether nothing but noise comes, so that it should be read slowly."""

    @property
    def unfinished(self) -> bool:
        """Whether an answer has begun to come, and has not ended."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when `receive` has something."""

    def ticket(self) -> int:
        """Return a fresh number for a request."""

    def allow(self, command: str, seconds: float) -> None:
        """Say how long a command may take: where it is a call, it is made with that bound."""

    def sync(self, ticket: int, deadline: float) -> None:
        """Have it shown that the agent answers this session; `Synced` tells that it does.

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
        """Return what has come, without waiting.

        Raises:
            StreamEnded: the session has broken: nothing more will come.
        """

    def switch_to(self, channel: Channel) -> None:
        """Go on with the same session through another channel; the old one stays open."""

    def start_anew_on(self, channel: Channel) -> None:
        """Go on with another channel, as a stranger; tickets are not used again."""

    def close(self) -> None:
        """End it; doing it again changes nothing."""


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
        """Whether the agent is to be sent no 0xFF."""
        return self.wire.plain

    @property
    def refusals(self) -> Sequence[tuple[str, str]]:
        """Errors (class, text) that came before a sync was answered; the first few."""
        return self.wire.refusals

    @property
    def flood(self) -> str | None:
        """What comes instead of answers, without an end to be seen; None if nothing."""
        return self.wire.flood

    @property
    def noisy(self) -> bool:
        """Whether nothing but noise comes, so that it should be read slowly."""
        return self.wire.noisy

    @property
    def unfinished(self) -> bool:
        """Whether a line has begun to come, and has not ended."""
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
        """Return what has come, without waiting.

        Raises:
            StreamEnded: the stream has ended.
        """
        data = self._stream.receive()
        return self.wire.feed(data) if data else []

    def switch_to(self, channel: Channel) -> None:
        """Go on with the same session through another channel; the old one stays open."""
        self.channel = self._stream = channel

    def start_anew_on(self, channel: Channel) -> None:
        """Go on with another channel, as a stranger; tickets are not used again."""
        self._stream.close()
        self.channel = self._stream = channel
        self.wire = AgentWire(plain=self.wire.plain)

    def close(self) -> None:
        """Close the channel."""
        self._stream.close()
