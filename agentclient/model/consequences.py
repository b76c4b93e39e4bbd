"""What an outcome means, and what to do next: the one table. Pure.

For the copy that somebody wanted to make, for the guest, and for the person at the keys. A copy is
*consistent* if all that it holds was frozen and written out while it was made. One that is
*crash-consistent* looks as after a power cut, if it was made in one moment; that is another thing,
and never called consistent here. docs/freezing.md shows these tables, and a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from agentclient.model.next_command import (
    doctor_command,
    freeze_command,
    ladder_command,
    rescue_command,
    thaw_command,
)
from agentclient.model.outcome import Meaning, Outcome, ThawOutcome
from agentclient.model.rescue import Found, RescueOutcome, Rung
from agentclient.model.snapshot import FreezeInfo, HeldBy, VmState
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


class Said(NamedTuple):
    """One row of the table: what is said of a copy, in full, as a word, and in short."""

    sentence: str
    word: CopyIs
    short: str


class Lot(NamedTuple):
    """One row of the table: what is said of a guest, in full, in short, and as a word."""

    sentence: str
    short: str
    word: GuestIs


# -- the copy ----------------------------------------------------------------------------------

HELD: Final = "held"
NOT_CERTIFIED: Final = "not certified"
CERTIFIED: Final = "certified"
APART: Final = "group not frozen together"

COPIES: Final[Mapping[str, Said]] = MappingProxyType(
    {
        CERTIFIED: Said(
            "A copy made within the window is consistent.",
            CopyIs.CONSISTENT,
            "copy consistent",
        ),
        HELD: Said(
            "Make the copy now; it is consistent if this ends certified.",
            CopyIs.UNKNOWN,
            "make the copy now",
        ),
        NOT_CERTIFIED: Said(
            "Not proven: it was frozen at first, but not provably until the thaw.",
            CopyIs.UNKNOWN,
            "copy not proven",
        ),
        APART: Said(
            "Not consistent with its group: the others were not frozen at the same time.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.UNVERIFIED: Said(
            "Not proven: the agent says frozen, but evidence is missing.",
            CopyIs.UNKNOWN,
            "copy not proven",
        ),
        OutcomeKind.PARTIAL: Said(
            "Not consistent: some file systems could be written to. Crash-consistent at best.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.LOST: Said(
            "Not consistent: the freeze was never acknowledged. Crash-consistent at best.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.TIMEOUT: Said(
            "Not consistent: the freeze was not acknowledged in time. Crash-consistent at best.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.FAILED: Said(
            "Not consistent: the freeze failed. Crash-consistent at best.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.BROKEN: Said(
            "Not consistent: it was thawed or written to within the window. Make the copy again.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        OutcomeKind.REFUSED: Said(
            "No window: no freeze was sent. A copy made now is crash-consistent at best.",
            CopyIs.NOT,
            "no window for a copy",
        ),
        Refusal.ALREADY_FROZEN: Said(
            "Not proven: somebody else's freeze, and when it ends isn't known here.",
            CopyIs.UNKNOWN,
            "copy not proven",
        ),
    }
)


def _copy_row(outcome: Outcome, *, final: bool) -> str:
    if final and outcome.apart and outcome.kind in (OutcomeKind.VERIFIED, OutcomeKind.UNVERIFIED):
        return APART
    if outcome.kind is OutcomeKind.VERIFIED:
        if not final:
            return HELD
        return CERTIFIED if outcome.certified else NOT_CERTIFIED
    if outcome.refusal is Refusal.ALREADY_FROZEN:
        return Refusal.ALREADY_FROZEN
    return outcome.kind


# -- the guest ---------------------------------------------------------------------------------

WRITES: Final = "thawed"
NOT_SENT: Final = "not sent"
THAW_FOLLOWS: Final = "thaw follows"
ITS_HOLDER: Final = "its holder stays"
QUEUED_HELD: Final = "queued, its holder stays"
QUEUED_ALONE: Final = "queued, nobody stays"
NOBODY: Final = "nobody stays"
ENDED: Final = "the VM has ended"
RESET: Final = "the guest was reset"

GUESTS: Final[Mapping[str, Lot]] = MappingProxyType(
    {
        WRITES: Lot("The guest writes again.", "guest writes again", GuestIs.WRITES),
        NOT_SENT: Lot(
            "The guest was left as it is: nothing was sent.",
            "guest left as it is",
            GuestIs.UNTOUCHED,
        ),
        Refusal.ALREADY_FROZEN: Lot(
            "The guest is frozen by somebody else, and was left so.",
            "guest frozen by somebody else",
            GuestIs.FROZEN,
        ),
        HELD: Lot(
            "The guest is frozen, and thawed at the end of its hold.",
            "guest frozen until its hold ends",
            GuestIs.FROZEN,
        ),
        THAW_FOLLOWS: Lot(
            "The guest may be frozen; its thaw follows now.",
            "guest may be frozen, its thaw follows",
            GuestIs.MAY_BE_FROZEN,
        ),
        ITS_HOLDER: Lot(
            "THE GUEST MAY BE FROZEN. Its holder (pid {holder}) stays, and thaws it as soon as its "
            "agent can.",
            "GUEST MAY BE FROZEN, its holder thaws it",
            GuestIs.MAY_BE_FROZEN,
        ),
        QUEUED_HELD: Lot(
            "THE GUEST WILL FREEZE when its agent wakes. Its holder (pid {holder}) stays, and "
            "thaws it then.",
            "GUEST WILL FREEZE when its agent wakes",
            GuestIs.WILL_FREEZE,
        ),
        QUEUED_ALONE: Lot(
            "THE GUEST MAY BE FROZEN, or WILL FREEZE when its agent wakes; nobody thaws it then.",
            "GUEST MAY FREEZE YET, nobody thaws it",
            GuestIs.WILL_FREEZE,
        ),
        NOBODY: Lot(
            "THE GUEST MAY BE FROZEN, and nobody thaws it any more.",
            "GUEST MAY BE FROZEN",
            GuestIs.MAY_BE_FROZEN,
        ),
        Stuck.MIGRATED: Lot(
            "THE GUEST MAY BE FROZEN on the host where it runs now.",
            "GUEST MAY BE FROZEN on its new host",
            GuestIs.MAY_BE_FROZEN,
        ),
        Stuck.PANICKED: Lot(
            "The guest's kernel has panicked: nothing in it runs until it is reset.",
            "guest has panicked",
            GuestIs.ENDED,
        ),
        ENDED: Lot(
            "The guest does not run any more: nothing is frozen.",
            "guest does not run any more",
            GuestIs.ENDED,
        ),
        RESET: Lot("The guest was reset: nothing is frozen.", "guest was reset", GuestIs.WRITES),
    }
)


def _guest_row(outcome: Outcome, *, final: bool) -> str:
    if outcome.kind is OutcomeKind.REFUSED:
        foreign = outcome.refusal is Refusal.ALREADY_FROZEN
        return Refusal.ALREADY_FROZEN if foreign else NOT_SENT
    if outcome.settled:
        if outcome.cause in ENDS:
            return ENDED
        return RESET if outcome.cause is Cause.GUEST_RESET else WRITES
    if not final:
        return HELD if outcome.kind is OutcomeKind.VERIFIED else THAW_FOLLOWS
    if outcome.stuck in (Stuck.MIGRATED, Stuck.PANICKED):
        return outcome.stuck
    if outcome.holder is not None:
        return QUEUED_HELD if outcome.queued else ITS_HOLDER
    return QUEUED_ALONE if outcome.queued else NOBODY


# -- the next step -----------------------------------------------------------------------------

# {freeze}, {thaw}, {foreign}, {rescue}, {sysrq}, {reset}: commands with the VM's own selector.
AGAIN: Final = "{freeze}"

REFUSED_STEPS: Final[Mapping[Refusal, str]] = MappingProxyType(
    {
        Refusal.NO_AGENT: "start qemu-guest-agent in the guest, then: {freeze}",
        Refusal.SILENT: "look at the agent in the guest, or restart it, then: {freeze}",
        Refusal.PAUSED: "resume the VM, then: {freeze}",
        Refusal.SUSPENDED: "wake the guest up, then: {freeze}",
        Refusal.MIGRATING: "wait for the migration's end, or cancel it, then: {freeze}",
        Refusal.LOCKED: "wait until its manager has finished, then: {freeze}",
        Refusal.ALREADY_FROZEN: (
            "find out who froze it; a thaw breaks that window, perhaps a backup's: {foreign}"
        ),
        Refusal.DISABLED: "enable what is named there, then: {freeze}",
        Refusal.BUSY: "wait until the channel is free, then: {freeze}",
        Refusal.MONITOR_REQUIRED: "give the VM a monitor (-qmp), then: {freeze}",
        Refusal.READ_ONLY: "without --read-only: {freeze}",
        Refusal.SELF: "freeze it from its own host",
        Refusal.HOLDER: "see what frostwatch doctor says, then: {freeze}",
        Refusal.CANCELLED: AGAIN,
        Refusal.MOUNTS: "name what the guest has, then: {freeze}",
        Refusal.NOT_BEGUN: "mend what is named there, then: {freeze}",
    }
)

CAUSE_STEPS: Final[Mapping[Cause, str]] = MappingProxyType(
    {
        Cause.AGENT_GONE: (
            "find out in the guest why its agent ended; when one runs again: {freeze}"
        ),
        Cause.AGENT_RESTARTED: "find out in the guest why its agent was restarted, then: {freeze}",
        Cause.GUEST_RESET: "when the guest is up again: {freeze}",
        Cause.GUEST_SHUTDOWN: "start the guest, then: {freeze}",
        Cause.GUEST_PANICKED: "reset the guest, then: {freeze}",
        Cause.GUEST_SUSPENDED: "wake the guest up, then: {freeze}",
        Cause.VM_GONE: "start the VM, then: {freeze}",
        Cause.MIGRATED: "on the host where it runs now: {freeze}",
        Cause.CHANNEL_BROKEN: "see what {doctor} says, then: {freeze}",
        Cause.UNKNOWN: "see what {doctor} says, then: {freeze}",
    }
)

KIND_STEPS: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        CERTIFIED: None,
        HELD: None,
        APART: "see which of its group failed, and why; then freeze them together again",
        NOT_CERTIFIED: "for a copy that is proven: {freeze}",
        OutcomeKind.UNVERIFIED: "see the evidence; mend what is missing, then: {freeze}",
        OutcomeKind.PARTIAL: "look in the guest which file system does not freeze, then: {freeze}",
        OutcomeKind.LOST: "see what {doctor} says, then: {freeze}",
        OutcomeKind.TIMEOUT: (
            "look in the guest what its agent and its freeze hooks do, then: {freeze}"
        ),
        OutcomeKind.FAILED: "mend in the guest what the agent's words name, then: {freeze}",
        OutcomeKind.BROKEN: "find out who wrote or thawed, then: {freeze}",
    }
)

STUCK_STEPS: Final[Mapping[Stuck, str]] = MappingProxyType(
    {
        Stuck.SILENT: "{rescue}",
        Stuck.NO_AGENT: "start the agent in the guest, then: {thaw}; if it can't be: {sysrq}",
        Stuck.BLOCKED: "let the VM run again, then: {thaw}",
        Stuck.STILL_FROZEN: "{sysrq}; if that does not help: {reset}",
        Stuck.CHANNEL: "{thaw}",
        Stuck.MIGRATED: "on the host where it runs now: {foreign}",
        Stuck.PANICKED: "{reset}",
        Stuck.FAILED: "{thaw}",
    }
)
# The same where its holder stays, and thaws as soon as it can.
HOLDER_STEPS: Final[Mapping[Stuck, str]] = MappingProxyType(
    {
        Stuck.SILENT: "wait for its holder; if its agent hangs: {rescue}",
        Stuck.NO_AGENT: "start the agent in the guest, for its holder; if it can't be: {sysrq}",
        Stuck.BLOCKED: "let the VM run again, for its holder",
        Stuck.STILL_FROZEN: STUCK_STEPS[Stuck.STILL_FROZEN],
        Stuck.CHANNEL: "wait for its holder; if its channel stays away: {rescue}",
        Stuck.MIGRATED: STUCK_STEPS[Stuck.MIGRATED],
        Stuck.PANICKED: STUCK_STEPS[Stuck.PANICKED],
        Stuck.FAILED: "wait for its holder; if that does not help: {rescue}",
    }
)


def _step(outcome: Outcome, row: str) -> str | None:
    """Return the row of the tables above that says what to do after an outcome."""
    if not outcome.settled:
        steps = STUCK_STEPS if outcome.holder is None else HOLDER_STEPS
        return steps[outcome.stuck or Stuck.SILENT]
    if outcome.refusal is not None:
        return REFUSED_STEPS[outcome.refusal]
    verified = outcome.kind is OutcomeKind.VERIFIED
    if outcome.cause is not None and (not verified or outcome.cause in ENDS):
        return CAUSE_STEPS[outcome.cause]
    return KIND_STEPS.get(row)


# -- what another frostwatch does ----------------------------------------------------------------

# {until} is a clock's time, {pid} the process that was asked for the freeze: never its holder.
ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "until": (
            "wait until {until}; to end it sooner press t in that console, or: kill {pid} (it "
            "thaws first)"
        ),
        "no end known": (
            "wait for its end; to end it sooner press t in that console, or: kill {pid} (it thaws "
            "first)"
        ),
        "its process has ended": "wait for its holder; if its agent hangs: {rescue}",
    }
)


def elsewhere(held: HeldBy, vm: Vm) -> str:
    """Return what to do about a guest that another frostwatch is at work on."""
    row = "until" if held.until else "no end known"
    step = ELSEWHERE["its process has ended" if held.ended else row]
    until = f"{held.until:%H:%M:%S}" if held.until else ""
    return str(spelled(step.replace("{until}", until).replace("{pid}", str(held.pid)), vm))


# -- what is handed out ------------------------------------------------------------------------


def meant(outcome: Outcome, vm: Vm, *, final: bool = True, provable: bool = True) -> Outcome:
    """Return a freeze's outcome with its meaning and the next step; doing it again changes nothing.

    Args:
        outcome: it.
        vm: the VM, for the commands.
        final: it is the last word; else a verdict, whose thaw is still to come.
        provable: the journal knows the freeze, so that any frostwatch may thaw it as ours.
    """
    if outcome.meaning is not None:
        return outcome
    row = _copy_row(outcome, final=final)
    copy, guest = COPIES[row], GUESTS[_guest_row(outcome, final=final)]
    step = None
    if final or outcome.settled:
        step = _own_words(outcome, vm) or spelled(_step(outcome, row), vm, provable=provable)
    return outcome._replace(meaning=_meaning(copy, guest, outcome.holder), next=step)


def _own_words(outcome: Outcome, vm: Vm) -> str | None:
    """Return the step that somebody has named who knows more than the tables do."""
    step = outcome.next
    if not outcome.settled:
        return step if outcome.stuck is None and outcome.holder is None else None
    if step is None or _COMMAND in step or "kill " in step:
        return step
    return f"{step}, then: {freeze_command(vm)}"


def thawed_later(outcome: Outcome) -> Outcome:
    """Return the outcome of a freeze that was left, now that nothing is frozen any more."""
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
            last = thawed_later(last)  # nobody needs to thaw it any more
    return state._replace(freeze=info, last=last, left=left)


def _meaning(copy: Said, guest: Lot, holder: int | None) -> Meaning:
    said = guest.sentence.replace("{holder}", str(holder))
    short = f"{copy.short}; {guest.short}"
    return Meaning(copy.sentence, copy.word, said, guest.word, short)


def spelled(step: str | None, vm: Vm, *, provable: bool = True) -> str | None:
    """Return a row of the tables with its commands.

    Args:
        step: the row; None for nothing.
        vm: the VM.
        provable: the journal proves that the freeze is ours, so that a thaw needs no ``--foreign``.
    """
    if step is None:
        return None
    commands: dict[str, Callable[[], str]] = {
        "freeze": lambda: freeze_command(vm),
        "thaw": lambda: thaw_command(vm, foreign=not provable),
        "foreign": lambda: thaw_command(vm, foreign=True),
        "rescue": lambda: ladder_command(vm),
        "sysrq": lambda: rescue_command(vm, Rung.SYSRQ),
        "reset": lambda: rescue_command(vm, Rung.RESET),
        "doctor": lambda: doctor_command(vm),
    }
    return _PLACE.sub(lambda place: commands[place[1]](), step)


_COMMAND: Final = "frostwatch "
_PLACE: Final = re.compile(r"\{([a-z]+)\}")


# -- a thaw on its own, and a rung ----------------------------------------------------------------

ENDED_A_WINDOW: Final = "it was frozen"
ENDED_NONE: Final = "nothing was frozen"
LEFT_ALONE: Final = "nothing was sent"
IN_DOUBT: Final = "not acknowledged"

THAW_COPIES: Final[Mapping[str, Said]] = MappingProxyType(
    {
        ENDED_A_WINDOW: Said(
            "A copy that was still being made is not consistent: its window ends here.",
            CopyIs.NOT,
            "copy not consistent",
        ),
        ENDED_NONE: Said(
            "No window was ended: nothing was frozen.",
            CopyIs.UNKNOWN,
            "no window was ended",
        ),
        LEFT_ALONE: Said(
            "No window was ended: nothing was sent.",
            CopyIs.UNKNOWN,
            "no window was ended",
        ),
        IN_DOUBT: Said(
            "Whether a window was ended isn't known: don't count on a copy that is being made.",
            CopyIs.UNKNOWN,
            "copy not proven",
        ),
    }
)


def thaw_meant(thaw: ThawOutcome, vm: Vm, *, provable: bool = True) -> ThawOutcome:
    """Return a thaw's outcome with its meaning and the next step; see `meant`."""
    if thaw.meaning is not None:
        return thaw
    copy, guest = _thaw_rows(thaw.thawed, ok=thaw.ok, refused=thaw.refused)
    foreign = thaw.refused and thaw.state is FreezeState.FROZEN
    if foreign:
        guest = Refusal.ALREADY_FROZEN
    elif thaw.stuck in (Stuck.MIGRATED, Stuck.PANICKED):
        guest = thaw.stuck
    step = thaw.next
    if foreign:
        step = spelled(REFUSED_STEPS[Refusal.ALREADY_FROZEN], vm)
    elif thaw.stuck is not None:
        step = spelled(STUCK_STEPS[thaw.stuck], vm, provable=provable)
    return replace(thaw, meaning=_meaning(THAW_COPIES[copy], GUESTS[guest], None), next=step)


def rescue_meant(rescue: RescueOutcome) -> RescueOutcome:
    """Return a rung's outcome with its meaning; it names the next rung itself."""
    if rescue.meaning is not None:
        return rescue
    copy, guest = _thaw_rows(rescue.thawed, ok=rescue.ok, refused=rescue.refused)
    if rescue.found is Found.RESET:
        copy, guest = ENDED_A_WINDOW, RESET
    return replace(rescue, meaning=_meaning(THAW_COPIES[copy], GUESTS[guest], None))


def _thaw_rows(thawed: int | None, *, ok: bool, refused: bool) -> tuple[str, str]:
    """Return the rows of the copy and of the guest that say what a thaw has come to."""
    if refused:
        return LEFT_ALONE, NOT_SENT
    if not ok:
        return IN_DOUBT, NOBODY
    return (ENDED_NONE if thawed == 0 else ENDED_A_WINDOW), WRITES
