"""What is asked of an agent, as steps: its synchronisation, and its commands.

Steps say what to send, and are told the events that come back. A blocking caller runs them on its
session (`agentclient.access.agent`), the poller runs those of a thousand VMs at once
(`agentclient.access.agent_probe`). What can't be answered any more is told by the steps; how long
to wait is up to whoever runs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import TypeVar

from agentclient.access.agent_session import AgentSession
from agentclient.protocol.qga_commands import STATUS
from agentclient.protocol.qga_events import (
    NO_AGENT,
    Dropped,
    Failure,
    PassedOver,
    Reply,
    Synced,
    WireEvent,
)

T = TypeVar("T")
# Sends a request by a deadline (time of the monotonic clock).
Write = Callable[[float], None]
AgentSteps = Generator[Write | None, list[WireEvent], T]
Answer = Reply | Failure | PassedOver


class Nonsense(Exception):
    """The agent has sent something that is no valid reply; the text is safe to show."""


class AgentLink:
    """A session as `exchange.run` and the multiplexer use it: requests out, events in.

    Args:
        session: the session; also an attribute.
        send_by: time of the monotonic clock by which a request must have been sent, if the
            deadline of the steps is not earlier.
    """

    def __init__(self, session: AgentSession, send_by: float = math.inf) -> None:
        self.session = session
        self._send_by = send_by

    def fileno(self) -> int:
        """Return a descriptor that is readable when `receive` has something."""
        return self.session.fileno()

    def send(self, data: Write, deadline: float) -> None:
        """Send a request (see `Channel.send`)."""
        data(min(deadline, self._send_by))

    def receive(self) -> list[WireEvent]:
        """Return the events that have come, without waiting (see `AgentSession.receive`)."""
        return self.session.receive()

    def close(self) -> None:
        """Close the session; closing it again changes nothing."""
        self.session.close()


class Sync:
    """One synchronisation of a session: proof that the agent answers us.

    Until one was answered, each sync is of the other kind than the one before (see
    `AgentWire.sync`), so that an agent that takes only one of them is synchronised by the second.

    Args:
        session: the session.
    """

    def __init__(self, session: AgentSession) -> None:
        self._session = session
        self._tickets: set[int] = set()
        self._errors_before = len(session.refusals)

    @property
    def refusal(self) -> tuple[str, str] | None:
        """The error (class, text) with which the agent has refused all syncs so far, or None."""
        errors = self._session.refusals
        # One error is provoked by the 0xFF of the first, the next ones answer the syncs themselves.
        refused = len(errors) - self._errors_before > len(self._tickets)
        return errors[-1] if refused else None

    def steps(self, *, patient: bool = False) -> AgentSteps[bool]:
        """Return the steps that send one sync, and wait until this or an earlier one is answered.

        Args:
            patient: wait on after it was refused: the error may be somebody else's.

        Returns:
            By its steps: whether one was answered; False if it was refused.

        Raises:
            Nonsense: by its steps: no agent answers there.
        """
        ticket = self._session.ticket()
        self._tickets.add(ticket)
        events = yield partial(self._session.sync, ticket)
        while not self._answered(events):
            if not patient and self.refusal is not None:
                return False
            events = yield None
        return True

    def _answered(self, events: list[WireEvent]) -> bool:
        for event in events:
            if isinstance(event, Synced) and event.ticket in self._tickets:
                return True
            if isinstance(event, Dropped) and event.text == NO_AGENT:
                raise Nonsense(NO_AGENT)
        return False


def ask(
    session: AgentSession,
    command: str,
    arguments: Mapping[str, object] | None = None,
    *,
    tag: bool | None = None,
) -> AgentSteps[Answer]:
    """Return the steps that send a command, and wait for its answer.

    Args:
        session: a session that is synchronised.
        command: the agent's command.
        arguments: its arguments.
        tag: whether it carries an id; None if the agent is known to take one.

    Returns:
        By its steps: the answer, of whatever kind.

    Raises:
        Nonsense: by its steps: the guest has sent something that is no reply.
    """
    ticket = session.ticket()
    events = yield partial(session.ask, ticket, command, arguments, tag=tag)
    while True:
        for event in events:
            if isinstance(event, Dropped):
                if event.violation:
                    raise Nonsense(event.text)
            elif event.ticket == ticket and not isinstance(event, Synced):
                return event
        flood = session.flood
        if flood is not None:
            raise Nonsense(flood)
        events = yield None


def ask_status(session: AgentSession) -> AgentSteps[Answer]:
    """Return the steps that ask for the freeze state, and find out if the agent takes ids (§2.4).

    Args:
        session: a session that is synchronised.

    Returns:
        By its steps: the answer, of whatever kind.

    Raises:
        Nonsense: by its steps: the guest has sent something that is no reply.
    """
    if session.tags is None:
        answer = yield from ask(session, STATUS, tag=True)
        if session.tags or not isinstance(answer, Failure):
            return answer
        session.tags = False
    return (yield from ask(session, STATUS))
