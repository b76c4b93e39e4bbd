"""What an outcome means: for a copy that is made of the disks, and for the guest. Pure.

A copy is *consistent* if all that it holds was frozen and written out while it was made. One that
is *crash-consistent* looks as after a power cut, if it was made in one moment; that is another
thing, and never called consistent here. docs/freezing.md shows these tables, and a test compares
them. What to do next is in `agentclient.model.next_step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from agentclient.model.next_step import (
    CERTIFIED,
    HELD,
    KEPT,
    NOT_CERTIFIED,
    NOT_TOGETHER,
    REFUSED_STEPS,
    STUCK_STEPS,
    THAWING,
    case_of,
    next_step,
    with_commands,
    with_far,
)
from agentclient.model.outcome import Meaning, Outcome, ThawOutcome
from agentclient.model.rescue import RescueOutcome, RungResult
from agentclient.model.snapshot import FreezeInfo, VmState
from agentclient.model.states import (
    ENDS,
    Cause,
    CopyIs,
    FreezeState,
    GuestIs,
    OutcomeKind,
    Refusal,
    Stuck,
)
from agentclient.model.vm import Vm


class CopyMeaning(NamedTuple):
    """One row of a table: what an outcome means for a copy of the disks.

    Attributes:
        sentence: for a person.
        word: for a program.
        short: for a person who has room for a few words only.
    """

    sentence: str
    word: CopyIs
    short: str


class GuestMeaning(NamedTuple):
    """One row of a table: what an outcome means for the guest.

    Attributes:
        sentence: for a person; ``{holder}`` stands for the holder's pid.
        short: for a person who has room for a few words only.
        word: for a program.
    """

    sentence: str
    short: str
    word: GuestIs


# -- a freeze: the copy --------------------------------------------------------------------------

COPIES: Final[Mapping[str, CopyMeaning]] = MappingProxyType(
    {
        CERTIFIED: CopyMeaning(
            "A copy made within the window is consistent.",
            CopyIs.CONSISTENT,
            "copy consistent",
        ),
        HELD: CopyMeaning(
            "Make the copy now; it is consistent if this ends certified.",
            CopyIs.UNKNOWN,
            "make the copy now",
        ),
        THAWING: CopyMeaning(
            "Too late: a copy made before is consistent if this ends certified.",
            CopyIs.UNKNOWN,
            "too late for a copy",
        ),
        KEPT: CopyMeaning(
            "Make the copy now; that it was frozen until its end is not proven by anybody.",
            CopyIs.UNKNOWN,
            "make the copy now",
        ),
        NOT_CERTIFIED: CopyMeaning(
            "Not proven: it was frozen at first, but not provably until the thaw.",
            CopyIs.UNKNOWN,
            "copy not proven",
        ),
        NOT_TOGETHER: CopyMeaning(
            "Not consistent with its group: the others were not frozen at the same time.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.UNVERIFIED: CopyMeaning(
            "Not proven: the agent says frozen, but evidence is missing.",
            CopyIs.UNKNOWN,
            "copy not proven",
        ),
        OutcomeKind.PARTIAL: CopyMeaning(
            "Not consistent: some file systems could be written to. Crash-consistent at best.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.LOST: CopyMeaning(
            "Not consistent: the freeze was never acknowledged. Crash-consistent at best.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.TIMEOUT: CopyMeaning(
            "Not consistent: the freeze was not acknowledged in time. Crash-consistent at best.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.FAILED: CopyMeaning(
            "Not consistent: the freeze failed. Crash-consistent at best.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.BROKEN: CopyMeaning(
            "Not consistent: it was thawed or written to within the window. Make the copy again.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.REFUSED: CopyMeaning(
            "No window: no freeze was sent. A copy made now is crash-consistent at best.",
            CopyIs.NOT,
            "no window for a copy",
        ),
        Refusal.ALREADY_FROZEN: CopyMeaning(
            "Not proven: somebody else's freeze, and when it ends isn't known here.",
            CopyIs.UNKNOWN,
            "copy not proven",
        ),
    }
)

# -- a freeze: the guest -------------------------------------------------------------------------

WRITES: Final = "thawed"
NOT_SENT: Final = "not sent"
THAW_FOLLOWS: Final = "thaw follows"
ITS_HOLDER: Final = "its holder stays"
QUEUED_HELD: Final = "queued, its holder stays"
QUEUED_ALONE: Final = "queued, nobody stays"
NOBODY: Final = "nobody stays"
ENDED: Final = "the VM has ended"
RESET: Final = "the guest was reset"

GUESTS: Final[Mapping[str, GuestMeaning]] = MappingProxyType(
    {
        WRITES: GuestMeaning("The guest writes again.", "guest writes again", GuestIs.WRITES),
        NOT_SENT: GuestMeaning(
            "The guest was left as it is: nothing was sent.",
            "guest left as it is",
            GuestIs.UNTOUCHED,
        ),
        Refusal.ALREADY_FROZEN: GuestMeaning(
            "The guest is frozen by somebody else, and was left so.",
            "guest frozen by somebody else",
            GuestIs.FROZEN,
        ),
        HELD: GuestMeaning(
            "The guest is frozen, and thawed at the end of its hold.",
            "guest frozen until its hold ends",
            GuestIs.FROZEN,
        ),
        THAWING: GuestMeaning(
            "The guest may still be frozen: the thaw is not acknowledged yet.",
            "guest may still be frozen",
            GuestIs.MAY_BE_FROZEN,
        ),
        KEPT: GuestMeaning(
            "The guest is frozen; its holder (pid {holder}) thaws it at the end of its hold.",
            "guest frozen, its holder thaws it",
            GuestIs.FROZEN,
        ),
        THAW_FOLLOWS: GuestMeaning(
            "The guest may be frozen; its thaw follows now.",
            "guest may be frozen, its thaw follows",
            GuestIs.MAY_BE_FROZEN,
        ),
        ITS_HOLDER: GuestMeaning(
            "THE GUEST MAY BE FROZEN. Its holder (pid {holder}) stays, and thaws it as soon as its "
            "agent can.",
            "GUEST MAY BE FROZEN, its holder thaws it",
            GuestIs.MAY_BE_FROZEN,
        ),
        QUEUED_HELD: GuestMeaning(
            "THE GUEST WILL FREEZE when its agent wakes. Its holder (pid {holder}) stays, and "
            "thaws it then.",
            "GUEST WILL FREEZE when its agent wakes",
            GuestIs.WILL_FREEZE,
        ),
        QUEUED_ALONE: GuestMeaning(
            "THE GUEST MAY BE FROZEN, or WILL FREEZE when its agent wakes; nobody thaws it then.",
            "GUEST MAY FREEZE YET, nobody thaws it",
            GuestIs.WILL_FREEZE,
        ),
        NOBODY: GuestMeaning(
            "THE GUEST MAY BE FROZEN, and nobody thaws it any more.",
            "GUEST MAY BE FROZEN",
            GuestIs.MAY_BE_FROZEN,
        ),
        Stuck.MIGRATED: GuestMeaning(
            "THE GUEST MAY BE FROZEN on the host where it runs now.",
            "GUEST MAY BE FROZEN on its new host",
            GuestIs.MAY_BE_FROZEN,
        ),
        Stuck.PANICKED: GuestMeaning(
            "The guest's kernel has panicked: nothing in it runs until it is reset.",
            "guest has panicked",
            GuestIs.ENDED,
        ),
        ENDED: GuestMeaning(
            "The guest does not run any more: nothing is frozen.",
            "guest does not run any more",
            GuestIs.ENDED,
        ),
        RESET: GuestMeaning(
            "The guest was reset: nothing is frozen.", "guest was reset", GuestIs.WRITES
        ),
    }
)

# -- a thaw on its own, and a rung of a rescue -----------------------------------------------------

ENDED_A_WINDOW: Final = "it was frozen"
ENDED_NONE: Final = "nothing was frozen"
LEFT_ALONE: Final = "nothing was sent"
IN_DOUBT: Final = "not acknowledged"

THAW_COPIES: Final[Mapping[str, CopyMeaning]] = MappingProxyType(
    {
        ENDED_A_WINDOW: CopyMeaning(
            "A copy that was still being made is not consistent: its window ends here.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        ENDED_NONE: CopyMeaning(
            "No window was ended: nothing was frozen.",
            CopyIs.UNKNOWN,
            "no window was ended",
        ),
        LEFT_ALONE: CopyMeaning(
            "No window was ended: nothing was sent.",
            CopyIs.UNKNOWN,
            "no window was ended",
        ),
        IN_DOUBT: CopyMeaning(
            "Whether a window was ended isn't known: don't count on a copy that is being made.",
            CopyIs.UNKNOWN,
            "copy not proven",
        ),
    }
)


def with_meaning(
    outcome: Outcome,
    vm: Vm,
    *,
    final: bool = True,
    thawing: bool = False,
    provable: bool = True,
    again: str | None = None,
) -> Outcome:
    """Return a freeze's outcome with its meaning and the next step; doing it again changes nothing.

    Args:
        outcome: the freeze's.
        vm: the VM, for the commands.
        final: it is the final outcome; else a verdict, whose thaw is still to come.
        thawing: of a verdict: its thaw is asked for, and not acknowledged.
        provable: the journal knows the freeze, so that any frostwatch may thaw it as ours.
        again: the command that asks for the same once more; None for a freeze's.
    """
    if outcome.meaning is not None:
        return outcome
    case = case_of(outcome, final=final, thawing=thawing)
    guest = _guest_case(outcome, final=final)
    if guest == HELD:
        guest = case
    meaning = _meaning(COPIES[case], GUESTS[guest], outcome.holder)
    step = None
    if final or outcome.settled:
        step = next_step(outcome, vm, case, provable=provable, again=again)
    return outcome._replace(meaning=meaning, next=step)


def thaw_with_meaning(thaw: ThawOutcome, vm: Vm, *, provable: bool = True) -> ThawOutcome:
    """Return a thaw's outcome with its meaning and the next step; see `with_meaning`."""
    if thaw.meaning is not None:
        return thaw
    copy, guest = _thaw_cases(thaw.thawed, ok=thaw.ok, refused=thaw.refused)
    foreign = thaw.refused and thaw.state is FreezeState.FROZEN
    if foreign:
        guest = Refusal.ALREADY_FROZEN
    elif thaw.stuck in (Stuck.MIGRATED, Stuck.PANICKED):
        guest = thaw.stuck
    step = thaw.next
    if foreign:
        step = with_commands(REFUSED_STEPS[Refusal.ALREADY_FROZEN], vm)
    elif thaw.stuck is not None:
        step = with_far(with_commands(STUCK_STEPS[thaw.stuck], vm, provable=provable), vm)
    return thaw._replace(meaning=_meaning(THAW_COPIES[copy], GUESTS[guest], None), next=step)


