"""The reason that is behind a VM's state or outcome, in a word or a sentence."""

from __future__ import annotations

from agentclient.freeze.risks import why_not
from agentclient.model.others_freeze import doer
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState
from tui.shared.newest_job import newest_job
from tui.shared.verdict import verdict_of


def reason_of(state: VmState) -> str:
    """Return the reason, empty if there is none; not made safe to show."""
    if state.held_by is not None and state.progress is None:
        return str(state.held_by)
    if state.job is not None:
        return f"{state.job.kind} {state.job.stage}"
    if (others := doer(state)) is not None:
        return "somebody" if others.by is None else others.by.in_full
    if state.unended is not None:
        return str(state.unended)
    if state.left_jobs:
        return str(state.left_jobs[0])
    ended = newest_job(state)
    if ended is not None:
        return str(ended.refusal or ended.kind)
    verdict = verdict_of(state)
    word = (verdict.refusal or verdict.cause) if verdict is not None else None
    locked = f"locked: {state.vm.locked_by}" if state.vm.locked_by else None
    return (word.value if word else None) or locked or state.trouble or _not_now(state)


def _not_now(state: VmState) -> str:
    """Return why a freeze would be refused, before anybody asks for one."""
    if state.progress is not None or state.freeze.state is FreezeState.FROZEN:
        return ""
    return why_not(state) or ""
