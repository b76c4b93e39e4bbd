"""Runs operations from the main thread until they end; a signal ends them sooner."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agentclient.model.next_command import thaw_command
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from tui.cli.operation_progress import display_for
from tui.cli.output import Output
from tui.cli.report import Report, vms
from tui.shared.signals import Signals

if TYPE_CHECKING:
    from agentclient.engine import Engine
    from agentclient.operations.operation import AnyOperation

TICK_S = 0.1
LEAVING_S = 2.0

Start = Callable[[Report], "list[AnyOperation]"]


class OperationRunner:
    """Starts operations, reports what they do, and cancels them at a signal.

    No wait in here is without a limit, neither for a lock nor for a reader of our output: a signal
    is acted on within a tick.

    Args:
        vms: the VMs that the operations are about.
        as_json: whether the events go to stdout as JSON.
    """

    def __init__(self, engine: Engine, vms: Sequence[Vm], *, as_json: bool) -> None:
        self._engine = engine
        self._signals = Signals()
        self._output = Output()
        self._report = Report(vms, self._output, as_json=as_json)
        self._display = display_for(self._report, self._output, len(vms), silent=as_json)
        self._operations: list[AnyOperation] = []
        self._cancelled = False
        self._left_at: float | None = None

    def run(self, start: Start, judge: Callable[[list[AnyOperation], Report], bool]) -> int:
        """Run what `start` starts, and return the exit code.

        Args:
            start: starts the operations; it gets the report for their events.
            judge: says whether all is well in the end, and tells what isn't told yet.

        Raises:
            Exception: what `start` raises, once all that it had begun has ended.
        """
        with self._signals:
            problem = self._begin(start)
            self._follow()
            self._display.end()
            well = problem is None and judge(self._operations, self._report)
            well = well and not self._cancelled
            written = self._output.finish(self._patience())
        code = 0 if well and not self._output.broken else 1
        if self._left_at is not None or not written:
            # An operation or a reader is stuck: its thread would keep the interpreter from ending.
            os._exit(code)
        if problem is not None:
            raise problem
        return code

    def _begin(self, start: Start) -> Exception | None:
        """Start the operations; where not all can be, have thawed what was frozen before that."""
        try:
            self._operations = start(self._report)
        except Exception as problem:  # noqa: BLE001 - it is raised again
            self._operations = list(self._engine.active())
            if self._operations:
                self._cancel(f"not all could be begun ({printable(problem, 300)})")
            return problem
        return None

    def _follow(self) -> None:
        while not self._ended():
            time.sleep(TICK_S)
            if (self._signals.requests or self._output.broken) and not self._cancelled:
                # A reader that has gone counts as a signal: whoever started us may have gone, too.
                self._cancel(self._signals.last or "nobody reads our output any more")
            if self._signals.requests >= 2 and self._left_at is None:
                self._give_up()
            self._display.show(self._engine.fleet.states(), self._operations)

    def _ended(self) -> bool:
        if all(operation.done for operation in self._operations):
            return True
        return self._left_at is not None and time.monotonic() > self._left_at + LEAVING_S

    def _cancel(self, why: str) -> None:
        self._cancelled = True
        pending = [one for one in self._operations if not one.done]
        self._engine.cancel_all()
        if pending:
            self._report.say(f"{why}: {_until(pending)}")
        for operation in pending:
            self._report.say(self._waiting_for(operation.vm), operation.vm)

    def _waiting_for(self, vm: Vm) -> str:
        try:
            progress = self._engine.fleet.get(vm.id).progress
        except KeyError:
            progress = None
        what = printable(progress.waiting_for) if progress else "the operation's end"
        return f"waiting for {what}"

    def _give_up(self) -> None:
        self._left_at = time.monotonic()
        for operation in self._operations:
            if not operation.done:
                operation.give_up()
                self._report.say(left_to_whom(operation), operation.vm)

    def _patience(self) -> Callable[[], bool]:
        return self._signals.patience(LEAVING_S, lambda: self._left_at is not None)


def left_to_whom(operation: AnyOperation) -> str:
    """Return what a person must know who leaves in the middle of an operation."""
    command = f"if it does not: {thaw_command(operation.vm)}"
    if operation.kind == "freeze":
        return f"LEFT, AND MAY BE FROZEN! Its holder thaws it as soon as its agent can; {command}"
    return f"LEFT, AND MAY BE FROZEN! Thaw it with: {thaw_command(operation.vm)}"


def _until(pending: Sequence[AnyOperation]) -> str:
    """Return what a signal makes us wait for."""
    if all(operation.kind == "rescue" for operation in pending):
        return "the rung is left within a second or two; what it has done stays done"
    return (
        f"waiting until {vms(len(pending))} {'is' if len(pending) == 1 else 'are'} thawed; "
        "a second signal leaves at once, and leaves that to their holder"
    )
