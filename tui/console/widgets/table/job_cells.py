"""What the table says of a VM's copy; imported with the first one."""

from __future__ import annotations

from agentclient.model.job import JobOutcome, JobProgress, JobResult, JobStage
from agentclient.model.sizes import rate_text
from agentclient.model.snapshot import VmState
from agentclient.model.states import Phase
from tui.console.widgets.table.cells import Cell, Paint
from tui.shared.fit import safe
from tui.shared.glyphs import JOB, LEFT_JOB, PHASE, UNENDED
from tui.shared.job_words import outcome_look, percent, remaining, stalled
from tui.shared.tone import Tone


def step(job: JobProgress, paint: Paint) -> Cell:
    """Return how far a copy is: its share, or its stage."""
    tone = Tone.WARN if job.cancelled else JOB.tone
    share = percent(job)
    if job.stage is JobStage.QUEUED:
        return paint.look(PHASE[Phase.QUEUED])
    if job.stage is JobStage.READY:
        return Cell(f"{job.kind} ready", tone)
    word = job.stage if share is None else f"{job.kind} {share}%"
    return Cell(f"{paint.signs.of(JOB)} {word}", tone)


def total(job: JobProgress) -> Cell:
    """Return how long the rest of a copy will take; or that it has come to a standstill."""
    if job.stalled:
        return Cell("stalled", Tone.WARN)
    return Cell(remaining(job), Tone.NORMAL)


def why(job: JobProgress) -> Cell:
    """Return how fast a copy is, and what it is doing."""
    parts = [str(job.kind)]
    if job.speed is not None and job.stage in (JobStage.COPYING, JobStage.MIRRORING):
        parts.append(stalled(job) or rate_text(job.speed))
    limit = f", limit {rate_text(job.limit)}" if job.limit else ""
    return Cell(safe(f"{' '.join(parts)}{limit}: {job.text}", 160), Tone.NORMAL)


def outcome(ended: JobOutcome, paint: Paint) -> Cell:
    """Return what came of a copy."""
    return paint.look(outcome_look(ended))


def outcome_why(ended: JobOutcome) -> Cell:
    """Return what kind of copy it was, and why it was not made."""
    word = f": {ended.refusal}" if ended.refusal is not None else ""
    left = "; something is LEFT BEHIND" if ended.left else ""
    worth = f" {ended.consistency}" if ended.result is JobResult.COMPLETE else ""
    return Cell(f"{ended.kind}{worth}{word}{left}", Tone.BAD if left else Tone.DIM)


def left(state: VmState, paint: Paint) -> Cell:
    """Return that a copy was left in the VM's QEMU, or could not be ended there."""
    return paint.look(LEFT_JOB if state.unended is None else UNENDED)


def left_why(state: VmState) -> Cell:
    """Return what was left, or could not be ended."""
    if state.unended is not None:
        return Cell(safe(str(state.unended), 160), Tone.BAD)
    return Cell(safe(str(state.left_jobs[0]), 160), Tone.BAD)
