"""``frostwatch freeze``: freezes, certifies, holds and thaws, all VMs at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from agentclient.config.defaults import DEFAULTS, MOST_AT_ONCE, MOST_PROBES
from agentclient.model.durations import written
from agentclient.model.errors import BadInput
from agentclient.model.meaning import with_meaning
from agentclient.model.outcome import Outcome
from agentclient.model.policy import DEFAULT_POLICY
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.states import OutcomeKind, Stuck
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from tui.cli import session
from tui.cli.after_dashes import TakesCommand
from tui.cli.commands.run_frozen import CommandOptions, command_options, run_frozen
from tui.cli.options import (
    Options,
    duration,
    json_option,
    max_hold_option,
    vm_argument,
    with_options,
)
from tui.cli.report import Report, last_word
from tui.cli.runner import OperationRunner
from tui.shared.bulk_words import OK, word_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentclient.engine import Engine
    from agentclient.operations.freeze import FreezeOperation
    from agentclient.operations.group import GroupFreeze
    from agentclient.operations.operation import AnyOperation

GROUP_END_S = 2.0  # its members have ended: it has nothing left to wait for


@click.command(
    "freeze",
    cls=TakesCommand,
    epilog="A duration D is 90, 90s, 10m, 1h or 1h30m. COMMAND finds in its environment which VMs "
    "are frozen, and until when: FROSTWATCH_VMS, FROSTWATCH_UNTIL, FROSTWATCH_SECONDS.",
)
@vm_argument("names", metavar="VM... [-- COMMAND ARG...]", nargs=-1, required=True)
@click.option(
    "--mount", "mounts", metavar="PATH", multiple=True, help="Only this mount (repeatable)."
)
@click.option("--strict", is_flag=True, help="Verified only if every file system is covered.")
@click.option(
    "--hold",
    metavar="D",
    callback=duration,
    help=f"Hold the window this long; default {DEFAULT_POLICY.hold_s:g}. With COMMAND: at the "
    "most; default what --max-hold allows.",
)
@click.option(
    "--first-timeout",
    metavar="D",
    callback=duration,
    help=f"Wait this long for the freeze alone; default {written(DEFAULT_POLICY.first_timeout_s)}.",
)
@click.option(
    "--probe-timeout",
    metavar="D",
    callback=duration,
    help="Wait this long for each probe behind it; "
    f"default {written(DEFAULT_POLICY.probe_timeout_s)}.",
)
@click.option(
    "--probes",
    metavar="N",
    type=click.IntRange(0, MOST_PROBES),
    help=f"How many probes at the most; default {DEFAULT_POLICY.probes}.",
)
@max_hold_option
@click.option(
    "--together",
    is_flag=True,
    help="All are frozen at the same time, or all are thawed again.",
)
@click.option(
    "--within",
    metavar="D",
    callback=duration,
    help="With --together: how long it may take until all are frozen; "
    f"default {written(DEFAULTS.within_s)}.",
)
@click.option(
    "--at-once",
    metavar="N",
    type=click.IntRange(1, MOST_AT_ONCE),
    help=f"How many VMs are frozen at once at the most; default {DEFAULTS.freezes_at_once}.",
)
@command_options
@click.option(
    "--detach",
    is_flag=True,
    help="Leave each verified window to its holder, which thaws it at the hold's end, and exit.",
)
@click.option("--yes", is_flag=True, help="Hold also a Windows guest for longer than 10 s.")
@click.option(
    "--remote-hold",
    is_flag=True,
    help="Freeze also a VM of another host, where nobody thaws it while the link there is cut.",
)
@json_option
@with_options
def freeze_command(
    options: Options,
    *,
    names: tuple[str, ...],
    mounts: tuple[str, ...],
    strict: bool,
    together: bool,
    detach: bool,
    yes: bool,
    remote_hold: bool,
    as_json: bool,
    at_once: int | None,
    command: tuple[str, ...] | None,
    policy: str | None,
    thaw_when: str | None,
    on_overrun: str | None,
    disks: tuple[str, ...],
    **given: float | None,
) -> int:
    """Freeze VMs, prove it, hold it, and thaw them again.

    With COMMAND: run it once all are verified, and thaw them the moment that it ends.

    Exits 0 only if every outcome is verified and every guest is thawed again, or left to its holder
    as --detach asks; with COMMAND only if
    it exited 0 and ran within certified windows. Ctrl-C and SIGTERM thaw first, and end COMMAND; a
    second one leaves at once.
    """
    wanted = CommandOptions(command, policy, thaw_when, on_overrun, disks).checked()
    options = options.setting(freezes_at_once=at_once, **given)
    if options.settings is None or not options.settings.sections:
        Schedule.of(options.policy)  # what can't be used is told before anybody looks
    if detach and (command is not None or together):
        raise BadInput(
            "--detach goes neither with --together nor with a COMMAND: they end the hold"
        )
    ask = partial(
        _request, _checked(mounts), strict, long_hold=yes, keep=detach, remote_hold=remote_hold
    )
    with session.engine_for(options) as engine:
        vms = engine.find(names)
        if command is not None:
            freeze = {
                "together": together,
                "within_s": options.general.within_s,
                "hold_s": given["hold"],
                "mounts": _checked(mounts),
                "strict": strict,
                "long_hold": yes,
                "remote_hold": remote_hold,
            }
            at_most = options.general.freezes_at_once
            return run_frozen(engine, vms, wanted, freeze, at_most, as_json=as_json)
        if together:
            request = ask(Schedule.together(vm.policy for vm in vms))
            general = options.general
            return _freeze_together(
                engine, vms, request, general.within_s, general.freezes_at_once, as_json=as_json
            )
        requests = [ask(_schedule(vm)) for vm in vms]
        if detach and not all(request.schedule.hold_s for request in requests):
            raise BadInput("--detach needs a hold (--hold 60s): it is what is left to the holder")

        def start(report: Report) -> list[AnyOperation]:
            each = zip(vms, requests, strict=True)
            return [engine.freeze(vm, request, report.event) for vm, request in each]

        return OperationRunner(engine, vms, as_json=as_json).run(start, judge)


def _freeze_together(
    engine: Engine,
    vms: Sequence[Vm],
    request: FreezeRequest,
    within_s: float,
    at_once: int,
    *,
    as_json: bool,
) -> int:
    if len(vms) > at_once:
        raise BadInput(f"{len(vms)} VMs can't be frozen together with --at-once {at_once}")
    groups: list[GroupFreeze[FreezeOperation]] = []

    def start(report: Report) -> list[AnyOperation]:
        group = engine.freeze_together(vms, request, within_s, report.event, report.group)
        groups.append(group)
        return list(group.members)

    def judge_group(operations: list[AnyOperation], report: Report) -> bool:
        outcome = groups[0].wait(GROUP_END_S)  # it may take back what was good by itself
        well = judge(operations, report)
        return well and outcome is not None and outcome.together

    return OperationRunner(engine, vms, as_json=as_json).run(start, judge_group)


def judge(operations: list[AnyOperation], report: Report) -> bool:
    """Return whether every outcome is verified and every guest thawed; end every VM's stream."""
    outcomes = [_last(operation, report) for operation in operations]
    if len(outcomes) > 1:
        each = zip(operations, outcomes, strict=True)
        frozen = [one.vm for one, of in each if not (of.settled or of.kept)]
        report.recap(map(word_of, outcomes), frozen)
    return all(word_of(outcome) == OK for outcome in outcomes)


