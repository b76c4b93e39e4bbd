"""A command's job on one of its VMs: what the manager lists, and its outcome."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Final

from agentclient.jobs.command.guest_window import GuestWindow
from agentclient.jobs.command.job_watch import JobWatch
from agentclient.jobs.context import JobContext
from agentclient.jobs.job_handle import JobHandle
from agentclient.model.job import JobKind, JobOutcome, JobProgress, JobStage
from agentclient.model.json_contract import SCHEMA
from agentclient.model.text import printable

# A command may be as long as the system allows: the journal keeps enough to know it again.
LONGEST_NAME: Final = 120


class CommandMember(JobHandle):
    """The part of a command's job that is about one VM; thread-safe.

    Args:
        context: its collaborators.
        cancel: cancels the whole of the job.
        news: is called when something has happened to its window.

    Attributes:
        window: the guest's window.
        watch: waits for the block jobs of its disks; None if they are not waited for.
        overran: the command ran on when its window was over.
    """

    kind = JobKind.COMMAND

    def __init__(
        self, context: JobContext, cancel: Callable[[], None], news: Callable[[], None]
    ) -> None:
        super().__init__(context)
        self.window = GuestWindow(context, news)
        self.watch: JobWatch | None = None
        self.overran = False
        self._cancel = cancel

    def cancel(self) -> None:
        """Stop the command, and thaw all of its guests."""
        self._cancel()

    def leave(self) -> None:
        """Stop it: there is nothing that QEMU could go on with alone."""
        self.cancel()

    def set_limit(self, limit: int) -> None:
        """Change nothing: a command has no rate."""

    def settle(self, outcome: JobOutcome) -> None:
        """Set the outcome, report it, and keep it with its freeze's window in the journal."""
        entry = self.window.freeze.context.entry if self.window.freeze is not None else None
        if entry is not None:
            entry.copied(_facts(outcome))
        super().settle(outcome)

    def stage(self, stage: JobStage, text: str, began_at: float) -> None:
        """Report that the job has come to a stage."""
        self.context.reporter.stage(stage, text)
        progress = JobProgress(
            kind=self.kind,
            stage=stage,
            text=text,
            began_at=began_at,
            frozen_at=self.window.verified_at,
            thawed_at=self.window.thawed_at,
            cancelled=self.context.control.cancelled.is_set(),
        )
        self.context.reporter.progress(progress, listeners=False)


def _facts(outcome: JobOutcome) -> dict[str, object]:
    """Return what the journal keeps of a command."""
    argv = outcome.command.argv if outcome.command is not None else ()
    return {
        "schema": SCHEMA,
        "job": outcome.kind.value,
        "name": printable(shlex.join(argv), LONGEST_NAME),
        "result": outcome.result.value,
        "consistency": outcome.consistency.value,
    }
