"""Ends what a copy has begun in QEMU, whoever has begun it, and whatever state it is in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from agentclient.jobs.disk_port import DiskPort, VmEnded
from agentclient.jobs.errors import JobFailed
from agentclient.model.next_command import clear_command
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from agentclient.protocol.job_names import JobId
from agentclient.protocol.qmp_block import BlockJob

# A job that waits for a storage that hangs is not ended sooner.
ENDS_WITHIN_S: Final = 60.0
TICK_S: Final = 0.1


def cancel_jobs(
    port: DiskPort,
    name: JobId,
    *,
    gone: Callable[[], bool | None] = lambda: None,
    within_s: float | None = None,
) -> list[str]:
    """Cancel all jobs of one copy, and wait until QEMU has ended and forgotten them.

    Args:
        port: reaches the VM's disks.
        name: the names of the copy's parts.
        gone: returns whether the VM has ended.
        within_s: how long they are waited for, in seconds; None for a minute.

    Returns:
        The jobs that may go on, each as a clause; empty if none does.
    """
    deadline = time.monotonic() + (ENDS_WITHIN_S if within_s is None else within_s)
    problem = "QEMU does not answer"
    ours: list[BlockJob] = []
    while time.monotonic() < deadline:
        try:
            ours = [one for one in port.jobs() if JobId.parse(one.id) == name]
            running = [one for one in ours if not one.has_ended]
            # The end of one job has QEMU 10 wait for all requests, and its guest with it: so that
            # which has most to copy is ended first, since its storage may hang, and then the next.
            for job in sorted(running, key=lambda one: one.done - one.total)[:1] or ours:
                port.end(job)
            if not ours:
                return []
            problem = "QEMU did not end it"
        except VmEnded:
            return []
        except JobFailed as error:
            problem = str(error)
            if gone():
                return []
        time.sleep(TICK_S)
    names = ", ".join(printable(one.id, 80) for one in ours) or name.job("*")
    return [f"QEMU may go on with {names} ({problem})"]


def left_to_qemu(vm: Vm, jobs: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return what is left of a copy whose jobs QEMU did not end, each as a clause.

    Nothing of it may be touched: QEMU would wait for what hangs before it closes another file, and
    its guest with it (protocol §6.3).

    Args:
        vm: the VM.
        jobs: the jobs, as `cancel_jobs` returns them.
        names: what they use.
    """
    step = f"it is tried again while this frostwatch runs, and then: {clear_command(vm)}"
    return [*(f"{one}; {step}" for one in jobs), *names]