def _last(operation: AnyOperation, report: Report) -> Outcome:
    """Return how a freeze ended; end its VM's stream."""
    outcome = operation.wait(0)
    if not isinstance(outcome, Outcome):
        outcome = _abandoned(operation.vm)
    if not report.ended(operation.vm):
        report.event(last_word(operation.vm, outcome))
    return outcome


def _abandoned(vm: Vm) -> Outcome:
    reason = "left before the guest answered: its file systems are frozen, or may be soon"
    return with_meaning(Outcome(OutcomeKind.PARTIAL, reason, stuck=Stuck.FAILED, queued=True), vm)


def _schedule(vm: Vm) -> Schedule:
    """Return what is set for a VM, by options and else.

    Raises:
        BadInput: it contradicts itself.
    """
    try:
        return Schedule.of(vm.policy)
    except BadInput as problem:
        raise BadInput(f"{printable(str(vm.id), 80)}: {problem}") from None


def _checked(mounts: tuple[str, ...]) -> tuple[str, ...]:
    for mount in mounts:
        if not mount.strip():
            raise BadInput(f"{printable(mount, 60)!r} is no mount point")
    return mounts


def _request(
    mounts: tuple[str, ...],
    strict: bool,
    schedule: Schedule,
    *,
    long_hold: bool,
    keep: bool,
    remote_hold: bool,
) -> FreezeRequest:
    return FreezeRequest(mounts, strict, schedule, long_hold, keep, remote_hold=remote_hold)
