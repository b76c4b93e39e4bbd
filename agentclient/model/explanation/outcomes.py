"""What outcomes, refusals and causes mean, and how they are known.

What they mean for the data, and what to do, comes from the tables that outcomes themselves use:
`agentclient.model.meaning` and `agentclient.model.next_step`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from agentclient.model.explanation.entry import Explanation, Hand, Topic
from agentclient.model.meaning import COPIES, GUESTS, NOBODY, NOT_SENT
from agentclient.model.next_step import (
    CAUSE_STEPS,
    CERTIFIED,
    HELD,
    KEPT,
    KIND_STEPS,
    NOT_CERTIFIED,
    NOT_TOGETHER,
    REFUSED_STEPS,
    STUCK_STEPS,
    THAWING,
)
from agentclient.model.states import Cause, OutcomeKind, Refusal, Stuck

_SENT: Final = (Hand.STATUS, Hand.THAW)

# What it says, how it is known, and what can be done by hand.
_Row = tuple[str, str, tuple[Hand, ...]]

OUTCOMES: Final[Mapping[str, _Row]] = MappingProxyType(
    {
        CERTIFIED: (
            "verified, still so at the thaw, and nothing speaks against it",
            "Verified; the status asked just before the thaw says frozen, the thaw's count equals "
            "the freeze's, the port never closed, and no writes were seen.",
            (Hand.STATUS,),
        ),
        HELD: (
            "verified, and the window is open",
            "The freeze's own reply, its count equal to what can freeze, the status asked after "
            "it, and a port that has not closed since.",
            _SENT,
        ),
        THAWING: (
            "verified, and its thaw is asked for",
            "The freeze was verified; a person, a command's end or the end of its hold has asked "
            "for the thaw, and the agent has not acknowledged it.",
            _SENT,
        ),
        KEPT: (
            "its window was left to its holder, which thaws it at its end",
            "The console has left, and its holder has the channel. Nobody gathers evidence until "
            "the end.",
            _SENT,
        ),
        NOT_CERTIFIED: (
            "verified at first; what proves it until the thaw is missing",
            "The evidence names what was not answered or could not be seen: the status before the "
            "thaw, the thaw's count, or the port until the end.",
            _SENT,
        ),
        NOT_TOGETHER: (
            "verified by itself; its group was not frozen together",
            "A member of its group was not frozen in time, or not held as long: the group's "
            "sentence names it.",
            _SENT,
        ),
        OutcomeKind.UNVERIFIED: (
            "the freeze's own reply says frozen; some evidence is missing, and is named",
            "Nothing speaks against it, but not all that is needed was seen: the list of file "
            "systems, the status, or the port.",
            (Hand.STATUS, Hand.FILE_SYSTEMS, Hand.PORT),
        ),
        OutcomeKind.PARTIAL: (
            "some file systems are frozen, or may not be",
            "The freeze's count is lower than what can freeze, or the port closed meanwhile, or an "
            "error was followed by the status frozen.",
            (Hand.STATUS, Hand.FILE_SYSTEMS, Hand.THAW),
        ),
        OutcomeKind.LOST: (
            "the freeze will never be answered",
            "The agent's port closed or was opened anew, or a later request was answered first; "
            "the channel was drained before that was said. A reply that comes after all revises "
            "it.",
            (Hand.PORT, Hand.STATUS, Hand.THAW),
        ),
        OutcomeKind.TIMEOUT: (
            "the bound ran out without an answer",
            "Every step of the schedule is over; a thaw is queued behind the freeze.",
            (Hand.HOOKS, Hand.STATUS, Hand.THAW),
        ),
        OutcomeKind.FAILED: (
            "the agent answered with an error, or froze nothing",
            "The agent's own words, which are shown. A thaw follows, since a hook may have run.",
            (Hand.HOOKS, Hand.STATUS, Hand.FILE_SYSTEMS),
        ),
        OutcomeKind.BROKEN: (
            "it was verified, then thawed or written to while it was held",
            "The status just before the thaw, a thaw's count below the freeze's, or bytes that the "
            "host saw written in the window.",
            (Hand.STATUS, Hand.WRITES),
        ),
        OutcomeKind.REFUSED: (
            "it was not sent; the reason is named",
            "A check before the freeze speaks against it; most of them cost the guest no byte.",
            (),
        ),
    }
)

REFUSALS: Final[Mapping[Refusal, _Row]] = MappingProxyType(
    {
        Refusal.NO_AGENT: (
            "no agent can be reached",
            "QEMU's monitor shows its port closed, or there is no channel, or it can't be opened.",
            (Hand.PORT, Hand.START_AGENT),
        ),
        Refusal.SILENT: (
            "the agent did not answer the question before the freeze",
            "A sync, or the status, had no answer within its bound.",
            (Hand.CLIENTS, Hand.IN_GUEST),
        ),
        Refusal.PAUSED: (
            "the VM is paused, or stopped by an error of its storage",
            "QEMU's monitor says so.",
            (Hand.RUN_STATE, Hand.RESUME),
        ),
        Refusal.SUSPENDED: ("the guest sleeps", "QEMU's monitor says so.", (Hand.WAKE,)),
        Refusal.MIGRATING: (
            "the VM is migrating, or has migrated away",
            "QEMU's monitor says so.",
            (Hand.MIGRATION,),
        ),
        Refusal.LOCKED: (
            "its manager is at work on it",
            "Proxmox's configuration of the VM has a lock, or could not be read.",
            (Hand.UNLOCK,),
        ),
        Refusal.ALREADY_FROZEN: (
            "it is frozen already, and not provably by us",
            "Its agent says so, asked just before the freeze was to be sent.",
            (Hand.CLIENTS, Hand.STATUS, Hand.THAW),
        ),
        Refusal.DISABLED: (
            "the agent's filter, its manager or the settings forbid it",
            "The agent lists which commands it takes; a manager's switch is in its configuration.",
            (Hand.INFO,),
        ),
        Refusal.BUSY: (
            "another client has the agent's channel, or something is in flight on the VM",
            "QEMU's monitor shows a client, or a frostwatch is known to hold it.",
            (Hand.CLIENTS,),
        ),
        Refusal.READ_ONLY: (
            "nothing may be sent, to any guest or to this one",
            "The option --read-only, or the settings.",
            (),
        ),
        Refusal.SELF: (
            "it is the machine on which frostwatch runs",
            "Its UUID is this machine's own.",
            (),
        ),
        Refusal.HOLDER: (
            "no holder could be made that would thaw it if this process died",
            "The holder was started, and did not say that it stands by.",
            (),
        ),
        Refusal.CANCELLED: (
            "somebody stopped it before it was sent",
            "This console was asked.",
            (),
        ),
        Refusal.MOUNTS: (
            "what was named to be frozen is not there, or can't freeze",
            "The guest's own list of file systems, asked just before.",
            (Hand.FILE_SYSTEMS,),
        ),
        Refusal.NOT_BEGUN: (
            "this host or the channel failed before it was sent",
            "The error is named: no thread, no descriptor, a channel that broke.",
            (),
        ),
    }
)

_NEVER: Final = "What was waited for will not be answered; what it did in the guest isn't known."
_OVER: Final = "Nothing is frozen any more. What the guest had not written out is lost."

# What it says, how it is known, what it means for the data, and what can be done by hand.
CAUSES: Final[Mapping[Cause, tuple[str, str, str, tuple[Hand, ...]]]] = MappingProxyType(
    {
        Cause.AGENT_GONE: (
            "the agent has ended, and no other runs",
            "Its port closed and stayed closed, while the guest went on.",
            f"{_NEVER} What it froze stays frozen without it.",
            (Hand.PORT, Hand.START_AGENT, Hand.SYSRQ),
        ),
        Cause.AGENT_RESTARTED: (
            "another agent runs than the one that was asked",
            "Its port closed and was opened again: a counter of QEMU's tells that even when nobody "
            "looked in between.",
            f"{_NEVER} The new agent does not know what the old one froze, and says thawed.",
            (Hand.STATUS, Hand.THAW),
        ),
        Cause.GUEST_RESET: (
            "the guest was reset",
            "QEMU's own event; a counter that fell is no proof, and is called unknown.",
            _OVER,
            (Hand.RUN_STATE,),
        ),
        Cause.GUEST_SHUTDOWN: (
            "the guest was shut down",
            "QEMU's monitor says so.",
            "Nothing is frozen any more.",
            (Hand.START,),
        ),
        Cause.GUEST_PANICKED: (
            "the guest's kernel has panicked",
            "The guest told it to QEMU (a pvpanic device).",
            f"{_NEVER} Nothing in the guest runs until it is reset.",
            (Hand.RESET,),
        ),
        Cause.GUEST_SUSPENDED: (
            "the guest sleeps",
            "QEMU's monitor says so.",
            "What was sent is run when it wakes up: it may freeze then.",
            (Hand.WAKE, Hand.STATUS),
        ),
        Cause.VM_GONE: (
            "the VM has ended",
            "It is proven: by the end of its process, or by its manager.",
            _OVER,
            (Hand.START,),
        ),
        Cause.MIGRATED: (
            "the VM has migrated to another host, or to another QEMU of this one",
            "QEMU's monitor says that the migration is complete.",
            "What is frozen is frozen there.",
            (Hand.MIGRATION,),
        ),
        Cause.CHANNEL_BROKEN: (
            "the channel to the agent broke, or carried what is no answer",
            "Our connection ended, or 8 MiB came that answer nothing.",
            _NEVER,
            (Hand.CLIENTS, Hand.STATUS),
        ),
        Cause.UNKNOWN: (
            "why is not known",
            "A later request was answered first, or a counter changed in a way that has several "
            "reasons.",
            _NEVER,
            (Hand.PORT, Hand.STATUS),
        ),
    }
)

STUCKS: Final[Mapping[Stuck, _Row]] = MappingProxyType(
    {
        Stuck.SILENT: (
            "the agent did not acknowledge the thaw",
            "The thaw was sent again and again until its bound, and nothing came.",
            (Hand.STATUS, Hand.THAW, Hand.SYSRQ),
        ),
        Stuck.NO_AGENT: (
            "no agent runs that could thaw",
            "QEMU's monitor shows the port closed until the thaw's bound.",
            (Hand.START_AGENT, Hand.SYSRQ),
        ),
        Stuck.BLOCKED: (
            "the host keeps the guest from answering the thaw",
            "QEMU's monitor: paused, suspended, or stopped by an error.",
            (Hand.RUN_STATE, Hand.RESUME),
        ),
        Stuck.STILL_FROZEN: (
            "the agent ran the thaw, and says frozen",
            "The status asked after the thaw.",
            (Hand.SYSRQ, Hand.RESET),
        ),
        Stuck.CHANNEL: (
            "the channel to the agent broke, and could not be renewed",
            "Each try to connect until the thaw's bound has failed.",
            (Hand.CLIENTS, Hand.THAW),
        ),
        Stuck.MIGRATED: (
            "the guest runs elsewhere now, where we can't thaw it",
            "QEMU's monitor says that the migration is complete.",
            (Hand.MIGRATION,),
        ),
        Stuck.PANICKED: (
            "the guest's kernel has panicked: no agent will answer",
            "The guest told it to QEMU (a pvpanic device).",
            (Hand.RESET,),
        ),
        Stuck.FAILED: (
            "frostwatch itself failed, or left before the thaw was acknowledged",
            "The error is named in the log.",
            (Hand.STATUS, Hand.THAW),
        ),
    }
)


def explanations() -> Iterator[Explanation]:
    """Yield the explanations of all outcomes, refusals, causes, and of what keeps a thaw away."""
    for kind, (what, known, by_hand) in OUTCOMES.items():
        step = KIND_STEPS.get(kind) or ""
        yield Explanation(
            Topic.OUTCOME, str(kind), what, known, COPIES[kind].sentence, step, by_hand
        )
    for refusal, (what, known, by_hand) in REFUSALS.items():
        own = COPIES.get(refusal, COPIES[OutcomeKind.REFUSED])
        guest = GUESTS.get(refusal, GUESTS[NOT_SENT])
        data = f"{own.sentence} {guest.sentence}"
        step = REFUSED_STEPS[refusal]
        yield Explanation(Topic.REFUSAL, str(refusal), what, known, data, step, by_hand)
    for cause, (what, known, data, by_hand) in CAUSES.items():
        yield Explanation(Topic.CAUSE, str(cause), what, known, data, CAUSE_STEPS[cause], by_hand)
    for stuck, (what, known, by_hand) in STUCKS.items():
        data = GUESTS.get(stuck, GUESTS[NOBODY]).sentence
        yield Explanation(Topic.STUCK, str(stuck), what, known, data, STUCK_STEPS[stuck], by_hand)
