"""A QMP session on a connected channel, as steps: greeting, commands, events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentclient.access.exchange import Steps
from agentclient.access.stream import Channel, StreamEnded
from agentclient.protocol.qmp import (
    Greeting,
    QmpEvent,
    QmpFailure,
    QmpMessage,
    QmpReply,
    QmpViolation,
    QmpWire,
    qmp_command,
)

# QEMU queues eight requests at the most before it stops reading (QMP_REQ_QUEUE_LEN_MAX); the
# negotiation is one of them.
_MOST_AT_ONCE = 6
_MOST_EVENTS = 256


@dataclass(frozen=True, slots=True)
class Ask:
    """A command for the monitor."""

    command: str
    arguments: Mapping[str, object] = field(default_factory=dict)


class MonitorError(Exception):
    """The monitor could not be asked; the text is one clause for a person.

    Args:
        text: what happened.
        ungreeted: no greeting came: QEMU serves another client there, or hangs.
        late: the session has not broken; its replies may still come.
    """

    def __init__(self, text: str, *, ungreeted: bool = False, late: bool = False) -> None:
        self.ungreeted = ungreeted
        self.late = late
        super().__init__(text)


class QmpSession:
    """One connection to a monitor, from its greeting on.

    Args:
        channel: the connected stream; the session closes it.

    Attributes:
        version: QEMU's, as its greeting tells it; None before that.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._wire = QmpWire()
        self._tickets = 0
        self._greeted = False
        self.version: tuple[int, int, int] | None = None
        self._unsent = b""
        self._inbox: list[QmpMessage] = []
        self._events: list[QmpEvent] = []

    def greet(self) -> Steps[None]:
        """Wait for the greeting, unless it has come already; nothing is written before it.

        Raises:
            MonitorError: no greeting came: the monitor serves another client, or QEMU hangs.
        """
        while not self._greeted:
            try:
                yield from self._receive(b"")
            except TimeoutError as error:
                text = "the monitor does not greet: another client holds it, or QEMU hangs"
                raise MonitorError(text, ungreeted=True) from error
            for message in self._inbox:
                if isinstance(message, Greeting):
                    self._greeted, self.version = True, message.version
            self._inbox.clear()
            # It goes out with the first commands, which spares a round trip.
            self._unsent = qmp_command(self._ticket(), "qmp_capabilities")

    def ask(self, asks: Sequence[Ask]) -> Steps[list[QmpReply | QmpFailure]]:
        """Send several commands in few writes, and return their replies in order.

        Raises:
            MonitorError: not everything was answered in time, or the session broke.
        """
        answers: list[QmpReply | QmpFailure] = []
        for start in range(0, len(asks), _MOST_AT_ONCE):
            answers += yield from self._ask_some(asks[start : start + _MOST_AT_ONCE])
        return answers

    def take_events(self) -> list[QmpEvent]:
        """Return the events that have come, and forget them; never waits.

        Raises:
            MonitorError: the session has ended.
        """
        try:
            self._take(self.channel.receive())
        except StreamEnded as error:
            raise _broken(error) from error
        return self.received_events()

    def received_events(self) -> list[QmpEvent]:
        """Return the events that have been received, and forget them."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """End the session."""
        self.channel.close()

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets

    def _ask_some(self, asks: Sequence[Ask]) -> Steps[list[QmpReply | QmpFailure]]:
        tickets = [self._ticket() for _ in asks]
        data = self._unsent + b"".join(
            qmp_command(ticket, ask.command, ask.arguments)
            for ticket, ask in zip(tickets, asks, strict=True)
        )
        self._unsent = b""
        answers: dict[int, QmpReply | QmpFailure] = {}
        while len(answers) < len(asks):
            try:
                yield from self._receive(data)
            except TimeoutError as error:
                text = f"the monitor did not answer {asks[0].command} in time: {error}"
                raise MonitorError(text, late=True) from error
            data = b""
            for message in self._inbox:
                if isinstance(message, QmpReply | QmpFailure) and message.ticket in tickets:
                    answers[message.ticket] = message
            self._inbox.clear()
        return [answers[ticket] for ticket in tickets]

    def _receive(self, data: bytes) -> Steps[None]:
        """Write `data`, and process the bytes that come next."""
        try:
            came = yield data
        except StreamEnded as error:
            raise _broken(error) from error
        self._take(came)

    def _take(self, data: bytes) -> None:
        try:
            messages = self._wire.feed(data)
        except QmpViolation as error:
            raise _broken(error) from error
        for message in messages:
            if isinstance(message, QmpEvent):
                self._events.append(message)
                del self._events[:-_MOST_EVENTS]
            else:
                self._inbox.append(message)


def _broken(error: Exception) -> MonitorError:
    return MonitorError(f"the monitor's session broke: {error}")