def rescue_with_meaning(rescue: RescueOutcome) -> RescueOutcome:
    """Return a rung's outcome with its meaning; it names the next rung itself."""
    if rescue.meaning is not None:
        return rescue
    copy, guest = _thaw_cases(rescue.thawed, ok=rescue.ok, refused=rescue.refused)
    if rescue.found is RungResult.RESET:
        copy, guest = ENDED_A_WINDOW, RESET
    return replace(rescue, meaning=_meaning(THAW_COPIES[copy], GUESTS[guest], None))


def thawed_later(outcome: Outcome) -> Outcome:
    """Return the outcome of a freeze that was left frozen, now that nothing is frozen any more."""
    meaning = outcome.meaning
    if meaning is not None:
        guest = GUESTS[WRITES]
        short = f"{meaning.short.partition(';')[0]}; {guest.short}"
        meaning = meaning._replace(guest=guest.sentence, guest_is=guest.word, short=short)
    return outcome._replace(settled=True, stuck=None, next=None, meaning=meaning)


def with_freeze(state: VmState, info: FreezeInfo, *, gone: bool = False) -> VmState:
    """Return what is known of a VM, with another state of its file systems.

    Args:
        state: what was known.
        info: what is known of the file systems now.
        gone: the guest does not run any more.
    """
    last, left = state.last, state.left
    if gone or info.state is FreezeState.THAWED:
        left = None
        if state.left_frozen and last is not None:
            last = thawed_later(last)  # it needs no thaw any more
    return state._replace(freeze=info, last=last, left=left)


