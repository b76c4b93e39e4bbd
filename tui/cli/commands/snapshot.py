"""``frostwatch snapshot``: takes snapshots of disks under a freeze, lists and deletes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.snapshots.deletion import DeletionRequest
from agentclient.model.job import Consistency, FreezePolicy
from agentclient.model.json_contract import dumps, snapshot_object
from agentclient.model.sizes import size_text
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable, uncut
from tui.cli import session, table, tell
from tui.cli.copy_options import check_strict, rate_option
from tui.cli.job_runner import JobRunner
from tui.cli.options import (
    Options,
    json_option,
    strict_option,
    verbose_option,
    vm_argument,
    with_options,
)
from tui.cli.table import Cell

if TYPE_CHECKING:
    from agentclient.model.disk_snapshot import SnapshotFound

HEADER = ("NAME", "KIND", "TAKEN", "DISKS", "CONSISTENCY", "SIZE")
NOT_KNOWN = "not known"
_COLOURS = {Consistency.CONSISTENT: "green", Consistency.CRASH_CONSISTENT: "yellow"}

_disk_option = click.option(
    "--disk",
    "disks",
    metavar="NAME",
    multiple=True,
    help="Only this disk (repeatable); default all that the guest can write to.",
)


# What other tools call them; a snapshot is gone back to while its VM is off, without us.
MEANT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ls": "list",
        "show": "list",
        "info": "list",
        "take": "create",
        "make": "create",
        "add": "create",
        "remove": "delete",
        "rm": "delete",
        "prune": "delete",
        "commit": "delete",
        "merge": "delete",
    }
)
REVERTS: Final = frozenset({"revert", "restore", "rollback", "goto", "apply"})


class _SnapshotGroup(click.Group):
    """``snapshot``, which says what to use instead of what it has not."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for.

        Raises:
            UsageError: there is no such command; its sentence says what there is.
        """
        word = args[0] if args else ""
        if word in REVERTS:
            raise click.UsageError(
                f"snapshot has no command {word!r}: one goes back while the VM is off, with the "
                "commands that are told by: frostwatch snapshot list VM",
                ctx,
            )
        if word and word not in self.commands and not word.startswith("-"):
            alike = did_you_mean(MEANT.get(word, word), self.commands)
            known = ", ".join(self.commands)
            raise click.UsageError(
                f"snapshot has no command {word!r}{alike}: there are {known}", ctx
            )
        return super().resolve_command(ctx, args)


@click.group("snapshot", cls=_SnapshotGroup, invoke_without_command=True)
@click.pass_context
def snapshot_command(ctx: click.Context) -> None:
    """Take snapshots of a VM's disks under a freeze, list them, and delete them."""
    if ctx.invoked_subcommand is None:
        tell.whole(ctx.get_help())


@snapshot_command.command("create", short_help="Take a snapshot of a VM's disks.")
@vm_argument("vm_name", metavar="VM")
@click.argument("name", metavar="NAME")
@click.option(
    "--external",
    is_flag=True,
    help="Leave the images as they are: overlays take what is written since.",
)
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="With --external: where the overlays go; default beside the images.",
)
@_disk_option
@click.option(
    "--policy",
    type=click.Choice([one.value for one in FreezePolicy]),
    default=FreezePolicy.REQUIRE.value,
    help="What is done about the freeze, and where it fails; default require.",
)
@strict_option
@verbose_option
@json_option
@with_options
def create_command(
    options: Options,
    *,
    vm_name: str,
    name: str,
    external: bool,
    folder: Path | None,
    disks: tuple[str, ...],
    policy: str,
    strict: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Take a snapshot of all disks of a VM at one moment, under a freeze.

    Exits 0 only if it was taken, and is as consistent as the policy demands.
    """
    check_strict(policy, strict=strict)
    request = SnapshotRequest(
        name=name,
        external=external,
        folder=folder,
        disks=disks,
        policy=FreezePolicy(policy),
        strict=strict,
    )
    request.check()
    with session.engine_for(options) as engine:
        vm = engine.find_one(vm_name)
        return JobRunner(engine, [vm], as_json=as_json, brief=not verbose).run(
            lambda event: [engine.jobs.snapshot(vm, request, event)]
        )


@snapshot_command.command("list", short_help="List the snapshots that a VM's disks have.")
@vm_argument("vm_name", metavar="VM")
@json_option
@with_options
def list_command(options: Options, *, vm_name: str, as_json: bool) -> int:
    """List the snapshots that a VM's disks have, whoever has taken them, the oldest first."""
    with session.engine_for(options) as engine:
        vm = engine.find_one(vm_name)
        found = engine.jobs.snapshots(vm)
    if as_json:
        for one in found:
            tell.whole(dumps(snapshot_object(one)))
    elif found:
        _print_table(found)
    else:
        tell.note("the VM's disks have no snapshot")
    return 0


@snapshot_command.command("delete", short_help="Delete a snapshot.")
@vm_argument("vm_name", metavar="VM")
@click.argument("name", metavar="NAME")
@click.option(
    "--external",
    is_flag=True,
    help="It is an external one: what was written since goes back into the images.",
)
@_disk_option
@rate_option
@verbose_option
@json_option
@with_options
def delete_command(
    options: Options,
    *,
    vm_name: str,
    name: str,
    external: bool,
    disks: tuple[str, ...],
    limit: int,
    verbose: bool,
    as_json: bool,
) -> int:
    """Delete a snapshot of a VM's disks, whoever has taken it; the guest goes on meanwhile."""
    request = DeletionRequest(name=name, external=external, disks=disks)
    with session.engine_for(options) as engine:
        vm = engine.find_one(vm_name)
        return JobRunner(engine, [vm], as_json=as_json, brief=not verbose).run(
            lambda event: [engine.jobs.delete_snapshot(vm, request, event, limit=limit)]
        )


def _print_table(found: Sequence[SnapshotFound]) -> None:
    rows = [_row(one) for one in found]
    tell.rows(table.fitted(HEADER, rows, drop=("SIZE",), cut=("NAME",), apart="NAME"))
    notes = [(one, note) for one in found for note in _notes(one)]
    if notes:
        tell.whole("")
    for one, note in notes:
        tell.out(f"{printable(one.name, 80)}: {printable(note, 300)}")
    tell.out("\nTo go back to one, with the VM off:")
    for one in found:
        for step in one.revert:
            line = f"  {printable(one.name, 80)}: {uncut(step)}"
            # A command is to be copied.
            (tell.whole if step.startswith("qemu-img ") else tell.out)(line)


def _row(found: SnapshotFound) -> tuple[Cell, ...]:
    worth, count = found.consistency, len(found.disks)
    return (
        Cell(printable(found.name, 400)),
        Cell(found.kind.value),
        Cell("-" if found.made is None else _local(found.made)),
        Cell(f"{count} of {count + len(found.missing)}" if found.missing else str(count)),
        Cell(NOT_KNOWN if worth is None else worth.value, worth and _COLOURS.get(worth)),
        Cell("-" if found.size is None else size_text(found.size)),
    )


def _notes(found: SnapshotFound) -> Iterator[str]:
    if found.missing:
        held = ", ".join(one.disk for one in found.disks)
        yield f"it is on {held}, and not on {', '.join(found.missing)}"
    if found.memory:
        yield "with the VM's memory"
    if found.consistency is not Consistency.CONSISTENT:
        yield found.reason


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"
