"""What copies look like: their signs, words and tones, their progress, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentclient.model.durations import clock, in_words
from agentclient.model.job import (
    Consistency,
    FreezePolicy,
    JobOutcome,
    JobProgress,
    JobResult,
    JobStage,
)
from tui.shared.glyphs import Look
from tui.shared.tone import Tone

CONSISTENT: Final = Look(
    "✓", "+", "consistent", Tone.GOOD, "complete, and taken in a certified freeze window"
)
CRASH_CONSISTENT: Final = Look(
    "≈", "k", "crash-consistent", Tone.WARN, "complete; as after a power failure"
)
_RESULTS: Final[Mapping[JobResult, Look]] = {
    JobResult.FAILED: Look("■", "#", "failed", Tone.BAD, "there is no complete copy"),
    JobResult.CANCELLED: Look("↶", "b", "cancelled", Tone.DIM, "stopped; there is no copy"),
    JobResult.REFUSED: Look("⊘", "/", "refused", Tone.DIM, "not begun; the reason is named"),
    JobResult.LEFT: Look(
        "↧", "D", "left", Tone.WARN, "QEMU may go on with it, and nobody follows it"
    ),
}
POLICIES: Final[Mapping[FreezePolicy, str]] = {
    FreezePolicy.REQUIRE: "no copy without a certified freeze",
    FreezePolicy.PREFER: "without one it is crash-consistent",
    FreezePolicy.NEVER: "no freeze: it is crash-consistent",
    FreezePolicy.SUSPEND: "as require; without an agent it is paused",
}
# While these run, how many bytes are copied says how far the copy is.
_COPIES: Final = frozenset({JobStage.COPYING, JobStage.MIRRORING, JobStage.FINISHING})


def outcome_look(outcome: JobOutcome) -> Look:
    """Return how an outcome is shown; only a complete copy has a consistency."""
    if outcome.result is not JobResult.COMPLETE:
        return _RESULTS[outcome.result]
    if outcome.consistency is Consistency.CONSISTENT:
        return CONSISTENT
    return CRASH_CONSISTENT


def all_looks() -> tuple[Look, ...]:
    """Return all looks of outcomes."""
    return (CONSISTENT, CRASH_CONSISTENT, *_RESULTS.values())


def percent(progress: JobProgress) -> int | None:
    """Return how much is copied, in percent; None while that isn't known."""
    if not progress.total or progress.stage not in _COPIES:
        return None
    return min(progress.done * 100 // progress.total, 100)


def remaining(progress: JobProgress) -> str:
    """Return how long the rest will take; empty while that isn't known."""
    if progress.eta_s is None or progress.stage not in (JobStage.COPYING, JobStage.MIRRORING):
        return ""
    return clock(min(progress.eta_s, 359_999.0))


def stalled(progress: JobProgress) -> str:
    """Return for how long nothing has been copied; empty while something is."""
    return f"stalled for {in_words(progress.still_s)}" if progress.stalled else ""


def bar(share: float, cells: int, *, ascii_only: bool) -> str:
    """Return a bar of so many cells.

    Args:
        share: how much of it is full, from 0 to 1.
        cells: its length.
        ascii_only: nothing beyond ASCII.
    """
    full = min(max(int(share * cells), 0), cells)
    done, rest = ("#", ".") if ascii_only else ("█", "░")
    return done * full + rest * (cells - full)


def typed_rate(limit: int) -> str:
    """Return bytes a second as a person types them: ``10M``; empty for no limit."""
    for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if limit and limit % size == 0:
            return f"{limit // size}{unit}"
    return str(limit) if limit else ""


def why_of(outcome: JobOutcome) -> str:
    """Return an outcome's reason without the words that are shown in front of it anyway."""
    head = f"{outcome.kind}: {outcome.result}"
    why = outcome.reason.removeprefix(f"{head}, and ").removeprefix(f"{head}: ")
    return why.partition(": ")[2] or why if outcome.result is JobResult.COMPLETE else why


def copy_word(outcome: JobOutcome | None) -> str:
    """Return how a copy ended in the word of the recap; ``left`` if nobody knows."""
    if outcome is None:
        return "left"
    return outcome.consistency.value if outcome.ok else outcome.result.value
