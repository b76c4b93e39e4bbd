"""Runs a command while VMs are frozen, from the main thread; a signal thaws first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agentclient.model.command import CommandStep
from agentclient.model.events import CommandTold, Event, EventKind
from agentclient.model.next_command import thaw_command
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from tui.cli.job_runner import JobRunner

if TYPE_CHECKING:
    from agentclient.engine import Engine
    from agentclient.jobs.command.job import CommandJob
    from agentclient.jobs.command.request import CommandRequest
    from agentclient.jobs.manager import AnyJob

STDERR: Final = 2
# What happens to the command is told for each VM; a person reads it once.
_OF_ALL: Final = frozenset({CommandStep.BEGAN, CommandStep.STOPPED, CommandStep.ENDED})


class CommandRunner(JobRunner):
    """Runs one command under the freezes of its VMs, and reports what happens.

    The first signal thaws the guests, and ends the command: TERM, and KILL 5 s later. A second one
    leaves at once: the command is killed, and the guests are thawed by their holders.

    Args:
        engine: what runs it.
        vms: the VMs.
        as_json: the events go to stdout as JSON, and what the command writes there to stderr.
    """

    stopping = "the guests are thawed, and the command is ended (TERM, and KILL after 5 s)"
    shows_progress = False  # the terminal is the command's

    def __init__(self, engine: Engine, vms: Sequence[Vm], *, as_json: bool) -> None:
        super().__init__(engine, vms, as_json=as_json, stamped=True)
        self._vms = vms
        self._job: CommandJob | None = None

    def run_command(self, request: CommandRequest) -> int:
        """Run it, and return the exit code: 0 if it did well, and lay within certified windows."""
        request = replace(
            request, stdout=STDERR if self._as_json else None, asked_at=self._report.started
        )

        def start(_: object) -> Sequence[AnyJob]:
            self._job = job = self._engine.jobs.command(
                self._vms, request, self._event, self._report.group
            )
            return job.members

        return self.run(start)

    def _event(self, event: Event) -> None:
        if self._as_json or event.kind is EventKind.PROGRESS:
            super()._event(event)
            return
        if event.kind is EventKind.STAGE:
            return
        told = event.details
        if isinstance(told, CommandTold) and told.what in _OF_ALL:
            if event.vm == self._vms[0].id:
                self._output.out(f"command: {printable(event.text, 1000)}")
            return
        super()._event(event)

    def _leave(self) -> None:
        if self._job is not None:
            self._job.give_up()

    def _left_behind(self, job: AnyJob) -> str:
        if self._engine.on(job.vm.id) is None:
            return "LEFT: the guest is thawed; the command was killed"
        command = f"if it does not: {thaw_command(job.vm)}"
        return f"LEFT, AND MAY BE FROZEN! Its holder thaws it as soon as its agent can; {command}"
