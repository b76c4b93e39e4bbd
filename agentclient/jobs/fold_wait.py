"""Waits for the jobs that fold overlays back, whoever was asked to begin them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from agentclient.jobs.errors import JobFailed
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import BlockJob

FOLDED_WITHIN_S: Final = 60.0
_TICK_S: Final = 0.1


def wait_for_folds(
    look: Callable[[], Iterable[BlockJob]],
    ids: Sequence[str],
    enough: Callable[[BlockJob], bool],
    deadline: float,
) -> None:
    """Wait until all of these jobs are as far as they must be.

    Args:
        look: returns the VM's jobs.
        ids: the jobs' ids.
        enough: whether a job is as far.
        deadline: on the monotonic clock.

    Raises:
        JobFailed: one has ended before that, or they were not as far by then.
    """
    while True:
        found = {one.id: one for one in look()}
        ours = [found.get(one) for one in ids]
        for job in ours:
            if job is None or job.error is not None or (job.has_ended and not enough(job)):
                why = "it was ended" if job is None or job.error is None else job.error
                raise JobFailed(f"an overlay could not be folded back: {printable(why, 300)}")
        if all(job is not None and enough(job) for job in ours):
            return
        if time.monotonic() > deadline:
            raise JobFailed(f"an overlay was not folded back within {FOLDED_WITHIN_S:g} s")
        time.sleep(_TICK_S)
