"""Shows how far freezes and thaws are: a bar for many on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from agentclient.late import load
from agentclient.model.place import Place
from agentclient.model.snapshot import VmState
from agentclient.model.states import Phase
from tui.cli.job_progress import DRAWN_EVERY_S, PLAIN_TERMINALS, terminal_size
from tui.cli.output import Output
from tui.cli.report import Report, progress_text
from tui.shared.bulk_words import about, recap, word_of

if TYPE_CHECKING:
    from agentclient.operations.operation import AnyOperation
    from tui.cli.job_bar import JobBars

# From so many on, one sees no more by their own lines how far all of them are.
MANY: Final = 2


class OperationLines:
    """Tells how far operations are on stderr: every 10 s at first, then once a minute.

    Args:
        report: tells it.
    """

    def __init__(self, report: Report) -> None:
        self._report = report

    def show(self, states: Sequence[VmState], operations: Sequence[AnyOperation]) -> None:
        """Tell it, if it is time for that."""
        self._report.progress(states, queue_text(operations))

    def end(self) -> None:
        """Take away what is shown."""


class OperationBar(OperationLines):
    """Keeps a bar for all, and a line for each that is at work, below all lines of a terminal.

    Args:
        report: tells in lines what happens.
        output: writes to the terminal.
        bars: draws them.
        monotonic: the clock of `Progress`.
        size: returns the terminal's columns and lines.
    """

    def __init__(
        self,
        report: Report,
        output: Output,
        bars: JobBars,
        monotonic: Callable[[], float] = time.monotonic,
        size: Callable[[], tuple[int, int]] = terminal_size,
    ) -> None:
        super().__init__(report)
        self._output = output
        self._bars = bars
        self._monotonic = monotonic
        self._size = size
        self._next = 0.0

    def show(self, states: Sequence[VmState], operations: Sequence[AnyOperation]) -> None:
        """Draw it, if it is time for that."""
        at = self._monotonic()
        if at < self._next or not operations:
            return
        self._next = at + DRAWN_EVERY_S
        columns, lines = self._size()
        named = {operation.vm.id for operation in operations}
        at_work = [
            (str(one.id), progress_text(one.progress, at))
            for one in states
            if one.progress is not None and one.id in named and one.progress.phase not in _IDLE
        ]
        most = max(lines // 2 - 1, 1)
        shown = at_work if len(at_work) <= most else at_work[: most - 1]
        names = self._bars.names([name for name, _ in shown], columns)
        drawn = [
            self._bars.work_line(name, text, None, columns)
            for name, (_, text) in zip(names, shown, strict=True)
        ]
        if len(shown) < len(at_work):
            more = f"{len(at_work) - len(shown)} more at work"
            drawn.append(self._bars.work_line("", more, None, columns))
        ended = [operation.wait(0) for operation in operations if operation.done]
        percent = 100 * len(ended) / len(operations)
        text = _summary(len(operations), list(map(word_of, ended)), queue_text(operations))
        drawn.append(self._bars.work_line(operations[0].kind, text, percent, columns))
        self._output.footer(drawn)

    def end(self) -> None:
        """Take it away."""
        self._output.footer(())


_IDLE: Final = (Phase.DONE, Phase.QUEUED)


def queue_text(operations: Sequence[AnyOperation]) -> str:
    """Return what is to be known of those that wait for their turn; empty if none does."""
    waiting = [(place, one) for one in operations if (place := one.place)]
    if not waiting:
        return ""
    last: Place = max((place for place, _ in waiting), default=Place(0))
    soon = about(last)
    when = f", last in{soon.removeprefix(';')}" if soon else ""
    return f"{len(waiting)} queued{when}"


def _summary(count: int, words: Sequence[str], waiting: str) -> str:
    said = [f"{len(words)}/{count}"]
    said += [recap(words)] if words else []
    return "; ".join([" ".join(said), *([waiting] if waiting else [])])


def display_for(report: Report, output: Output, count: int, *, silent: bool) -> OperationLines:
    """Return what shows how far operations are on this stderr.

    Args:
        report: tells it in lines.
        output: writes to the terminal.
        count: how many there are.
        silent: a program reads the events: it is told in lines.
    """
    plain = not sys.stderr.isatty() or os.environ.get("TERM", "") in PLAIN_TERMINALS
    if silent or plain or count < MANY:
        return OperationLines(report)
    return OperationBar(report, output, load("tui.cli.job_bar", "JobBars")())
