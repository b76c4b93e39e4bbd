"""A session of calls that are made here, or by a holder in our place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from agentclient.access.call_relay import CallRelay
from agentclient.access.call_session import AgentCalls, CallSession, CallState
from agentclient.access.stream import Channel, StreamEnded
from agentclient.protocol.qga_events import Failure, Reply, Synced, WireEvent


class NoChannel:
    """Stands for the channel of a guest to which none leads."""

    def fileno(self) -> int:
        """Return -1: there is no descriptor."""
        return -1

    def send(self, _data: bytes, _deadline: float) -> None:
        """Raise StreamEnded: nothing can be sent."""
        raise StreamEnded("there is no connection")

    def receive(self) -> bytes:
        """Raise StreamEnded: nothing will come."""
        raise StreamEnded("there is no connection")

    def close(self) -> None:
        """Do nothing."""


NO_CHANNEL: Final = NoChannel()


class CalledSession:
    """A session whose requests are calls (see `AgentSession`).

    Args:
        calls: the agent.
        state: what its calls have shown, in all sessions.
    """

    tags: bool | None = False
    plain = True
    refusals: Sequence[tuple[str, str]] = ()
    flood: str | None = None
    noisy = False
    unfinished = False

    def __init__(self, calls: AgentCalls, state: CallState) -> None:
        self.channel: Channel | None = None
        self._state = state
        self._direct = CallSession(calls, state)
        self._relay: CallRelay | None = None
        self._bounds: dict[str, float] = {}

    @property
    def busy(self) -> str | None:
        """Whose command ran last in place of one of ours, as a clause; None if none did."""
        return self._direct.busy

    @property
    def relay_lost(self) -> bool:
        """Whether the channel to a holder that made the calls has ended."""
        return self._relay is not None and self._relay.lost

    def fileno(self) -> int:
        """Return a descriptor that is readable when `receive` has something."""
        return self._direct.fileno() if self._relay is None else self._relay.fileno()

    def ticket(self) -> int:
        """Return a fresh number for a request."""
        return self._direct.ticket()

    def allow(self, command: str, seconds: float) -> None:
        """Set the bound of a command, in seconds."""
        self._bounds[command] = seconds
        self._direct.allow(command, seconds)
        if self._relay is not None:
            with suppress(StreamEnded, TimeoutError):  # `receive` tells it
                self._relay.allow(command, seconds)

    def sync(self, ticket: int, deadline: float) -> None:
        """Call a cheap command, unless another call will show if the agent answers."""
        (self._direct if self._relay is None else self._relay).sync(ticket, deadline)

    def ask(
        self,
        ticket: int,
        command: str,
        arguments: Mapping[str, object] | None,
        deadline: float,
        *,
        tag: bool | None = None,
    ) -> None:
        """Queue a call behind the one that runs; see `AgentSession.ask`."""
        del tag  # a call needs no id
        (self._direct if self._relay is None else self._relay).ask(
            ticket, command, arguments, deadline
        )

    def receive(self) -> list[WireEvent]:
        """Return the events that have come, without waiting (see `CallSession.receive`)."""
        return self._direct.receive() if self._relay is None else self._relayed(self._relay)

    def _relayed(self, relay: CallRelay) -> list[WireEvent]:
        """Return what has come from the holder, and note what it shows of the agent."""
        try:
            events = relay.receive()
        except StreamEnded:
            if not relay.lost:
                self._state.answers = False
            raise
        if any(isinstance(event, Reply | Failure | Synced) for event in events):
            self._state.answered()
        return events

    def switch_to(self, channel: Channel) -> None:
        """Let the holder at the other end of a channel make the calls from now on."""
        self._relay = CallRelay(channel, self._bounds)

    def start_anew_on(self, channel: Channel) -> None:
        """Continue with the calls of the holder at the other end of a channel."""
        self._direct.start_anew()
        self.switch_to(channel)

    def start_anew(self) -> None:
        """Continue after the agent had gone; earlier requests are not answered any more.

        If the holder has gone, the calls are made here again.
        """
        if self._relay is not None and not self._relay.lost:
            try:
                self._relay.start_anew()
            except (StreamEnded, TimeoutError):
                pass  # a holder that does not read is as good as gone
            else:
                return
        self._relay = None
        self._direct.start_anew()

    def close(self) -> None:
        """Close the session, and abandon a call that hangs."""
        self._direct.close()
        if self._relay is not None:
            self._relay.close()
