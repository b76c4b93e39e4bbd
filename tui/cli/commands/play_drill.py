"""A drill without a terminal: one freeze of a simulated guest, in plain lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentclient.backends.drill.troubles import Trouble
from agentclient.model.request import FreezeRequest, Schedule
from tui.cli import session, tell
from tui.cli.commands.freeze import judge
from tui.cli.options import Options
from tui.cli.report import Report
from tui.cli.runner import OperationRunner

if TYPE_CHECKING:
    from agentclient.operations.operation import AnyOperation

# Long enough to be read in a log, and seen in the times beside the lines.
HOLD_S = 1.0
NO_VMS = (
    "DRILL: simulated guests; nothing here is real. No VM was found on this machine, so one of "
    "them is frozen, held and thawed. On a terminal: the console (frostwatch --drill)."
)


def play(options: Options) -> int:
    """Freeze a simulated guest that does so at once, prove it, thaw it; return the exit code."""
    request = FreezeRequest(schedule=Schedule(hold_s=HOLD_S))
    with session.engine_for(options) as engine:
        assert engine.drill is not None
        fast = next(one.name for one in engine.drill.guests if one.trouble is Trouble.FAST)
        vms = engine.find([fast])
        tell.out(NO_VMS)

        def start(report: Report) -> list[AnyOperation]:
            return [engine.freeze(vm, request, report.event) for vm in vms]

        return OperationRunner(engine, vms, as_json=False).run(start, judge)
