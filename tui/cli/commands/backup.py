"""``frostwatch backup``: copies VMs' disks as of one moment; with its commands on such copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

import click

from agentclient.config.defaults import DEFAULTS, MOST_AT_ONCE
from agentclient.jobs.request import BackupRequest
from agentclient.late import load
from agentclient.model.errors import BadInput
from agentclient.model.job import FreezePolicy
from agentclient.model.suggestions import did_you_mean
from tui.cli import session
from tui.cli.copy_options import check_strict, rate_option, to_option
from tui.cli.folders import folder_for_copies, folder_of
from tui.cli.job_runner import JobRunner
from tui.cli.options import (
    Options,
    json_option,
    strict_option,
    verbose_option,
    vm_names,
    with_options,
)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from agentclient.jobs.job import CopyJob
    from agentclient.model.events import Event

FULL, INCREMENTAL, AUTO, OFF = "full", "incremental", "auto", "off"
RESTORE: Final = "restore"
SUBCOMMANDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "list": ("tui.cli.commands.backup_list", "list_command"),
        "verify": ("tui.cli.commands.backup_verify", "verify_command"),
        RESTORE: ("tui.cli.commands.backup_restore", "restore_command"),
        "prune": ("tui.cli.commands.backup_prune", "prune_command"),
    }
)
# What other tools call them.
MEANT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ls": "list",
        "show": "list",
        "check": "verify",
        "revert": RESTORE,
        "delete": "prune",
        "remove": "prune",
        "rm": "prune",
        "forget": "prune",
    }
)


class _BackupCommand(click.Command):
    """``backup``, whose first word may be a command of its own (`SUBCOMMANDS`)."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Return the context of what the words ask for.

        Raises:
            UsageError: the words fit no command.
        """
        word = args[0] if args else ""
        making = any(one == "--to" or one.startswith("--to=") for one in args)
        if word in SUBCOMMANDS and making and word != RESTORE:
            raise click.UsageError(
                f"backup {word} is a command of its own, and takes no --to; a VM called {word} has "
                f"its id, as in qemu:{word}"
            )
        if word.startswith("-") and not making:
            later = next((one for one in args if not one.startswith("-")), "")
            if later in SUBCOMMANDS:
                raise click.UsageError(
                    f"the command comes before its options: frostwatch backup {later} DIR {word}"
                )
        if word in SUBCOMMANDS:
            command: click.Command = load(*SUBCOMMANDS[word])
            return command.make_context(f"{info_name} {word}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _first_words(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the commands and VMs that begin as was typed: a callback of click's."""
    item = load("click.shell_completion", "CompletionItem")
    words = [item(word) for word in SUBCOMMANDS if word.startswith(incomplete)]
    return [*([] if ctx.params.get("names") else words), *vm_names(ctx, param, incomplete)]


@click.command(
    "backup",
    cls=_BackupCommand,
    epilog="frostwatch backup list, verify, restore and prune DIR tell, check, restore and delete "
    "backups and mirrors (--help of each says how); a VM of such a name has its id, as in "
    "qemu:list.",
)
@click.argument("names", metavar="VM...", nargs=-1, required=True, shell_complete=_first_words)
@to_option
@click.option("--disk", "disks", metavar="NAME", multiple=True, help="Only this disk (repeatable).")
@click.option(
    "--mode",
    type=click.Choice([FULL, INCREMENTAL, AUTO]),
    default=FULL,
    help="All that the disks hold (full, the default); what was written since the last backup in "
    "DIR (incremental); or that where it can be had, and else all, with the reason (auto).",
)
@rate_option
@click.option("--compress", is_flag=True, help="Have QEMU compress what it writes.")
@click.option(
    "--policy",
    type=click.Choice([one.value for one in FreezePolicy]),
    default=FreezePolicy.REQUIRE.value,
    help="What to do about the freeze: without a certified one no copy (require, the default), "
    "or a crash-consistent one (prefer); no freeze at all (never); pause a VM that has no agent "
    "(suspend).",
)
@click.option(
    "--fleece",
    metavar="DIR|auto|off",
    default=AUTO,
    help="Where QEMU keeps what the guest overwrites meanwhile, so that its writes don't wait for "
    "DIR: a fast folder; auto for the backup's own one (default); off for nowhere.",
)
@click.option(
    "--at-once",
    metavar="N",
    type=click.IntRange(1, MOST_AT_ONCE),
    help=f"How many VMs are copied at once at the most; default {DEFAULTS.jobs_at_once}.",
)
@click.option(
    "--no-record",
    is_flag=True,
    help="Don't have the disks record what is written from now on, for an incremental backup.",
)
@strict_option
@verbose_option
@json_option
@with_options
def backup_command(
    options: Options,
    *,
    names: tuple[str, ...],
    folder: str | None,
    disks: tuple[str, ...],
    mode: str,
    limit: int,
    compress: bool,
    policy: str,
    fleece: str,
    at_once: int | None,
    no_record: bool,
    strict: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Copy VMs' disks as of one moment, in a freeze that lasts as long as it takes to begin.

    Each backup has a folder of its own, DIR/VM/TIME, with a qcow2 for each disk and a manifest.
    Exits 0 only if every copy is complete, and as consistent as its policy demands.
    """
    check_strict(policy, strict=strict)
    if folder is None and options.general.copy_to is None:
        _check_command(names[0])
    request = BackupRequest(
        folder=folder_for_copies(options, folder),
        policy=FreezePolicy(policy),
        strict=strict,
        disks=disks,
        incremental=mode != FULL,
        or_full=mode == AUTO,
        compress=compress,
        record=not no_record,
        fleece=_fleece(fleece),
    )
    if at_once is not None:
        options = options.setting(jobs_at_once=at_once)
    with session.engine_for(options) as engine:
        vms = engine.find(names)

        def start(on_event: Callable[[Event], None]) -> list[CopyJob]:
            return [engine.jobs.backup(vm, request, on_event, limit=limit) for vm in vms]

        return JobRunner(engine, vms, as_json=as_json, brief=not verbose).run(start)


def _check_command(word: str) -> None:
    """Check that a word that stands for a VM, without a folder, was not meant as a command.

    Raises:
        BadInput: it was.
    """
    alike = did_you_mean(MEANT.get(word, word), SUBCOMMANDS)
    if alike:
        known = ", ".join(SUBCOMMANDS)
        raise BadInput(
            f"backup has no command {word!r}{alike}: there are {known}; a backup is made with: "
            "frostwatch backup VM --to DIR"
        )


def _fleece(word: str) -> Path | Literal["auto", "off"]:
    if word == OFF:
        return "off"
    return "auto" if word == AUTO else folder_of(word)
