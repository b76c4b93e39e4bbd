"""A connected QMP session with deadlines: the thin shell around `agentclient.qmp`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentclient.channel import Channel, Endpoint, StreamEnded, wait_readable
from agentclient.qmp import (
    Greeting,
    QmpEvent,
    QmpFailure,
    QmpMessage,
    QmpReply,
    QmpViolation,
    QmpWire,
    qmp_command,
)

# QEMU queues eight requests at the most before it stops reading (QMP_REQ_QUEUE_LEN_MAX).
_MOST_AT_ONCE = 6
_MOST_EVENTS = 256


@dataclass(frozen=True, slots=True)
class Ask:
    """A command for the monitor."""

    command: str
    arguments: Mapping[str, object] = field(default_factory=dict)


class MonitorTrouble(Exception):
    """The monitor could not be asked; the text is one clause for a person.

    Args:
        text: what happened.
        busy: another client holds the monitor, so that it does not greet us.
    """

    def __init__(self, text: str, *, busy: bool = False) -> None:
        self.busy = busy
        super().__init__(text)


class QmpSession:
    """One connection to a monitor, from its greeting on.

    Args:
        endpoint: where the monitor listens.
        deadline: time of the monotonic clock by which it must have greeted.

    Raises:
        ConnectFailed: no connection.
        MonitorTrouble: no greeting.
    """

    def __init__(self, endpoint: Endpoint, deadline: float) -> None:
        self._channel: Channel = endpoint.connect()
        self._wire = QmpWire()
        self._tickets = 0
        self._inbox: list[QmpMessage] = []
        self.events: list[QmpEvent] = []
        """What QEMU told on its own since the last `take_events`."""
        try:
            self._greet(deadline)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that is readable when something has come."""
        return self._channel.fileno()

    def ask(self, asks: Sequence[Ask], deadline: float) -> list[QmpReply | QmpFailure]:
        """Ask several commands in few writes, and return their answers in order.

        Raises:
            MonitorTrouble: not everything was answered in time, or the session broke.
        """
        answers: list[QmpReply | QmpFailure] = []
        for start in range(0, len(asks), _MOST_AT_ONCE):
            answers += self._ask_some(asks[start : start + _MOST_AT_ONCE], deadline)
        return answers

    def take_events(self) -> list[QmpEvent]:
        """Return the events that have come, and forget them; never waits.

        Raises:
            MonitorTrouble: the session has ended.
        """
        self._receive(0.0)
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        """End the session."""
        self._channel.close()

    def _greet(self, deadline: float) -> None:
        while not any(isinstance(message, Greeting) for message in self._inbox):
            if not self._receive_by(deadline):
                raise MonitorTrouble(
                    "the monitor does not greet: another client holds it", busy=True
                )
        self._inbox.clear()
        self._ask_some([Ask("qmp_capabilities")], deadline)

    def _ask_some(self, asks: Sequence[Ask], deadline: float) -> list[QmpReply | QmpFailure]:
        tickets = range(self._tickets + 1, self._tickets + 1 + len(asks))
        self._tickets += len(asks)
        data = b"".join(
            qmp_command(ticket, ask.command, ask.arguments)
            for ticket, ask in zip(tickets, asks, strict=True)
        )
        try:
            self._channel.send(data, deadline)
        except (StreamEnded, TimeoutError) as error:
            raise MonitorTrouble(f"the monitor's session broke: {error}") from error
        answers: dict[int, QmpReply | QmpFailure] = {}
        while len(answers) < len(asks):
            for message in self._inbox:
                if isinstance(message, QmpReply | QmpFailure) and message.ticket in tickets:
                    answers[message.ticket] = message
            self._inbox.clear()
            if len(answers) < len(asks) and not self._receive_by(deadline):
                raise MonitorTrouble(f"the monitor did not answer {asks[0].command} in time")
        return [answers[ticket] for ticket in tickets]

    def _receive_by(self, deadline: float) -> bool:
        """As `_receive`, but a monitor that tells events without end does not keep us."""
        return time.monotonic() < deadline and self._receive(deadline)

    def _receive(self, deadline: float) -> bool:
        """Take what has come by `deadline`; False if nothing has."""
        if not wait_readable(self._channel, deadline):
            return False
        try:
            messages = self._wire.feed(self._channel.receive())
        except (StreamEnded, QmpViolation) as error:
            raise MonitorTrouble(f"the monitor's session broke: {error}") from error
        for message in messages:
            if isinstance(message, QmpEvent):
                self.events.append(message)
                del self.events[:-_MOST_EVENTS]
            else:
                self._inbox.append(message)
        return True


def soon(seconds: float) -> float:
    """Return the deadline that is `seconds` away."""
    return time.monotonic() + seconds
