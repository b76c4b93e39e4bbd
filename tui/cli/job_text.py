"""How far a copy is, in words; for a bar's line, and for lines without one."""

from __future__ import annotations

from agentclient.model.durations import clock
from agentclient.model.job import JobProgress, JobStage
from agentclient.model.sizes import rate_text, size_text
from agentclient.model.states import FreezeState
from agentclient.model.text import printable
from tui.shared.glyphs import FREEZE
from tui.shared.job_words import stalled


def stage_text(progress: JobProgress) -> str:
    """Return the word for where a copy is; what concerns the guest is in capitals."""
    if progress.cancelled:
        return "stopping"
    if progress.frozen_at is not None and progress.thawed_at is None:
        return "FROZEN"
    if progress.stage in (JobStage.FREEZING, JobStage.THAWING):
        return progress.stage.value.upper()
    return progress.stage.value


def window_text(progress: JobProgress, at: float, *, ascii_alone: bool = False) -> str:
    """Return how long the guest was, or is, frozen; empty if it was not.

    Args:
        progress: the copy's progress.
        at: the monotonic clock's now.
        ascii_alone: nothing but ASCII may be used.
    """
    if progress.frozen_at is None:
        return ""
    look = FREEZE[FreezeState.FROZEN]
    seconds = (at if progress.thawed_at is None else progress.thawed_at) - progress.frozen_at
    return f"{look.ascii if ascii_alone else look.sign} {seconds:.2f} s"


def amount_text(done: int, total: int) -> str:
    """Return how much is copied of how much; empty while that isn't known."""
    return f"{size_text(done)} of {size_text(total)}" if total else ""


def speed_text(progress: JobProgress) -> str:
    """Return how fast it is; empty where it copies nothing, or that isn't known."""
    if progress.speed is None or progress.stage not in (JobStage.MIRRORING, JobStage.COPYING):
        return ""
    return stalled(progress) or rate_text(progress.speed)


def left_text(progress: JobProgress) -> str:
    """Return how long it will take, as far as is known; else empty."""
    if progress.eta_s is None or progress.stage not in (JobStage.MIRRORING, JobStage.COPYING):
        return ""
    return f"{clock(progress.eta_s)} left"


def progress_line(progress: JobProgress, at: float) -> str:
    """Return one line about a copy, for where there is no terminal; `at` is the clock's now."""
    if progress.stage is JobStage.QUEUED:
        return f"queued: waits for {printable(progress.text)}"
    parts = [f"{progress.stage.value}: {printable(progress.text)}"]
    if progress.total:
        percent = min(100, 100 * progress.done // progress.total)
        parts.append(f"{amount_text(progress.done, progress.total)} ({percent}%)")
    parts += [word for word in (speed_text(progress), left_text(progress)) if word]
    if progress.limit:
        parts.append(f"limit {rate_text(progress.limit)}")
    if progress.frozen_at is not None and progress.thawed_at is None:
        parts.append(f"frozen for {at - progress.frozen_at:.1f} s")
    return ", ".join(parts)
