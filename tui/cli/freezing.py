"""``frostwatch freeze``: freezes, certifies, holds and thaws, all VMs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agentclient.commands import thaw_command
from agentclient.errors import BadInput
from agentclient.schedule import Schedule
from agentclient.text import printable
from agentclient.vm import Outcome, OutcomeKind, Vm
from tui.cli import context
from tui.cli.conduct import Conductor
from tui.cli.options import Options, duration, json_option, with_options
from tui.cli.report import Report, last_word

if TYPE_CHECKING:
    from agentclient.operations import FreezeRequest, Operation


@click.command("freeze", epilog="A duration D is 90, 90s, 10m, 1h or 1h30m.")
@click.argument("names", metavar="VM...", nargs=-1, required=True)
@click.option(
    "--mount", "mounts", metavar="PATH", multiple=True, help="Only this mount (repeatable)."
)
@click.option("--strict", is_flag=True, help="Verified only if every file system is covered.")
@click.option(
    "--hold",
    metavar="D",
    callback=duration,
    default="0",
    help="Hold the window this long; default 0.",
)
@click.option(
    "--first-timeout",
    metavar="D",
    callback=duration,
    default="10m",
    help="Wait this long for the freeze alone; default 10m.",
)
@click.option(
    "--probe-timeout",
    metavar="D",
    callback=duration,
    default="10m",
    help="Wait this long for each probe behind it; default 10m.",
)
@click.option(
    "--probes",
    metavar="N",
    type=click.IntRange(0, 1000),
    default=5,
    help="How many probes at the most; default 5.",
)
@json_option
@with_options
def freeze_command(
    options: Options,
    *,
    names: tuple[str, ...],
    mounts: tuple[str, ...],
    strict: bool,
    hold: float,
    first_timeout: float,
    probe_timeout: float,
    probes: int,
    as_json: bool,
) -> int:
    """Freeze VMs, prove it, hold it, and thaw them again.

    Exits 0 only if every outcome is verified and every guest is thawed again. Ctrl-C and SIGTERM
    thaw first; a second one leaves at once.
    """
    schedule = Schedule(first_timeout, probe_timeout, probes, hold)
    with context.engine_for(options) as engine:
        request = _request(mounts, strict, schedule)
        vms = engine.find(names)

        def start(report: Report) -> list[Operation]:
            return [engine.operations.freeze(vm, request, report.event) for vm in vms]

        return Conductor(engine, vms, as_json=as_json).run(start, judge)


def judge(operations: list[Operation], report: Report) -> bool:
    """Return whether every outcome is verified and every guest thawed; end every VM's stream."""
    wells = [_judge_one(operation, report) for operation in operations]
    return all(wells)


def _judge_one(operation: Operation, report: Report) -> bool:
    outcome = operation.wait(0)
    if not isinstance(outcome, Outcome):
        outcome = _abandoned(operation.vm)
    if not report.ended(operation.vm):
        report.event(last_word(operation.vm, outcome))
    return outcome.kind is OutcomeKind.VERIFIED and outcome.settled


def _abandoned(vm: Vm) -> Outcome:
    return Outcome(
        OutcomeKind.PARTIAL,
        "left before the guest answered: its file systems are frozen, or may be soon",
        next=thaw_command(vm),
    )


def _request(mounts: tuple[str, ...], strict: bool, schedule: Schedule) -> FreezeRequest:
    from agentclient.operations import FreezeRequest  # noqa: PLC0415 - `--help` needs no core

    for mount in mounts:
        if not mount.strip():
            raise BadInput(f"{printable(mount, 60)!r} is no mount point")
    return FreezeRequest(mounts, strict, schedule)
