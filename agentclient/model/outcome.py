"""What comes of a freeze, of a thaw and of a group, and the evidence for it."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from agentclient.model.errors import FrostwatchError
from agentclient.model.states import (
    Cause,
    CopyIs,
    EvidenceResult,
    FreezeState,
    GuestIs,
    OutcomeKind,
    Refusal,
    Stuck,
)
from agentclient.model.vm import VmId

# Words for what became of a verified freeze, beside those of `OutcomeKind`: *certified* is more,
# *no group* is less. The second one is written with a hyphen where a word has no blank.
CERTIFIED: Final = "certified"
NO_GROUP: Final = "no group"
NO_GROUP_WORD: Final = "no-group"


class Evidence(NamedTuple):
    """One piece of evidence for or against a freeze.

    Attributes:
        name: what it is about (`agentclient.model.states.EvidenceName`).
        result: which way it points.
        value: what was seen, in words or figures, for a person and for JSON.
        age_s: seconds since it was seen, None if never.
    """

    name: str
    result: EvidenceResult
    value: str | int | None = None
    age_s: float | None = None


class FileSystem(NamedTuple):
    """A mounted file system that a guest reports.

    Attributes:
        device: what the agent counts file systems by (``vda1``).
        mountpoint: where it is mounted, as the guest names it.
        kind: ``ext4``, ``vfat``, ``NTFS``, …
    """

    device: str
    mountpoint: str
    kind: str


class Meaning(NamedTuple):
    """What an outcome means, for a person and for a program (`agentclient.model.meaning`).

    Attributes:
        copy: for a copy of the disks that was made meanwhile; one sentence.
        copy_is: the same in one word.
        guest: for the guest; one sentence, or two.
        guest_is: the same in one word.
        short: both in one line of at most 76 ASCII characters.
    """

    copy: str
    copy_is: CopyIs
    guest: str
    guest_is: GuestIs
    short: str


class Outcome(NamedTuple):
    """How a freeze ended.

    Attributes:
        kind: the outcome in one word.
        refusal: why it was not sent; only with `OutcomeKind.REFUSED`.
        cause: with *lost*, *partial*, *broken* and *failed*, where known; with any other if the VM
            has ended before its thaw.
        reason: one sentence for a person: what happened and what it means.
        frozen: the freeze's own count of file systems, None if it never answered.
        thawed: the thaw's count; None while there is none, or if it never was acknowledged.
        certified: P3: verified, still so at the thaw, counts equal, no contradiction.
        seconds: from the freeze's sending to the thaw's acknowledgement (or to now).
        coverage: ``"2 of 3"``, or None if the guest's file systems are not known.
        not_covered: the file systems of kinds that can't freeze.
        evidence: what was seen for it and against it.
        next: what a person should do now; None if nothing.
        settled: everything that had to be thawed is known to be thawed.
        stuck: why it is not settled; None if it is, or if that isn't known.
        holder: the process that goes on to thaw it when we have left; None if there is none.
        queued: the freeze is not known to have run: an agent that wakes up may run it yet.
        meaning: what it means; None until `agentclient.model.meaning` has added it.
        not_together: the group that it belongs to was not frozen together.
        kept: it is left frozen as was asked: its holder holds the window to its end.
    """

    kind: OutcomeKind
    reason: str
    refusal: Refusal | None = None
    cause: Cause | None = None
    frozen: int | None = None
    thawed: int | None = None
    certified: bool = False
    seconds: float = 0.0
    coverage: str | None = None
    not_covered: tuple[FileSystem, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    next: str | None = None
    settled: bool = False
    stuck: Stuck | None = None
    holder: int | None = None
    queued: bool = False
    meaning: Meaning | None = None
    not_together: bool = False
    kept: bool = False

    @property
    def without_group(self) -> bool:
        """Whether it was verified by itself, and its group was not frozen together."""
        return self.not_together and self.kind is OutcomeKind.VERIFIED

    @property
    def word(self) -> str:
        """What it is called wherever a person reads it."""
        if self.without_group:
            return NO_GROUP
        certified = self.certified and self.kind is OutcomeKind.VERIFIED
        return CERTIFIED if certified else self.kind.value


class ThawOutcome(NamedTuple):
    """How a thaw ended.

    Attributes:
        vm: the VM's identity.
        state: the guest's file systems after it; None if that isn't known.
        thawed: the thaw's count; 0 if nothing had to be thawed; None if it was not acknowledged.
        refused: it was not sent: foreign and not allowed, read-only, or busy.
        reason: one sentence for a person.
        seconds: how long it took.
        next: what a person should do now; None if nothing.
        stuck: why something may still be frozen; None if nothing is, or if that isn't known.
        meaning: what it means; None until `agentclient.model.meaning` has added it.
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


class ExtendOutcome(NamedTuple):
    """What came of asking another frostwatch to hold its window for longer.

    Attributes:
        vm: the VM's identity.
        ok: it is held for longer.
        seconds: by how many.
        until: until when; None if it isn't.
        reason: one sentence for a person.
        next: what a person should do now; None if nothing.
    """

    vm: VmId
    ok: bool
    seconds: float
    until: datetime | None
    reason: str
    next: str | None = None


class GroupOutcome(NamedTuple):
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


class NotFrozen(FrostwatchError):
    """A guest is not frozen that was to be; its outcome says why, what it means, and what next.

    Args:
        vm: the VM.
        outcome: what came of its freeze.
    """

    def __init__(self, vm: VmId, outcome: Outcome) -> None:
        self.outcome = outcome
        word = f"{outcome.kind}: {outcome.refusal}" if outcome.refusal else str(outcome.kind)
        step = f". NEXT: {outcome.next}" if outcome.next else ""
        super().__init__(f"{vm}: {word}: {outcome.reason}{step}")
