"""Runs copies from the main thread until they end; a signal stops them sooner."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from agentclient.model.events import Event, EventKind, JobEnded
from agentclient.model.job import JobOutcome
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from tui.cli.job_brief import indented, is_brief, job_details, may_be_frozen, outcome_lines
from tui.cli.job_progress import display_for
from tui.cli.output import Output
from tui.cli.report import Report, vms
from tui.shared.bulk_words import recap
from tui.shared.job_words import copy_word
from tui.shared.signals import Signals

if TYPE_CHECKING:
    from agentclient.engine import Engine
    from agentclient.jobs.manager import AnyJob

TICK_S: Final = 0.1
LEAVING_S: Final = 2.0

Start = Callable[[Callable[[Event], None]], "Sequence[AnyJob]"]


class JobRunner:
    """Starts copies, reports what they do, and stops them at a signal.

    The first signal stops all copies: each thaws its guest, and undoes what was begun. A second one
    leaves at once: the guests are thawed by their holders, and QEMU goes on with what it has begun.

    Args:
        engine: what runs the copies.
        vms: the VMs that they are about.
        as_json: whether the events go to stdout as JSON.
        stamped: each JSON line has `s` as well, the seconds since the runner was made.
        brief: a person is told the copies' stages and ends alone, without their freezes' details.
    """

    # What a first signal means.
    stopping = "stopping: guests are thawed and incomplete copies are removed"
    shows_progress = True

    def __init__(
        self,
        engine: Engine,
        vms: Sequence[Vm],
        *,
        as_json: bool,
        stamped: bool = False,
        brief: bool = False,
    ) -> None:
        self._engine = engine
        self._signals = Signals()
        self._output = Output()
        self._report = Report(vms, self._output, as_json=as_json, stamped=stamped)
        silent = as_json or not self.shows_progress
        self._display = display_for(self._report, self._output, silent=silent)
        self._as_json = as_json
        self._brief = brief and not as_json
        self._jobs: Sequence[AnyJob] = ()
        self._stopped = False
        self._left_at: float | None = None

    def run(self, start: Start, meanwhile: Callable[[], object] = lambda: None) -> int:
        """Run what `start` begins, and return the exit code: 0 if every copy is well.

        Args:
            start: begins the copies; it gets the function that takes their events.
            meanwhile: is called again and again, from this thread, while they run.

        Raises:
            Exception: what `start` raises, once all that it had begun has ended.
        """
        with self._signals:
            problem = self._begin(start)
            while not self._ended():
                time.sleep(TICK_S)
                self._obey()
                meanwhile()
                self._display.show(self._engine.states())
            self._display.end()
            outcomes = [job.wait(0) for job in self._jobs]
            well = all(one is not None and one.ok for one in outcomes) and not self._stopped
            self._recap(outcomes)
            written = self._output.finish(self._patience())
        code = 0 if well and not self._output.broken else 1
        if self._left_at is not None or not written:
            os._exit(code)  # a job or a reader is stuck, and would keep the interpreter from ending
        if problem is not None:
            raise problem
        return code

    def _begin(self, start: Start) -> Exception | None:
        """Begin the copies; where not all can be, stop those that were begun before that."""
        try:
            self._jobs = start(self._event)
        except Exception as problem:  # noqa: BLE001 - it is raised again
            self._jobs = self._engine.jobs.active()
            if self._jobs:
                self._stop(f"not all could be begun ({printable(problem, 300)})")
            return problem
        return None

    def say(self, text: str) -> None:
        """Tell a person something on stderr."""
        self._report.say(text)

    def _event(self, event: Event) -> None:
        if event.kind is EventKind.PROGRESS and not self._as_json:
            return
        ended = event.details if isinstance(event.details, JobEnded) else None
        if self._brief and ended is not None:
            self._report.block(event.vm, outcome_lines(ended.job))
        elif self._brief and not may_be_frozen(event):
            if is_brief(event):
                self._report.block(event.vm, [(event.text, False)])
        else:
            self._report.event(event)
            if ended is not None and not self._as_json:
                self._report.block(event.vm, indented(job_details(ended.job)))

    def _ended(self) -> bool:
        if all(job.done for job in self._jobs):
            return True
        return self._left_at is not None and time.monotonic() > self._left_at + LEAVING_S

    def _obey(self) -> None:
        if (self._signals.requests or self._output.broken) and not self._stopped:
            self._stop(self._signals.last or "nobody reads our output any more")
        if self._signals.requests >= 2 and self._left_at is None:
            self._left_at = time.monotonic()
            self._leave()
            for job in self._jobs:
                if not job.done:
                    self._report.say(self._left_behind(job), job.vm)

    def _stop(self, why: str) -> None:
        self._stopped = True
        self._report.say(f"{why}: {self.stopping}; a second signal leaves at once")
        self._engine.cancel_all()

    def _leave(self) -> None:
        """Do what a second signal asks for, before the process ends."""

    def _left_behind(self, job: AnyJob) -> str:
        """Return what a second signal leaves behind of a job that has not ended."""
        del job
        return "LEFT: QEMU may go on with the copy, which nobody certifies any more"

    def _recap(self, outcomes: Sequence[JobOutcome | None]) -> None:
        if len(outcomes) < 2 or self._as_json:
            return
        self._output.out(f"{vms(len(outcomes))}: {recap(map(copy_word, outcomes))}")

    def _patience(self) -> Callable[[], bool]:
        return self._signals.patience(LEAVING_S, lambda: self._left_at is not None)
