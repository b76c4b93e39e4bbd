"""A session with an agent: its protocol on a channel, for requests to be sent and replies read."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from agentclient.access.stream import Channel
from agentclient.protocol.qga import AgentWire
from agentclient.protocol.qga_events import WireEvent

# The other side takes a line at once or is broken; a frozen guest's QEMU still reads its socket.
SEND_S = 2.0


class AgentSession:
    """One connection to an agent.

    Args:
        channel: the connected stream; the session closes it.
        wire: the protocol's state on it.
    """

    def __init__(self, channel: Channel, wire: AgentWire | None = None) -> None:
        self.channel = channel
        self.wire = wire or AgentWire()
        self._tickets = itertools.count(1)

    def ticket(self) -> int:
        """Return a fresh number for a request."""
        return next(self._tickets)

    def sync(self, ticket: int, deadline: float) -> None:
        """Write a sync (see `AgentWire.sync` and `Channel.send`)."""
        self.channel.send(self.wire.sync(ticket), deadline)

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
        self.channel.send(self.wire.request(ticket, command, arguments, tag=tag), deadline)

    def receive(self) -> list[WireEvent]:
        """Return what has come, without waiting.

        Raises:
            StreamEnded: the stream has ended.
        """
        data = self.channel.receive()
        return self.wire.feed(data) if data else []

    def switch_to(self, channel: Channel) -> None:
        """Go on with the same session through another channel; the old one stays open."""
        self.channel = channel

    def start_anew_on(self, channel: Channel) -> None:
        """Go on with another channel, as a stranger; tickets are not used again."""
        self.channel.close()
        self.channel = channel
        self.wire = AgentWire(plain=self.wire.plain)

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()
