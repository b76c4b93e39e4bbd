"""What happens during a freeze or a thaw, as it is told while it happens.

One `Event` is one line of ``frostwatch freeze --json`` and one line of a VM's log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from agentclient.model.states import Level
from agentclient.model.vm import VmId

if TYPE_CHECKING:
    from agentclient.model.command import CommandStep
    from agentclient.model.job import JobOutcome, JobProgress, JobStage
    from agentclient.model.outcome import Outcome, ThawOutcome
    from agentclient.model.rescue import Means, RescueOutcome, Rung


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
    OUTCOME = "outcome"  # the last one for a VM, if no job goes on
    STAGE = "stage"  # a job has come to its next stage
    PROGRESS = "progress"  # how far a job has come
    COMMAND = "command"  # what a command does that runs while guests are frozen
    JOB = "job"  # how a job ended: the last one for its VM


class FreezeSent(NamedTuple):
    """A freeze was sent; `total_s` is how long it is waited for at the most, in seconds."""

    total_s: float


class StepBegan(NamedTuple):
    """A step's time ran out: which step begins now, of how many, and how much time is left."""

    step: int
    steps: int
    left_s: float


class FreezeAnswered(NamedTuple):
    """The freeze's own positive reply: how many file systems the agent counts as frozen."""

    frozen: int | None


class ThawAnswered(NamedTuple):
    """A thaw's positive reply: how many file systems the agent counts as thawed."""

    thawed: int | None


class AnsweredWithError(NamedTuple):
    """The agent's error, made safe to show."""

    error: str


class PortChanged(NamedTuple):
    """What changed at the agent's port, or with the VM, and what the VM is doing now."""

    change: str
    run_state: str


class WindowOpened(NamedTuple):
    """The window is open; `hold_s` is for how long, in seconds."""

    hold_s: float


class HoldExtended(NamedTuple):
    """The window is held for so many seconds more."""

    extended_s: float


class GuestWrote(NamedTuple):
    """Bytes that the guest has written while it was to be frozen."""

    written_bytes: int | None


class TakesLonger(NamedTuple):
    """How long the last freezes of this VM took, in seconds."""

    worst_s: float
    median_s: float


class ThawEnded(NamedTuple):
    """What a thaw came to, and how long it took, in seconds."""

    thawed: int | None
    seconds: float


class RungBegan(NamedTuple):
    """The rung of the rescue ladder that is taken now, and how SysRq is sent."""

    rung: Rung
    by: Means | None


class Ended(NamedTuple):
    """How it has ended; of a verdict, as far as it has come."""

    outcome: Outcome | ThawOutcome | RescueOutcome


class StageBegan(NamedTuple):
    """A job has come to a stage."""

    stage: JobStage


class JobProgressed(NamedTuple):
    """How far a job has come."""

    job: JobProgress


class CommandTold(NamedTuple):
    """What has happened to a command; how it ended is known once it has."""

    what: CommandStep
    pid: int | None
    exit_code: int | None = None
    signal: str | None = None


class JobEnded(NamedTuple):
    """How a job ended."""

    job: JobOutcome


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
    | StageBegan
    | JobProgressed
    | CommandTold
    | JobEnded
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

_MOMENTS: Final = {
    EventKind.SENT: "sent",
    EventKind.VERDICT: "verdict",
    EventKind.HELD: "held",
    EventKind.THAW_SENT: "thaw_sent",
    EventKind.THAWED: "thawed",
    EventKind.OUTCOME: "ended",
}
MARKING: Final = frozenset(_MOMENTS)


def moment_of(kind: EventKind, details: Details | None, *, thaw_sent: bool) -> str | None:
    """Return which moment of a freeze, thaw or rung an event is; None if it is none.

    A reply is one if it is the freeze's own, and not an error of the thaw.

    Args:
        kind: what happened.
        details: what a program reads beside it.
        thaw_sent: its thaw was sent before.
    """
    own = isinstance(details, FreezeAnswered)
    own = own or (isinstance(details, AnsweredWithError) and not thaw_sent)
    replied = "replied" if kind is EventKind.REPLY and own else None
    return _MOMENTS.get(kind) or replied
