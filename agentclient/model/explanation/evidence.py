"""What each piece of evidence is, how it is known, and what each of its directions means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from agentclient.model.explanation.entry import Explanation, Hand, Topic
from agentclient.model.states import EvidenceName, EvidenceResult

# What it is; how it is known; what *for*, *against* and *unknown* mean; by hand.
_Row = tuple[str, str, tuple[str, str, str], tuple[Hand, ...]]

EVIDENCE: Final[Mapping[EvidenceName, _Row]] = MappingProxyType(
    {
        EvidenceName.REPLY: (
            "the freeze's own answer",
            "The agent's reply to guest-fsfreeze-freeze, on our connection: a number, or an error.",
            (
                "So many file systems are frozen, and what they had to write is written out.",
                "The agent says that it froze nothing, or that it failed: no copy is consistent.",
                "It was not answered. Without it nothing is ever called verified, whatever the "
                "agent says later.",
            ),
            (Hand.STATUS,),
        ),
        EvidenceName.COVERAGE: (
            "the freeze's count, against the devices that should freeze",
            "The agent's list of file systems, asked just before on the same connection, counted "
            "by device; kinds that can't freeze are taken out, and named.",
            (
                "All that can freeze is frozen. What can't (vfat, swap, raw disks) could take "
                "writes, and is crash-consistent at best.",
                "Fewer are frozen than should be, or strictness demands more than can be: the copy "
                "is not consistent.",
                "The guest could not list its file systems, or not all: how much is frozen isn't "
                "known.",
            ),
            (Hand.FILE_SYSTEMS,),
        ),
        EvidenceName.STATUS: (
            "guest-fsfreeze-status, asked again after the reply",
            "The agent's own flag, not the kernel's. An agent that was restarted says thawed "
            "whatever the kernel does.",
            (
                "The agent that was asked still says frozen.",
                "It says thawed: somebody thawed at once, or another agent answers.",
                "It was not answered, or says frozen without a reply of the freeze, which proves "
                "nothing.",
            ),
            (Hand.STATUS,),
        ),
        EvidenceName.PORT: (
            "whether the agent's port has closed since the freeze was sent",
            "QEMU's monitor, and a counter of its device that moves with each opening and closing, "
            "also between two looks.",
            (
                "One and the same agent has run all the time.",
                "It closed: the agent ended or was restarted, and some file systems may not be "
                "frozen.",
                "It can't be seen: there is no monitor, or the port is a serial one that has no "
                "such state.",
            ),
            (Hand.PORT,),
        ),
        EvidenceName.READ: (
            "whether the agent has read the freeze",
            "A counter of QEMU's virtio queue (QEMU 7.2 and later).",
            (
                "It has read it, and may be at work on it.",
                "It has not read it: it hangs, or is busy with something else. It may run it yet.",
                "It can't be seen, or does not count for this agent.",
            ),
            (Hand.PORT,),
        ),
        EvidenceName.WRITES: (
            "bytes that the guest has written during the window",
            "The host's own counters of each disk in QEMU, from the reply to the thaw.",
            (
                "Nothing was written. It is never counted as proof: an idle guest writes nothing "
                "either.",
                "The guest wrote while it was to be frozen. Swap and raw disks do that rightly, "
                "but nobody can tell them from outside: the window is broken.",
                "None were seen, which proves nothing on an idle guest; or they can't be seen.",
            ),
            (Hand.WRITES,),
        ),
        EvidenceName.STATUS_AT_THAW: (
            "guest-fsfreeze-status, asked just before the thaw",
            "The same agent's flag, on the same connection, a moment before the thaw is sent.",
            (
                "It was frozen until its end.",
                "It said thawed: somebody else had thawed it in the window, whose copy is not "
                "consistent.",
                "It was not answered: whether it was frozen until its end isn't proven.",
            ),
            (Hand.STATUS,),
        ),
        EvidenceName.THAW: (
            "the thaw's count, against the freeze's",
            "The agent's reply to guest-fsfreeze-thaw: how many file systems it has thawed.",
            (
                "As many were thawed as were frozen: nobody thawed any of them in between.",
                "Fewer were thawed than frozen, or the thaw failed: somebody thawed in between.",
                "The thaw was not acknowledged, or there is nothing to compare its count with.",
            ),
            (Hand.STATUS, Hand.THAW),
        ),
    }
)

_DO: Final = {
    EvidenceResult.FOR: "",
    EvidenceResult.AGAINST: "Make the copy again under a freeze that holds: {freeze}",
    EvidenceResult.UNKNOWN: "See what {doctor} says about what can't be seen.",
}


def in_direction(explanation: Explanation, result: EvidenceResult) -> Explanation:
    """Return the explanation of a piece of evidence that points in one direction."""
    return explanation._replace(
        data=explanation.results[result], do=_DO[result], results=MappingProxyType({})
    )


def explanations() -> Iterator[Explanation]:
    """Yield the explanations of all pieces of evidence."""
    results = (EvidenceResult.FOR, EvidenceResult.AGAINST, EvidenceResult.UNKNOWN)
    for name, (what, known, means, by_hand) in EVIDENCE.items():
        each = MappingProxyType(dict(zip(results, means, strict=True)))
        yield Explanation(Topic.EVIDENCE, str(name), what, known, "", "", by_hand, each)
