"""``frostwatch jobs``: tells which copies run in the VMs' QEMUs, and ends what was left there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.json_contract import SCHEMA, JsonObject, dumps
from agentclient.model.next_command import clear_command
from agentclient.model.text import printable, uncut
from tui.cli import session, tell
from tui.cli.options import Options, json_option, vm_argument, with_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentclient.engine import Engine
    from agentclient.jobs.left import Cleared, LeftCopy
    from agentclient.model.vm import Vm


@click.command("jobs")
@vm_argument("names", metavar="[VM...]", nargs=-1)
@click.option(
    "--clear",
    is_flag=True,
    help="End the copies whose frostwatch has ended, and delete their incomplete files.",
)
@json_option
@with_options
def jobs_command(options: Options, names: tuple[str, ...], clear: bool, as_json: bool) -> int:
    """Tell which copies run in the VMs' QEMUs, and which a frostwatch has left there.

    Exits 1 if a copy was left and is there still, if one that is to be ended may be followed by a
    frostwatch that runs, or if a VM could not be asked.
    """
    if clear and not names:
        raise BadInput("name the VMs on which to end what was left")
    with session.engine_for(options) as engine:
        vms = _named(engine, names)
        found: list[LeftCopy] = []
        code = max(
            (_tell(engine, vm, found, clear=clear, as_json=as_json) for vm in vms), default=0
        )
        if not found and not code:
            seen = "1 VM" if len(vms) == 1 else f"{len(vms)} VMs"
            tell.note(f"no copy runs or was left, on {seen}")
        return code


def _named(engine: Engine, names: Sequence[str]) -> tuple[Vm, ...]:
    if names:
        return engine.find(names)
    for problem in (*engine.look(), *engine.hanging):
        tell.note(printable(problem, 1000))
    return tuple(state.vm for state in engine.states() if engine.jobs.can_look(state.vm))


def _tell(engine: Engine, vm: Vm, seen: list[LeftCopy], *, clear: bool, as_json: bool) -> int:
    """Tell what is in one VM's QEMU, end what was left if that is asked for; return the code."""
    name = printable(str(vm.id), 80)
    try:
        found = engine.jobs.in_qemu(vm)
        seen += found
        code = 0
        for copy in found:
            left = copy.running is False
            cleared = engine.jobs.clear(vm, copy) if left and clear else None
            _print(vm, copy, cleared, clear=clear, as_json=as_json)
            if (left or clear) and (cleared is None or cleared.left):
                code = 1
    except FrostwatchError as error:
        tell.note(f"{name}: {printable(str(error), 1000)}")
        return 1
    return code


def _print(vm: Vm, copy: LeftCopy, cleared: Cleared | None, *, clear: bool, as_json: bool) -> None:
    if as_json:
        tell.whole(dumps(_object(vm, copy, cleared)))
        return
    tell.out(f"{printable(str(vm.id), 80)}: {copy}")
    for file in copy.files:
        tell.whole(f"  file: {printable(file, 500)}")
    if cleared is None:
        if copy.running is False:
            tell.whole(f"  next: {uncut(clear_command(vm))}")
        elif clear:
            pid = copy.key.process.pid
            why = "its frostwatch runs" if copy.running else "its frostwatch may run"
            step = f"stop the copy there, or: kill {pid} (it is undone)"
            if copy.unended:
                step = "it tries again by itself, as soon as the storage answers"
            tell.out(f"  NOT ENDED: {why}; {step}")
        return
    for file in cleared.removed:
        tell.out(f"  removed, since it was incomplete: {printable(file, 500)}")
    for file in cleared.kept:
        tell.out(f"  kept, complete but not certified: {printable(file, 500)}")
    if cleared.resumed:
        tell.out("  resumed: the VM had stopped at an error of a storage (io-error), and goes on")
    for clause in cleared.left:
        tell.out(f"  LEFT BEHIND: {printable(clause, 500)}")


def _object(vm: Vm, copy: LeftCopy, cleared: Cleared | None) -> JsonObject:
    """Return a copy in a QEMU: one line of ``frostwatch jobs --json``."""
    return {
        "schema": SCHEMA,
        "vm": str(vm.id),
        "job": copy.kind or None,
        "pid": copy.key.process.pid,
        "running": copy.running,
        "complete": copy.complete,
        "unended": copy.unended,
        "done": sum(job.done for job in copy.jobs),
        "total": sum(job.total for job in copy.jobs),
        "files": copy.files,
        "cleared": None if cleared is None else cleared._asdict(),
        "text": str(copy),
    }
