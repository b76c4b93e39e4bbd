"""What to do next: one table of steps for each way in which an outcome can end. Pure.

`agentclient.model.meaning` says what an outcome means, and asks here for the step that goes with
it. docs/freezing.md shows these tables, and a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from agentclient.model.next_command import (
    clear_command,
    doctor_command,
    extend_command,
    freeze_command,
    ladder_command,
    rescue_command,
    start_word,
    thaw_command,
)
from agentclient.model.outcome import CERTIFIED as CERTIFIED_WORD
from agentclient.model.outcome import NO_GROUP, Outcome
from agentclient.model.rescue import Rung
from agentclient.model.snapshot import HeldBy
from agentclient.model.states import ENDS, Cause, OutcomeKind, Refusal, Stuck
from agentclient.model.vm import Vm

# The cases of a verified freeze; every other outcome is a case by its kind.
HELD: Final = "held"
THAWING: Final = "thaw asked for"
NOT_CERTIFIED: Final = "not certified"
CERTIFIED: Final = CERTIFIED_WORD
NOT_TOGETHER: Final = NO_GROUP
KEPT: Final = "left to its holder"

# In the tables: {freeze}, {thaw}, {foreign}, {rescue}, {sysrq}, {reset}, {doctor}, {extend} and
# {clear} stand for commands that name the VM; {start} for *start* or *restart*.
FREEZE_AGAIN: Final = "{freeze}"

REFUSED_STEPS: Final[Mapping[Refusal, str]] = MappingProxyType(
    {
        Refusal.NO_AGENT: "{start} qemu-guest-agent in the guest, then: {freeze}",
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
        Refusal.READ_ONLY: "if it is meant, with --no-read-only: {freeze}",
        Refusal.SELF: "freeze it from its own host",
        Refusal.HOLDER: "see what frostwatch doctor says, then: {freeze}",
        Refusal.CANCELLED: FREEZE_AGAIN,
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
        THAWING: None,
        KEPT: "to hold it for longer: {extend}; to end it: {thaw}",
        NOT_TOGETHER: "see which of its group failed, and why; then freeze them together again",
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
        Stuck.NO_AGENT: "{start} the agent in the guest, then: {thaw}; if it can't be: {sysrq}",
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
        Stuck.NO_AGENT: "{start} the agent in the guest, for its holder; if it can't be: {sysrq}",
        Stuck.BLOCKED: "let the VM run again, for its holder",
        Stuck.STILL_FROZEN: STUCK_STEPS[Stuck.STILL_FROZEN],
        Stuck.CHANNEL: "wait for its holder; if its channel stays away: {rescue}",
        Stuck.MIGRATED: STUCK_STEPS[Stuck.MIGRATED],
        Stuck.PANICKED: STUCK_STEPS[Stuck.PANICKED],
        Stuck.FAILED: "wait for its holder; if that does not help: {rescue}",
    }
)

# {until} is the time of day; {pid} the process that was asked for the freeze, never its holder.
WHILE_HELD_STEPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "until": (
            "wait until {until}; to have its holder thaw it now, which breaks its window: {foreign}"
        ),
        "no end known": (
            "wait for its end; to have its holder thaw it now, which breaks its window: {foreign}"
        ),
        "until, its holder can't be asked": (
            "wait until {until}; to end it sooner press t in that console, or: kill {pid} (it "
            "thaws first)"
        ),
        "no end known, its holder can't be asked": (
            "wait for its end; to end it sooner press t in that console, or: kill {pid} (it thaws "
            "first)"
        ),
        "its process has ended": "wait for its holder; if its agent hangs: {rescue}",
        "left to its holder": (
            "its holder thaws it at {until}; to hold it for longer: {extend}; to end it now: {thaw}"
        ),
    }
)

_COMMAND: Final = "frostwatch "
_PLACEHOLDER: Final = re.compile(r"\{([a-z]+)\}")


def case_of(outcome: Outcome, *, final: bool, thawing: bool = False) -> str:
    """Return the case of the tables for a copy that an outcome is.

    Args:
        outcome: a freeze's.
        final: it is the final outcome; else a verdict, whose thaw is still to come.
        thawing: of a verdict: its thaw is asked for, and not acknowledged.
    """
    if (
        final
        and outcome.not_together
        and outcome.kind in (OutcomeKind.VERIFIED, OutcomeKind.UNVERIFIED)
    ):
        return NOT_TOGETHER
    if outcome.kept:
        return KEPT
    if outcome.kind is OutcomeKind.VERIFIED:
        if not final:
            return THAWING if thawing else HELD
        return CERTIFIED if outcome.certified else NOT_CERTIFIED
    if outcome.refusal is Refusal.ALREADY_FROZEN:
        return Refusal.ALREADY_FROZEN
    return outcome.kind


def next_step(
    outcome: Outcome, vm: Vm, case: str, *, provable: bool = True, again: str | None = None
) -> str | None:
    """Return what a person should do after a freeze; None if nothing.

    Args:
        outcome: the freeze's. A step that it names already knows more than the tables do.
        vm: the VM, for the commands.
        case: as `case_of` returned it.
        provable: the journal knows the freeze, so that any frostwatch may thaw it as ours.
        again: the command that asks for the same once more; None for a freeze's.
    """
    named = _named_step(outcome, again or freeze_command(vm))
    step = named or with_commands(_row(outcome, case, vm), vm, provable=provable, again=again)
    return step if outcome.settled else with_far(step, vm)


def with_far(step: str | None, vm: Vm) -> str | None:
    """Return a step for a VM that may be frozen, with what helps while no link leads to its host.

    Args:
        step: what to do next; None for nothing.
        vm: the VM.
    """
    if vm.far is None:
        return step
    there = f"while the link to {vm.far.name} is cut, there: {vm.far.thaw}"
    return f"{step}; {there}" if step else there


def step_while_held(held: HeldBy, vm: Vm, *, asked: bool = False) -> str:
    """Return what to do about a guest that another frostwatch is at work on.

    Args:
        held: that frostwatch, and until when.
        vm: the VM, for the commands.
        asked: its holder was asked, and could not do it.
    """
    row = "until" if held.until else "no end known"
    if asked:
        row = f"{row}, its holder can't be asked"
    case = "left to its holder" if held.kept else "its process has ended" if held.ended else row
    step = WHILE_HELD_STEPS[case]
    until = f"{held.until:%H:%M:%S}" if held.until else ""
    step = step.replace("{until}", until).replace("{pid}", str(held.pid))
    provable = held.window is not None and held.attached is None
    return str(with_commands(step, vm, provable=provable))


def with_commands(
    step: str | None, vm: Vm, *, provable: bool = True, again: str | None = None
) -> str | None:
    """Return a row of the tables with commands in the places of its words in braces.

    Args:
        step: the row; None for nothing.
        vm: the VM.
        provable: the journal proves that the freeze is ours, so that a thaw needs no ``--foreign``.
        again: the command that stands for ``{freeze}``; None for one that freezes alone.
    """
    if step is None:
        return None
    commands: dict[str, Callable[[], str]] = {
        "freeze": lambda: again or freeze_command(vm),
        "thaw": lambda: thaw_command(vm, foreign=not provable),
        "foreign": lambda: thaw_command(vm, foreign=True),
        "rescue": lambda: ladder_command(vm),
        "sysrq": lambda: rescue_command(vm, Rung.SYSRQ),
        "reset": lambda: rescue_command(vm, Rung.RESET),
        "doctor": lambda: doctor_command(vm),
        "extend": lambda: extend_command(vm),
        "clear": lambda: clear_command(vm),
        "start": lambda: start_word(vm),
    }
    return _PLACEHOLDER.sub(lambda place: commands[place[1]](), step)


def _row(outcome: Outcome, case: str, vm: Vm) -> str | None:
    """Return the row of the tables that says what to do after an outcome."""
    if case == KEPT:
        return KIND_STEPS[KEPT]
    if not outcome.settled:
        steps = STUCK_STEPS if outcome.holder is None else HOLDER_STEPS
        return steps[_stuck_for(outcome, vm)]
    if outcome.refusal is not None:
        return REFUSED_STEPS[outcome.refusal]
    verified = outcome.kind is OutcomeKind.VERIFIED
    if outcome.cause is not None and (not verified or outcome.cause in ENDS):
        return CAUSE_STEPS[outcome.cause]
    return KIND_STEPS.get(case)


def _stuck_for(outcome: Outcome, vm: Vm) -> Stuck:
    """Return the row for why an outcome is not settled.

    An agent that was restarted within a second of its start was never away for libvirt, which waits
    on for the one that has gone, and keeps the thaw waiting: until it is restarted once more.
    """
    stuck = outcome.stuck or Stuck.SILENT
    unnoticed = vm.is_libvirts and outcome.cause is Cause.AGENT_RESTARTED
    return Stuck.NO_AGENT if stuck is Stuck.SILENT and unnoticed else stuck


def _named_step(outcome: Outcome, again: str) -> str | None:
    """Return the step that the outcome itself names; None if it names none that can be taken."""
    step = outcome.next
    if not outcome.settled:
        return step if outcome.stuck is None and outcome.holder is None else None
    if step is None or _COMMAND in step or "kill " in step:
        return step
    return f"{step}, then: {again}"
