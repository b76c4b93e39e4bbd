"""Shows how far copies are: bars on a terminal, lines elsewhere, nothing with JSON."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from agentclient.late import load
from agentclient.model.job import JobProgress, JobStage
from agentclient.model.snapshot import VmState
from agentclient.model.vm import VmId
from tui.cli.job_text import progress_line
from tui.cli.output import Output
from tui.cli.report import FIRST_EVERY_S, FIRST_FOR_S, LATER_EVERY_S, Report, vms

if TYPE_CHECKING:
    from tui.cli.job_bar import JobBars

DRAWN_EVERY_S: Final = 0.25
_STDERR: Final = 2
# A terminal without a cursor that moves.
PLAIN_TERMINALS: Final = ("", "dumb")


def terminal_size() -> tuple[int, int]:
    """Return the columns and lines of the terminal that is our stderr."""
    try:
        found = os.get_terminal_size(_STDERR)
    except OSError:
        found = shutil.get_terminal_size()
    return found.columns or 80, found.lines or 24


class JobDisplay:
    """Shows nothing: a program reads the events; also the interface of all displays."""

    def show(self, states: Iterable[VmState]) -> None:
        """Show how far the VMs' copies are, if it is time for that."""

    def end(self) -> None:
        """Take away what is shown."""


class JobLines(JobDisplay):
    """Tells how far copies are on stderr: every 10 s at first, then once a minute.

    Args:
        report: tells it.
        monotonic: the clock of `JobProgress`.
    """

    def __init__(self, report: Report, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._monotonic = monotonic
        self._started = monotonic()
        self._next = self._started + FIRST_EVERY_S

    def show(self, states: Iterable[VmState]) -> None:
        """Tell it, if it is time for that."""
        at = self._monotonic()
        if at < self._next:
            return
        early = at - self._started < FIRST_FOR_S
        self._next = at + (FIRST_EVERY_S if early else LATER_EVERY_S)
        queued = 0
        for state in states:
            if state.job is None:
                continue
            if state.job.stage is JobStage.QUEUED:
                queued += 1
            else:
                self._report.say(progress_line(state.job, at), state.vm)
        if queued:
            self._report.say(f"{vms(queued)} in the queue")


class JobBarsDisplay(JobDisplay):
    """Keeps a bar for each copy below all lines of a terminal.

    Args:
        output: writes to the terminal.
        bars: draws them.
        monotonic: the clock of `JobProgress`.
        size: returns the terminal's columns and lines.
    """

    def __init__(
        self,
        output: Output,
        bars: JobBars,
        monotonic: Callable[[], float] = time.monotonic,
        size: Callable[[], tuple[int, int]] = terminal_size,
    ) -> None:
        self._output = output
        self._bars = bars
        self._monotonic = monotonic
        self._size = size
        self._next = 0.0
        self._stages: list[object] = []
        self._copied: dict[VmId, tuple[int, int]] = {}

    def show(self, states: Iterable[VmState]) -> None:
        """Draw them, if it is time for that."""
        at = self._monotonic()
        jobs = [(one.id, one.job) for one in states if one.job]
        # A freeze lasts for less than the time between two pictures.
        stages: list[object] = [(one, job.stage, job.frozen_at, job.thawed_at) for one, job in jobs]
        if at < self._next and stages == self._stages:
            return
        self._next, self._stages = at + DRAWN_EVERY_S, stages
        columns, lines = self._size()
        shown = [(str(one), job, *self._amount(one, job)) for one, job in jobs]
        most = max(1, lines // 2)
        bar = load("tui.cli.job_bar", "Bar")
        self._output.footer(self._bars.lines([bar(*one) for one in shown], columns, most, at))

    def end(self) -> None:
        """Take them away."""
        self._output.footer(())

    def _amount(self, vm_id: VmId, progress: JobProgress) -> tuple[int, int]:
        """Return how much is copied of how much: between two looks, as it was seen last."""
        if progress.total:
            self._copied[vm_id] = (progress.done, progress.total)
        return self._copied.get(vm_id, (0, 0))


def display_for(report: Report, output: Output, *, silent: bool) -> JobDisplay:
    """Return what shows how far copies are on this stderr.

    Args:
        report: tells it in lines.
        output: writes to the terminal.
        silent: nothing is to be shown.
    """
    if silent:
        return JobDisplay()
    if not sys.stderr.isatty() or os.environ.get("TERM", "") in PLAIN_TERMINALS:
        return JobLines(report)
    return JobBarsDisplay(output, load("tui.cli.job_bar", "JobBars")())
