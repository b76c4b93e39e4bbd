"""What is asked for, and what comes of it: the shapes that operations, schema and journal share."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentclient.freeze.coverage import plain_path
from agentclient.model.request import Schedule
from agentclient.model.vm import FreezeState, Meaning, Stuck, VmId


@dataclass(frozen=True, slots=True)
class FreezeRequest:
    """What an operator asks for.

    Attributes:
        mounts: the mount points to freeze, as the guest names them; empty for everything.
        strict: full coverage is demanded.
        long_hold: a person has decided to hold also what can't be held for so long (Windows).
    """

    mounts: tuple[str, ...] = ()
    strict: bool = False
    schedule: Schedule = field(default_factory=Schedule)
    long_hold: bool = True

    def __post_init__(self) -> None:
        named = dict.fromkeys(plain_path(path) for path in self.mounts)
        object.__setattr__(self, "mounts", tuple(named))


@dataclass(frozen=True, slots=True)
class ThawOutcome:
    """How a thaw ended.

    Attributes:
        state: the guest's file systems after it; None if that isn't known.
        thawed: the thaw's count; 0 if nothing had to be thawed; None if it was not acknowledged.
        refused: it was not sent: foreign and not allowed, read-only, or busy.
        reason: one sentence for a person.
        seconds: how long it took.
        next: what a person should do now; None if nothing.
        stuck: why something may be frozen still; None if nothing is, or nobody knows.
        meaning: what it means; None until `agentclient.model.consequences` has said it.
    """

    vm: VmId
    state: FreezeState | None
    thawed: int | None
    refused: bool
    reason: str
    seconds: float
    next: str | None = None
    stuck: Stuck | None = None
    meaning: Meaning | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is frozen any more, as far as evidence goes."""
        return self.state is FreezeState.THAWED


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """What came of a group.

    Attributes:
        together: every VM was frozen and verified, and held for as long as was asked.
        reason: one sentence for a person.
        skew_s: seconds between the first and the last acknowledgement; None if one is missing.
        order: the VMs in the order in which they froze.
        final: all have been thawed again; else all have just been frozen.
        hold_s: for how long all are held together.
        failed: the VMs that were not frozen, or not for as long as was asked.
    """

    together: bool
    reason: str
    skew_s: float | None
    order: tuple[VmId, ...]
    final: bool = True
    hold_s: float = 0.0
    failed: tuple[VmId, ...] = ()
