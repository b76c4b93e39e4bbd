"""What happens during a freeze or a thaw, as it is told while it happens.

One `Event` is one line of ``frostwatch freeze --json`` and one line of a VM's log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from agentclient.model.states import Level
from agentclient.model.vm import VmId


class EventKind(StrEnum):
    """The closed list of what can happen (documented in docs/json.md)."""

    PREPARING = "preparing"  # what is checked before anything is sent
    SENT = "sent"  # a freeze was sent
    STEP = "step"  # a step's time ran out, and a probe was queued
    REPLY = "reply"  # the agent answered something that matters
    PORT = "port"  # the agent's port closed, opened or was restarted
    BLOCKED = "blocked"  # the host keeps the guest from answering, or does so no more
    DRAINING = "draining"  # what the channel still holds is read before anything is concluded
    VERDICT = "verdict"  # the freeze's outcome is known
    REVISED = "revised"  # a reply came after all, and changed the verdict
    HELD = "held"  # the window is open, and for how long
    AT_RISK = "at-risk"  # the port closed while the window was open
    CONTRADICTION = "contradiction"  # something speaks against what the agent says
    THAW_SENT = "thaw-sent"  # a thaw was sent
    THAWED = "thawed"  # a thaw was acknowledged
    RUNG = "rung"  # a rung of the rescue ladder is taken: what it does, and its risk
    CANCELLED = "cancelled"  # the operator asked to stop waiting, and to thaw
    NOTE = "note"  # anything else of meaning
    OUTCOME = "outcome"  # the last one for a VM


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one VM.

    Attributes:
        vm: the VM's identity.
        at: wall clock, with a time zone.
        kind: what happened.
        level: how much it matters.
        text: one sentence for a person, safe to show.
        fields: what a program reads beside it: JSON values only.
    """

    vm: VmId
    at: datetime
    kind: EventKind
    level: Level
    text: str
    fields: Mapping[str, object] = field(default_factory=dict)


OnEvent = Callable[[Event], None]
