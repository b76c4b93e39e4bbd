"""Statistics of a VM's freezes, from command to reply, and the warning for a slow one. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentclient.freeze.effects import ReportEvent
from agentclient.model.durations import in_words
from agentclient.model.events import EventKind, TakesLonger
from agentclient.model.snapshot import Progress
from agentclient.model.states import Level, Phase
from agentclient.model.timeline import Usual

# How many of the last freezes tell what is usual; with fewer than `FEWEST`, nothing is.
LAST: Final = 20
FEWEST: Final = 5
# Where nothing is known to compare with, others' command is pending for long after so many seconds:
# Proxmox asks for the first time what has become of its freeze (protocol §4).
LONG_S: Final = 600.0
# However short the others were, nobody is told of a second.
BRIEF_S: Final = 10.0
_PENDING: Final = frozenset({Phase.PENDING, Phase.DRAINING})


@dataclass(frozen=True, slots=True)
class Figures:
    """Statistics of the durations of some freezes, in seconds; None where there were none.

    Attributes:
        count: the number of freezes.
        median_s: the median.
        p95_s: the 95th percentile, which is one of the durations (nearest rank).
        worst_s: the longest duration.
    """

    count: int
    median_s: float | None = None
    p95_s: float | None = None
    worst_s: float | None = None


def figures(seconds: Sequence[float]) -> Figures:
    """Return the statistics of some durations, given in seconds."""
    if not seconds:
        return Figures(0)
    ordered = sorted(seconds)
    rank = math.ceil(0.95 * len(ordered)) - 1
    return Figures(len(ordered), statistics.median(ordered), ordered[rank], ordered[-1])


def usual_of(found: Figures | None) -> Usual | None:
    """Return what is usual by some statistics; None with too few freezes to tell."""
    if found is None or found.count < FEWEST or found.median_s is None or found.p95_s is None:
        return None
    return Usual(found.count, found.median_s, found.p95_s)


def pending_for_long(usual: Figures | None, waited_s: float) -> str | None:
    """Return why a command of others is pending for long, as a clause; None if it is not.

    Args:
        usual: the statistics of their last ones in the same VM; None if they aren't known.
        waited_s: for how many seconds it has been pending.
    """
    worst = usual.worst_s if usual is not None and usual.count >= FEWEST else None
    if usual is None or worst is None:
        return f"for more than {in_words(LONG_S)}" if waited_s > LONG_S else None
    if waited_s <= max(worst, BRIEF_S):
        return None
    return f"longer than any of its last {usual.count}: {in_words(worst)} at the most"


def unusual(usual: Figures, progress: Progress, now: float) -> ReportEvent | None:
    """Return the warning that a pending freeze takes longer than all of the VM's last ones.

    Args:
        usual: the statistics of the VM's last freezes.
        progress: the progress of the pending freeze.
        now: seconds of the monotonic clock.

    Returns:
        None if the freeze does not take longer, or if there were too few freezes to compare with.
    """
    worst = usual.worst_s
    if usual.count < FEWEST or worst is None or usual.median_s is None:
        return None
    if progress.sent_at is None or progress.phase not in _PENDING:
        return None
    if now - progress.sent_at <= worst:
        return None
    text = (
        f"this takes longer than any of its last {usual.count} freezes: "
        f"{in_words(worst)} at the most, mostly {in_words(usual.median_s)}"
    )
    details = TakesLonger(round(worst, 3), round(usual.median_s, 3))
    return ReportEvent(EventKind.NOTE, Level.WARNING, text, details)
