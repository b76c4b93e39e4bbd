"""How long a VM's freezes take, from sending to reply; and when one takes unusually long. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentclient.freeze.effects import Tell
from agentclient.model.durations import in_words
from agentclient.model.events import EventKind, TakesLonger
from agentclient.model.snapshot import Progress
from agentclient.model.states import Level, Phase

# What is usual is judged by the last so many, and not at all by fewer than a few.
LAST: Final = 20
FEWEST: Final = 5
_PENDING: Final = frozenset({Phase.PENDING, Phase.DRAINING})


@dataclass(frozen=True, slots=True)
class Figures:
    """How long some freezes took, in seconds; None where there were none."""

    count: int
    median_s: float | None = None
    p95_s: float | None = None
    worst_s: float | None = None


def figures(seconds: Sequence[float]) -> Figures:
    """Return the figures of some durations; the 95th percentile is one of them (nearest rank)."""
    if not seconds:
        return Figures(0)
    ordered = sorted(seconds)
    rank = math.ceil(0.95 * len(ordered)) - 1
    return Figures(len(ordered), statistics.median(ordered), ordered[rank], ordered[-1])


def unusual(usual: Figures, progress: Progress, now: float) -> Tell | None:
    """Return what is to be told of a pending freeze that takes longer than the last ones.

    Args:
        usual: of the VM's last freezes.
        progress: where the freeze is.
        now: seconds of the monotonic clock.

    Returns:
        None if there is nothing unusual, or too little is known.
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
    return Tell(EventKind.NOTE, Level.WARNING, text, details)
