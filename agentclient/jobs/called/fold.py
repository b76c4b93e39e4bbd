"""Has a VM's manager fold overlays back: what was written since goes into the images, live."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from agentclient.access.disk_calls import DiskWork
from agentclient.jobs.called_port import CALL_S, CalledPort
from agentclient.jobs.errors import JobFailed
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import BlockJob

FOLDED_WITHIN_S: Final = 60.0
# What waits until the disk writes to its image again.
CHANGE_S: Final = 60.0
TICK_S: Final = 0.1


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
    begin(port, works)
    _wait(port, works, lambda job: job.ready, deadline)
    complete(port, works)
    _wait(port, works, lambda job: job.has_ended, deadline)


def _fold(port: CalledPort, work: DiskWork, limit: int) -> Callable[[], None]:
    return lambda: port.calls.fold(work, limit)


def _change_over(port: CalledPort, work: DiskWork) -> Callable[[], None]:
    return lambda: port.calls.change_over(work)


def _wait(
    port: CalledPort,
    works: Sequence[DiskWork],
    enough: Callable[[BlockJob], bool],
    deadline: float,
) -> None:
    while True:
        found = {one.id: one for one in port.jobs()}
        ours = [found.get(work.job) for work in works]
        for job in ours:
            if job is None or job.error is not None or (job.has_ended and not enough(job)):
                why = "it was ended" if job is None or job.error is None else job.error
                raise JobFailed(f"an overlay could not be folded back: {printable(why, 300)}")
        if all(job is not None and enough(job) for job in ours):
            return
        if time.monotonic() > deadline:
            raise JobFailed(f"an overlay was not folded back within {FOLDED_WITHIN_S:g} s")
        time.sleep(TICK_S)
