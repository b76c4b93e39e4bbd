"""What the last copy of a VM says about it, in plain words: the tables count and sort by them.

Nothing here imports the vocabulary of copies, which a console needs from its first copy on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentclient.model.snapshot import VmState

if TYPE_CHECKING:
    from agentclient.model.job import JobOutcome


def newest_job(state: VmState) -> JobOutcome | None:
    """Return how the last copy ended, if nothing has happened to the VM since."""
    if state.job is not None or state.progress is not None or not state.job_is_newest:
        return None
    return state.last_job


def has_failed(outcome: JobOutcome) -> bool:
    """Return whether a person should look: there is no copy, or something is left behind."""
    return outcome.result in ("failed", "left") or bool(outcome.left)


def is_less_than_consistent(outcome: JobOutcome) -> bool:
    """Return whether there is a copy that is crash-consistent only."""
    return outcome.consistency == "crash-consistent"


def job_words(state: VmState) -> str:
    """Return the words by which a copy is found: what runs, or what came of it."""
    words = []
    if state.job is not None:
        words += [state.job.kind, "copying"]
    outcome = newest_job(state)
    if outcome is not None:
        words += [outcome.kind, outcome.result, outcome.consistency]
    if state.left_jobs:
        words.append("left copy")
    if state.unended is not None:
        words.append("not ended")
    return " ".join(words)
