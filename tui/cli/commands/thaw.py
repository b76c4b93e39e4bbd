"""``frostwatch thaw``: thaws the VMs that are named, or all that are found frozen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from agentclient.model.errors import BadInput
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from tui.cli import session, tell
from tui.cli.options import Options, json_option, vm_argument, with_options
from tui.cli.report import Report
from tui.cli.runner import OperationRunner
from tui.cli.vm_filter import may_be_frozen
from tui.shared.bulk_words import word_of

if TYPE_CHECKING:
    from agentclient.engine import Engine
    from agentclient.model.outcome import ThawOutcome
    from agentclient.operations.operation import AnyOperation


@click.command("thaw")
@vm_argument("names", metavar="[VM...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every VM that is found frozen.")
@click.option(
    "--foreign",
    is_flag=True,
    help="Also what this console did not freeze: that may break somebody's backup.",
)
@json_option
@with_options
def thaw_command(
    options: Options, names: tuple[str, ...], everything: bool, foreign: bool, as_json: bool
) -> int:
    """Thaw VMs; exits 0 if nothing of what was asked for is frozen any more."""
    if everything and names:
        raise BadInput("--all and VMs by name exclude each other")
    if not everything and not names:
        raise BadInput("name the VMs to thaw, or say --all")
    with session.engine_for(options) as engine:
        vms, unknown = _frozen(engine) if everything else (engine.find(names), 0)
        if not vms:
            tell.note("nothing to thaw: no VM is known to be frozen")
            return 1 if unknown else 0

        ask = not (foreign or as_json) and _on_terminal()
        decided = {vm.id: foreign or (ask and _asked(engine, vm)) for vm in vms}

        def start(report: Report) -> list[AnyOperation]:
            thaw = engine.thaw
            return [thaw(vm, foreign=decided[vm.id], on_event=report.event) for vm in vms]

        code = OperationRunner(engine, vms, as_json=as_json).run(start, _judge)
        return 1 if unknown else code


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _asked(engine: Engine, vm: Vm) -> bool:
    """Ask a person about a VM that another frostwatch holds; return whether it is to be thawed."""
    held = engine.fleet.get(vm.id).held_by
    if held is None or held.kept or held.ended:
        return False
    question = (
        f"{vm.id} is {held}. A thaw, for which its holder is asked, breaks that window: a copy "
        "that is being taken comes out inconsistent. Thaw it?"
    )
    return tell.confirmed(printable(question, 400))


def _frozen(engine: Engine) -> tuple[tuple[Vm, ...], int]:
    """Return the VMs that are frozen, and how many more may be; tell which these are."""
    for problem in (*engine.look(), *engine.hanging):
        tell.note(problem)
    engine.visit()
    states = engine.fleet.states()
    unknown = [one for one in states if one.freeze.state is None and may_be_frozen(one)]
    for state in unknown:
        tell.note(printable(_not_asked(state)))
    frozen = tuple(one.vm for one in states if one.freeze.state not in _LEFT_ALONE)
    return frozen, len(unknown) + len(engine.hanging)


_LEFT_ALONE = (None, FreezeState.THAWED)


def _not_asked(state: VmState) -> str:
    why = state.agent.detail or state.trouble or f"its agent is {state.agent.state.value}"
    return f"{state.id}: whether it is frozen isn't known: {why}"


def _judge(operations: list[AnyOperation], report: Report) -> bool:
    wells = [_judge_one(operation, report) for operation in operations]
    if len(wells) > 1:
        frozen = [one.vm for one, well in zip(operations, wells, strict=True) if not well]
        report.recap((word_of(one.wait(0)) for one in operations), frozen)
    return all(wells)


def _judge_one(operation: AnyOperation, report: Report) -> bool:
    outcome: ThawOutcome | object = operation.wait(0)
    if outcome is None:
        report.say("left before the guest answered the thaw", operation.vm)
    return bool(getattr(outcome, "ok", False))
