"""What the words for copies mean: what one is worth, and where one is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from agentclient.model.explanation.entry import Explanation, Hand, Row, Topic
from agentclient.model.job import Consistency, JobResult

COPYING: Final = "copying"
LEFT_COPY: Final = "left copy"
NOT_ENDED: Final = "not ended"

COPIES: Final[Mapping[str, Row]] = MappingProxyType(
    {
        COPYING: Row(
            "its disks are copied",
            "A job of QEMU's that this console has begun, and follows.",
            "There is no copy before it has ended; what it is worth is said then.",
            "Wait; or stop it, which undoes it; or limit its speed.",
            (Hand.JOBS,),
        ),
        LEFT_COPY: Row(
            "a copy that a frostwatch has left in QEMU when it ended",
            "QEMU has a job of that name, and the process that began it is dead.",
            "Nobody follows it: what it has written is not a complete copy.",
            "End it, and delete its incomplete files: {clear}",
            (Hand.JOBS,),
        ),
        NOT_ENDED: Row(
            "a copy that QEMU can't end, since its storage hangs",
            "QEMU still lists the job after it was told to end it; it is told again.",
            "The guest goes on. The copy is not complete, and no other one of this VM can begin.",
            "Look at the storage of the copy; it ends by itself when that answers.",
            (Hand.JOBS,),
        ),
        Consistency.CONSISTENT: Row(
            "complete, and taken in a certified freeze window",
            "The window's certificate, and the job's own end.",
            "All that it holds was frozen, and written out, while the copy was made.",
            "",
            (Hand.JOBS,),
        ),
        Consistency.CRASH_CONSISTENT: Row(
            "complete; as after a power failure",
            "The job's own end; its window was not certified, or there was none.",
            "The disks look as after a power cut. Programs in the guest have to recover from it.",
            "For one that is consistent: {freeze}",
            (Hand.JOBS,),
        ),
        JobResult.FAILED: Row(
            "there is no complete copy",
            "QEMU's own error, or that of a file.",
            "What was written is incomplete, and was deleted, or is named.",
            "Mend what is named, and copy again.",
            (Hand.JOBS,),
        ),
        JobResult.CANCELLED: Row(
            "it was stopped; there is no copy",
            "This console was asked to.",
            "What was begun is undone.",
            "",
            (Hand.JOBS,),
        ),
        JobResult.REFUSED: Row(
            "it was not begun; the reason is named",
            "A check before the copy speaks against it.",
            "Nothing was changed.",
            "Mend what is named, and copy again.",
            (Hand.JOBS,),
        ),
        JobResult.LEFT: Row(
            "QEMU may go on with it, and nobody follows it",
            "It was left to QEMU, or its end could not be seen.",
            "Whether the copy becomes complete isn't known.",
            "Look again later, and end what is left: {clear}",
            (Hand.JOBS,),
        ),
    }
)


def explanations() -> Iterator[Explanation]:
    """Yield the explanations of all words for copies."""
    for word, row in COPIES.items():
        yield Explanation(Topic.COPY, str(word), *row)
