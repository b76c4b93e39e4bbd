"""``frostwatch mirror``: copies a VM's disks to files, which are completed in one freeze window."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from agentclient.jobs.mirror import MirrorJob, MirrorRequest
from agentclient.model.clock import now
from agentclient.model.errors import BadInput
from agentclient.model.events import Event
from agentclient.model.job import FreezePolicy
from agentclient.model.moments import parse_moment
from tui.cli import session
from tui.cli.copy_options import check_strict, rate_option, to_option
from tui.cli.folders import folder_for_copies
from tui.cli.job_runner import JobRunner
from tui.cli.options import (
    Options,
    json_option,
    strict_option,
    verbose_option,
    vm_argument,
    with_options,
)

_STDIN = 0


@click.command("mirror", epilog="TIME is 02:30, or a date and time: 2026-03-01T02:30:00+01:00.")
@vm_argument("name", metavar="VM")
@to_option
@click.option(
    "--disk",
    "disks",
    metavar="NAME",
    multiple=True,
    help="Only this disk (repeatable); default all that the guest can write to.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["qcow2", "raw"]),
    default="qcow2",
    help="The files' format; default qcow2.",
)
@rate_option
@click.option(
    "--policy",
    type=click.Choice([one.value for one in FreezePolicy]),
    default=FreezePolicy.REQUIRE.value,
    help="Where the guest can't be frozen: give up (require, the default), go on (prefer), pause a "
    "VM without an agent (suspend); or freeze nothing (never).",
)
@click.option("--at", metavar="TIME", help="Keep the files equal, and complete them at this time.")
@click.option(
    "--wait", is_flag=True, help="Keep the files equal, and complete them at Enter or SIGUSR1."
)
@click.option(
    "--no-checksum",
    is_flag=True,
    help="Don't read the files again for checksums: it ends sooner, and nobody can tell later "
    "whether a file has changed.",
)
@strict_option
@verbose_option
@json_option
@with_options
def mirror_command(
    options: Options,
    *,
    name: str,
    folder: str | None,
    disks: tuple[str, ...],
    file_format: str,
    limit: int,
    policy: str,
    at: str | None,
    wait: bool,
    no_checksum: bool,
    strict: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Copy a VM's disks to files, and complete all of them in one freeze window.

    The copies go on until the files are equal to the disks, and are kept so. Then the guest is
    frozen, all copies are completed, and it is thawed. If one fails, all files are removed.
    A manifest beside them says what they are worth; `frostwatch backup verify` checks them again.

    Exits 0 only if every copy is complete, and as consistent as the policy demands. Ctrl-C and
    SIGTERM stop it, thaw the guest and remove the files; a second one leaves at once.
    """
    if at is not None and wait:
        raise BadInput("--at and --wait exclude each other")
    check_strict(policy, strict=strict)
    request = MirrorRequest(
        policy=FreezePolicy(policy),
        strict=strict,
        disks=disks,
        folder=folder_for_copies(options, folder),
        format=file_format,
        at=None if at is None else parse_moment(at, now()),
        wait=wait,
        checksum=not no_checksum,
    )
    with session.engine_for(options) as engine:
        vm = engine.find_one(name)
        begun: list[MirrorJob] = []

        def start(on_event: Callable[[Event], None]) -> list[MirrorJob]:
            begun.append(engine.jobs.mirror(vm, request, on_event, limit=limit))
            return begun

        runner = JobRunner(engine, [vm], as_json=as_json, brief=not verbose)
        if not wait:
            return runner.run(start)
        runner.say(f"it is completed at {_how()}")
        with asked_to_complete() as asked:

            def meanwhile() -> None:
                if asked():
                    begun[0].complete_now()

            return runner.run(start, meanwhile)


def _how() -> str:
    by_signal = f"SIGUSR1: kill -USR1 {os.getpid()}"
    return f"Enter, or at {by_signal}" if sys.stdin.isatty() else by_signal


@contextmanager
def asked_to_complete() -> Iterator[Callable[[], bool]]:
    """Give a function that returns whether somebody has asked to complete, by key or signal."""
    signals: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        signals.append(number)

    old = signal.signal(signal.SIGUSR1, note)
    try:
        yield lambda: bool(signals) or entered()
    finally:
        signal.signal(signal.SIGUSR1, old)


def entered(terminal: int = _STDIN) -> bool:
    """Return whether somebody at our terminal has pressed Enter; in the background, nobody has."""
    try:
        if not os.isatty(terminal) or os.tcgetpgrp(terminal) != os.getpgrp():
            return False
        readable, _, _ = select.select([terminal], [], [], 0)
        return bool(readable) and bool(os.read(terminal, 4096))
    except OSError:
        return False
