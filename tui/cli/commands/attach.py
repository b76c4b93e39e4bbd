"""``frostwatch attach``: takes over the windows that a frostwatch has left to its holder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tui.cli import session
from tui.cli.options import Options, json_option, vm_argument, with_options
from tui.cli.runner import OperationRunner
from tui.shared.bulk_words import word_of

if TYPE_CHECKING:
    from agentclient.operations.operation import AnyOperation
    from tui.cli.report import Report


@click.command("attach")
@vm_argument("names", metavar="VM...", nargs=-1, required=True)
@json_option
@with_options
def attach_command(options: Options, names: tuple[str, ...], as_json: bool) -> int:
    """Take over windows that a frostwatch has left to its holder (freeze --detach).

    Stays until each is thawed, at its end or, with Ctrl-C, now. Exits 0 only if each guest is known
    to be thawed.
    """
    with session.engine_for(options) as engine:
        vms = engine.find(names)
        engine.visit()

        def start(report: Report) -> list[AnyOperation]:
            return [engine.attach(vm, report.event) for vm in vms]

        return OperationRunner(engine, vms, as_json=as_json).run(start, _judge)


def _judge(operations: list[AnyOperation], report: Report) -> bool:
    outcomes = [operation.wait(0) for operation in operations]
    if len(outcomes) > 1:
        each = zip(operations, outcomes, strict=True)
        frozen = [one.vm for one, outcome in each if not getattr(outcome, "settled", False)]
        report.recap(map(word_of, outcomes), frozen)
    return all(
        getattr(one, "settled", False) and not getattr(one, "refusal", None) for one in outcomes
    )
