"""Folds overlays back: what was written since goes into the images behind them, live."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from agentclient.jobs.block import BlockLayer, JobName
from agentclient.jobs.errors import JobFailed
from agentclient.jobs.fold_wait import FOLDED_WITHIN_S, wait_for_folds
from agentclient.model.text import printable
from agentclient.protocol.qmp_block import Disk, node_of


class Fold(NamedTuple):
    """One disk whose overlay is folded back.

    Attributes:
        job: the id of its job.
        disk: the disk, whose image is the overlay.
        base: the node of the image behind it.
    """

    job: str
    disk: Disk
    base: str


def folds(block: BlockLayer, name: JobName, disks: Sequence[Disk]) -> tuple[Fold, ...]:
    """Return how to fold back the images that these disks write to.

    Raises:
        JobFailed: an image has none behind it, or QEMU does not answer.
    """
    known = block.run("query-named-block-nodes", flat=True)
    found = []
    for number, disk in enumerate(disks):
        base = node_of(known, disk.chain[1]) if len(disk.chain) > 1 else None
        if base is None:
            raise JobFailed(f"the image behind {printable(disk.name, 60)} can't be told")
        found.append(Fold(name.job(f"c{number}"), disk, base))
    return tuple(found)


def begin(block: BlockLayer, wanted: Sequence[Fold], limit: int = 0) -> None:
    """Start the jobs.

    Raises:
        JobFailed: QEMU refuses one, or does not answer.
    """
    for fold in wanted:
        block.run(
            "block-commit",
            job_id=fold.job,
            device=fold.disk.ref,
            base_node=fold.base,
            speed=limit,
            auto_dismiss=False,
        )


def complete(block: BlockLayer, wanted: Sequence[Fold]) -> None:
    """Let the disks write to the images behind, once the jobs are ready.

    Raises:
        JobFailed: QEMU refuses one, or does not answer.
    """
    for fold in wanted:
        block.run("job-complete", id=fold.job)


def fold_back(block: BlockLayer, name: JobName, disks: Sequence[Disk]) -> None:
    """Fold back the images that these disks write to, and wait for it; for small ones.

    Raises:
        JobFailed: it failed, or took longer than 60 s; the overlays are in use as before, and the
            jobs may go on.
    """
    wanted = folds(block, name, disks)
    deadline = time.monotonic() + FOLDED_WITHIN_S
    begin(block, wanted)
    ids = [fold.job for fold in wanted]
    wait_for_folds(block.jobs, ids, lambda job: job.ready, deadline)
    complete(block, wanted)
    wait_for_folds(block.jobs, ids, lambda job: job.has_ended, deadline)
    for fold in wanted:
        block.dismiss(fold.job)
