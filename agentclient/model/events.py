"""What happens during a freeze or a thaw, as it is told while it happens.

One `Event` is one line of ``frostwatch freeze --json`` and one line of a VM's log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.rescue import Means, RescueOutcome, Rung
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
class FreezeSent:
    """A freeze was sent; `total_s` is how long it is waited for at the most, in seconds."""

    total_s: float


@dataclass(frozen=True, slots=True)
class StepBegan:
    """A step's time ran out: which step begins now, of how many, and how much time is left."""

    step: int
    steps: int
    left_s: float


@dataclass(frozen=True, slots=True)
class FreezeAnswered:
    """The freeze's own positive reply: how many file systems the agent counts as frozen."""

    frozen: int | None


@dataclass(frozen=True, slots=True)
class ThawAnswered:
    """A thaw's positive reply: how many file systems the agent counts as thawed."""

    thawed: int | None


@dataclass(frozen=True, slots=True)
class AnsweredWithError:
    """The agent's error, made safe to show."""

    error: str


@dataclass(frozen=True, slots=True)
class PortChanged:
    """What changed at the agent's port, or with the VM, and what the VM is doing now."""

    change: str
    run_state: str


@dataclass(frozen=True, slots=True)
class WindowOpened:
    """The window is open; `hold_s` is for how long, in seconds."""

    hold_s: float


@dataclass(frozen=True, slots=True)
class HoldExtended:
    """The window is held for so many seconds more."""

    extended_s: float


@dataclass(frozen=True, slots=True)
class GuestWrote:
    """Bytes that the guest has written while it was to be frozen."""

    written_bytes: int | None


@dataclass(frozen=True, slots=True)
class TakesLonger:
    """How long the last freezes of this VM took, in seconds."""

    worst_s: float
    median_s: float


@dataclass(frozen=True, slots=True)
class ThawEnded:
    """What a thaw came to, and how long it took, in seconds."""

    thawed: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class RungBegan:
    """The rung of the rescue ladder that is taken now, and how SysRq is sent."""

    rung: Rung
    by: Means | None


@dataclass(frozen=True, slots=True)
class Ended:
    """How it has ended; of a verdict, as far as it has come."""

    outcome: Outcome | ThawOutcome | RescueOutcome


Details = (
    FreezeSent
    | StepBegan
    | FreezeAnswered
    | ThawAnswered
    | AnsweredWithError
    | PortChanged
    | WindowOpened
    | HoldExtended
    | GuestWrote
    | TakesLonger
    | ThawEnded
    | RungBegan
    | Ended
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one VM.

    Attributes:
        vm: the VM's identity.
        at: wall clock, with a time zone.
        kind: what happened.
        level: how much it matters.
        text: one sentence for a person, safe to show.
        details: what a program reads beside it; None if the text says all.
    """

    vm: VmId
    at: datetime
    kind: EventKind
    level: Level
    text: str
    details: Details | None = None


OnEvent = Callable[[Event], None]