def _guest_case(outcome: Outcome, *, final: bool) -> str:
    if outcome.kind is OutcomeKind.REFUSED:
        foreign = outcome.refusal is Refusal.ALREADY_FROZEN
        return Refusal.ALREADY_FROZEN if foreign else NOT_SENT
    if outcome.settled:
        if outcome.cause in ENDS:
            return ENDED
        return RESET if outcome.cause is Cause.GUEST_RESET else WRITES
    if outcome.kept:
        return KEPT
    if not final:
        return HELD if outcome.kind is OutcomeKind.VERIFIED else THAW_FOLLOWS
    if outcome.stuck in (Stuck.MIGRATED, Stuck.PANICKED):
        return outcome.stuck
    if outcome.holder is not None:
        return QUEUED_HELD if outcome.queued else ITS_HOLDER
    return QUEUED_ALONE if outcome.queued else NOBODY


def _thaw_cases(thawed: int | None, *, ok: bool, refused: bool) -> tuple[str, str]:
    """Return the cases of the copy and of the guest that a thaw's result is."""
    if refused:
        return LEFT_ALONE, NOT_SENT
    if not ok:
        return IN_DOUBT, NOBODY
    return (ENDED_NONE if thawed == 0 else ENDED_A_WINDOW), WRITES


def _meaning(copy: CopyMeaning, guest: GuestMeaning, holder: int | None) -> Meaning:
    said = guest.sentence.replace("{holder}", str(holder))
    short = f"{copy.short}; {guest.short}"
    return Meaning(copy.sentence, copy.word, said, guest.word, short)
