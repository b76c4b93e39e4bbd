"""The visible state of a VM: what counts, order and filters depend on; no times, no figures.

While hundreds of freezes are pending, almost every change is a time or a figure, which no count and
no row's place depends on. The writer of a state compares, as its parts are in the processor's cache
then; a reader that compared thousands of VMs would wait for memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentclient.model.others import Others
from agentclient.model.snapshot import Progress, VmState

if TYPE_CHECKING:
    from agentclient.model.job import JobProgress


def same_visible_state(old: VmState, new: VmState) -> bool:
    """Return whether two states of a VM are the same for counts, order, filters and changes.

    Parts are compared by identity first, which is cheaper than by value.
    """
    return (
        (old.agent is new.agent or old.agent.state is new.agent.state)
        and old.run_state is new.run_state
        and old.present is new.present
        and (old.freeze is new.freeze or old.freeze == new.freeze)
        and (old.progress is new.progress or _same_phase(old.progress, new.progress))
        and old.last is new.last
        and (old.left is new.left or old.left == new.left)
        and (old.held_by is new.held_by or old.held_by == new.held_by)
        and (old.job is new.job or _same_stage(old.job, new.job))
        and old.last_job is new.last_job
        and (old.unended is new.unended or old.unended == new.unended)
        and (old.others is new.others or _same_others(old.others, new.others))
        and (old.others_last is new.others_last or old.others_last == new.others_last)
        and (old.block_jobs is new.block_jobs or _ids(old) == _ids(new))
        and (old.trouble is new.trouble or old.trouble == new.trouble)
        and (old.vm is new.vm or old.vm == new.vm)
    )


def _same_stage(old: JobProgress | None, new: JobProgress | None) -> bool:
    if old is None or new is None:
        return False
    return (old.kind, old.stage, old.cancelled) == (new.kind, new.stage, new.cancelled)


def _same_others(old: Others | None, new: Others | None) -> bool:
    if old is None or new is None:
        return False
    before, now = (
        (one.state, one.cause, one.by, one.overdue, one.has_left, one.writes) for one in (old, new)
    )
    return before == now


def _ids(state: VmState) -> list[tuple[str, bool, bool]]:
    return [(one.id, one.ended, one.left) for one in state.block_jobs]


def _same_phase(old: Progress | None, new: Progress | None) -> bool:
    if old is None or new is None:
        return False
    return (
        old.phase is new.phase
        and old.what == new.what
        and old.held_since == new.held_since
        and (old.verdict is new.verdict or old.verdict == new.verdict)
    )
