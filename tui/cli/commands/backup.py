"""``frostwatch backup``: copies VMs' disks as of one moment, and verifies such copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from agentclient.config.defaults import DEFAULTS, MOST_AT_ONCE
from agentclient.jobs.manifest import BACKUP
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.verify import Verified, verified_object, verify_folder
from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.job import FreezePolicy
from agentclient.model.json_contract import dumps
from agentclient.model.text import printable
from tui.cli import session
from tui.cli.job_runner import JobRunner
from tui.cli.options import Options, json_option, rate_option, with_options
from tui.shared.signals import Signals

if TYPE_CHECKING:
    from agentclient.jobs.job import CopyJob
    from agentclient.model.events import Event

FULL, INCREMENTAL = "full", "incremental"
VERIFY = "verify"
AUTO, OFF = "auto", "off"
TELL_EVERY_S = 10.0


class _Stopped(FrostwatchError):
    """A signal asked to stop."""


class _BackupCommand(click.Command):
    """``backup``, whose first word ``verify`` is a command of its own."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Return the context of what the words ask for."""
        if args[:1] == [VERIFY]:
            name = f"{info_name} {VERIFY}"
            return verify_command.make_context(name, args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(
    "backup",
    cls=_BackupCommand,
    epilog="frostwatch backup verify DIR checks backups again; a VM called verify has its id, "
    "as in qemu:verify.",
)
@click.argument("names", metavar="VM...", nargs=-1, required=True)
@click.option(
    "--to", "folder", metavar="DIR", required=True, help="The folder of all backups; it must exist."
)
@click.option("--disk", "disks", metavar="NAME", multiple=True, help="Only this disk (repeatable).")
@click.option(
    "--mode",
    type=click.Choice([FULL, INCREMENTAL]),
    default=FULL,
    help="All that the disks hold (default), or what was written since the last backup in DIR.",
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
@json_option
@with_options
def backup_command(
    options: Options,
    *,
    names: tuple[str, ...],
    folder: str,
    disks: tuple[str, ...],
    mode: str,
    limit: int,
    compress: bool,
    policy: str,
    fleece: str,
    at_once: int | None,
    no_record: bool,
    as_json: bool,
) -> int:
    """Copy VMs' disks as of one moment, in a freeze that lasts as long as it takes to begin.

    Each backup has a folder of its own, DIR/VM/TIME, with a qcow2 for each disk and a manifest.
    Exits 0 only if every copy is complete, and as consistent as its policy demands.
    """
    request = BackupRequest(
        folder=_folder(folder),
        policy=FreezePolicy(policy),
        disks=disks,
        incremental=mode == INCREMENTAL,
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

        return JobRunner(engine, vms, as_json=as_json).run(start)


@click.command("verify")
@click.argument("folder", metavar="DIR")
@json_option
def verify_command(folder: str, as_json: bool) -> int:
    """Check a backup or a mirror again, or all in a folder: files, checksums, chains, evidence.

    Says what a restore needs, with its commands. Exits 0 only if all of them are complete and as
    they were written.
    """
    well = True
    with Signals() as signals:
        teller = _Teller(signals)
        try:
            for one in verify_folder(_existing(folder), teller.tick):
                well = well and one.ok
                if as_json:
                    click.echo(dumps(verified_object(one)))
                else:
                    _print(one)
        except _Stopped as stopped:
            click.echo(f"frostwatch: {stopped}", err=True)
            return 1
    return 0 if well else 1


class _Teller:
    """Tells a person from time to time what takes long, and obeys a signal."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._next = time.monotonic() + TELL_EVERY_S

    def tick(self, doing: str) -> None:
        """Tell what is done now.

        Raises:
            _Stopped: a signal has come.
        """
        if self._signals.requests:
            raise _Stopped(f"{self._signals.last}: stopped; not all was checked")
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TELL_EVERY_S
            click.echo(f"frostwatch: {printable(doing, 300)}", err=True)


def _fleece(word: str) -> Path | Literal["auto", "off"]:
    if word == OFF:
        return "off"
    return "auto" if word == AUTO else _folder(word)


def _existing(name: str) -> Path:
    """Return the folder of backups as an absolute path.

    Raises:
        BadInput: it is none.
    """
    try:
        return _folder(name)
    except BadInput:
        shown = printable(name, 200)
        raise BadInput(f"{shown!r} is no folder: name a backup's, or one with backups") from None


def _folder(name: str) -> Path:
    """Return a folder as an absolute path.

    Raises:
        BadInput: there is none.
    """
    try:
        if name and Path(name).is_dir():
            return Path(name).absolute()
    except (OSError, ValueError):
        pass
    raise BadInput(f"{printable(name, 200)!r} is no folder: make it, or name another one")


def _print(one: Verified) -> None:
    manifest = one.manifest
    what = "no complete backup"
    if manifest is not None:
        vm = printable(manifest.vm.get("name") or "", 60)
        when = printable(manifest.times.get("taken") or "", 40)
        grade = manifest.consistency.value
        if manifest.certified:
            grade = f"certified {grade}"
        kind = manifest.mode if manifest.kind == BACKUP else manifest.word
        what = f"{vm}, {kind}, taken {when}, {grade}"
    word = "OK" if one.ok else "NOT OK"
    click.echo(f"{printable(one.folder, 300)}: {word}: {what}")
    if manifest is not None:
        click.echo(f"  why: {printable(manifest.why, 400)}")
    for problem in one.problems:
        click.echo(f"  PROBLEM: {printable(problem, 300)}")
    for note in one.notes:
        click.echo(f"  note: {printable(note, 300)}")
    if one.ok and len(one.needs) > 1:
        names = ", ".join(printable(folder.name, 80) for folder in one.needs[1:])
        click.echo(f"  builds on: {names}")
    if one.ok and one.restore:
        click.echo(
            "  restore, into a folder RESTORED of yours, and start the VM with these images:"
        )
        for command in ("mkdir RESTORED", *one.restore):
            click.echo(f"    {printable(command, 600)}")
