"""Has a VM's manager fold overlays back: what was written since goes into the images, live."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from agentclient.access.disk_calls import DiskWork
from agentclient.jobs.called_port import CALL_S, CalledPort
from agentclient.jobs.fold_wait import FOLDED_WITHIN_S, wait_for_folds

# What waits until the disk writes to its image again.
CHANGE_S: Final = 60.0


def begin(port: CalledPort, works: Sequence[DiskWork], limit: int = 0) -> None:
    """Start the jobs.

    Raises:
        JobFailed: the manager refuses one, or does not answer.
    """
    for work in works:
        port.within(CALL_S, _fold(port, work, limit))
    port.plan([one._replace(began=True) for one in works])


def complete(port: CalledPort, works: Sequence[DiskWork]) -> None:
    """Let the disks write to the images behind, once the jobs are ready.

    Raises:
        JobFailed: the manager refuses one, or does not answer.
    """
    for work in works:
        port.within(CHANGE_S, _change_over(port, work))


def fold_back(port: CalledPort, works: Sequence[DiskWork]) -> None:
    """Fold overlays back, and wait for it; for small ones.

    Raises:
        JobFailed: it failed, or took longer than 60 s; the overlays are in use as before, and the
            jobs may go on.
    """
    deadline = time.monotonic() + FOLDED_WITHIN_S
    ids = [work.job for work in works]
    begin(port, works)
    wait_for_folds(port.jobs, ids, lambda job: job.ready, deadline)
    complete(port, works)
    wait_for_folds(port.jobs, ids, lambda job: job.has_ended, deadline)


def _fold(port: CalledPort, work: DiskWork, limit: int) -> Callable[[], None]:
    return lambda: port.calls.fold(work, limit)


def _change_over(port: CalledPort, work: DiskWork) -> Callable[[], None]:
    return lambda: port.calls.change_over(work)
