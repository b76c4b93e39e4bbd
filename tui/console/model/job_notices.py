"""What came of a copy, as a notice; imported with the first copy that ends."""

from __future__ import annotations

from datetime import datetime

from agentclient.model.job import Consistency, JobOutcome, JobResult
from agentclient.model.snapshot import VmState
from agentclient.model.states import Level
from tui.console.model.notices import NAME, Notice
from tui.shared.fit import fit_middle, safe
from tui.shared.job_words import why_of


def job_notice(state: VmState, outcome: JobOutcome, at: datetime) -> Notice:
    """Return a copy's outcome as a notice: what it is worth first, as the line may be cut."""
    name = fit_middle(safe(state.vm.name), NAME)
    if outcome.left:
        text = f"{name}: {outcome.kind} {outcome.result}; LEFT BEHIND: {safe(outcome.left[0], 200)}"
        return Notice(Level.ERROR, text, at, state.id)
    if outcome.result is JobResult.COMPLETE:
        good = outcome.consistency is Consistency.CONSISTENT
        text = f"{name}: {outcome.kind} complete, {outcome.consistency}"
        why = "" if good else f": {safe(why_of(outcome), 300)}"
        return Notice(Level.GOOD if good else Level.WARNING, text + why, at, state.id)
    refused = f", {outcome.refusal}" if outcome.refusal is not None else ""
    text = f"{name}: {outcome.kind} {outcome.result}{refused}: {safe(why_of(outcome), 300)}"
    failed = outcome.result in (JobResult.FAILED, JobResult.LEFT)
    return Notice(Level.ERROR if failed else Level.WARNING, text, at, state.id)


def ended_late(state: VmState, at: datetime) -> Notice:
    """Return the notice of a copy that could be ended after all."""
    name = fit_middle(safe(state.vm.name), NAME)
    left = state.last_job.left if state.last_job is not None else ()
    if left:
        text = f"{name}: its copy has ended at last; LEFT BEHIND: {safe(left[0], 200)}"
        return Notice(Level.ERROR, text, at, state.id)
    return Notice(Level.GOOD, f"{name}: its copy has ended at last, and is undone", at, state.id)
