"""What the pure machines of the freeze and of the thaw ask their driver to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agentclient.model.events import EventKind
from agentclient.model.states import Level


@dataclass(frozen=True, slots=True)
class Send:
    """Write a request."""

    ticket: int
    command: str
    arguments: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Resync:
    """Write a sync; everything that stands before its answer is read first."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Say what happened, and what it means."""

    kind: EventKind
    level: Level
    text: str
    fields: Mapping[str, object] = field(default_factory=dict)


Effect = Send | Resync | Tell
NewTicket = Callable[[], int]
