"""The effects: what the pure machines of the freeze and of the thaw ask their driver to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from agentclient.model.events import Details, EventKind
from agentclient.model.states import Level


class Send(NamedTuple):
    """Write a request to the agent.

    Attributes:
        ticket: the machine's number for it; the answer comes back with it.
        command: the agent's command.
        arguments: its arguments; None if it has none.
    """

    ticket: int
    command: str
    arguments: Mapping[str, object] | None = None


class Resync(NamedTuple):
    """Write a sync: its answer tells that everything before it has been read (protocol §2.1).

    Attributes:
        ticket: the machine's number for it.
    """

    ticket: int


class ReportEvent(NamedTuple):
    """Report what happened to the operator: one event.

    Attributes:
        kind: what happened.
        level: how much it matters.
        text: one sentence for a person, safe to show.
        details: what a program reads beside it; None if the text says all.
    """

    kind: EventKind
    level: Level
    text: str
    details: Details | None = None


Effect = Send | Resync | ReportEvent
NewTicket = Callable[[], int]
"""Returns a number that no request of the same connection has had."""
