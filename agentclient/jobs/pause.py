"""Pauses a VM around a copy, and lets it go on; for a guest without an agent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agentclient.jobs.block import BlockLayer
from agentclient.jobs.context import JobContext
from agentclient.jobs.errors import JobFailed
from agentclient.model.states import Level

_TRIES: Final = 5
_EVERY_S: Final = 1.0


@contextmanager
def paused(context: JobContext) -> Iterator[None]:
    """Pause the VM for the block; it goes on after it, whatever happens.

    A VM that was paused before stays so.

    Raises:
        JobFailed: it can't be paused.
    """
    block = context.block()
    if not _runs(block):
        context.reporter.note(Level.INFO, "the VM is paused already, and stays so")
        yield
        return
    context.reporter.note(Level.INFO, "no agent runs: the VM is paused for the copy")
    block.run("stop")
    try:
        yield
    finally:
        _go_on(context, block)


def _runs(block: BlockLayer) -> bool:
    status = block.run("query-status")
    return isinstance(status, dict) and status.get("running") is True


def _go_on(context: JobContext, block: BlockLayer) -> None:
    problem = ""
    for _ in range(_TRIES):
        try:
            block.run("cont")
        except JobFailed as error:
            problem = str(error)
            context.control.cancelled.wait(_EVERY_S)
        else:
            return
    text = f"THE VM IS STILL PAUSED ({problem}). NEXT: resume it in its monitor: cont"
    context.reporter.note(Level.ERROR, text)
