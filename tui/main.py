"""The command ``frostwatch``: opens the console, or runs a subcommand."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import re
import signal
import sys
from itertools import pairwise
from typing import Any, Final

import click

from agentclient.late import load
from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.policy import DEFAULT_POLICY
from agentclient.model.request import Schedule
from agentclient.model.text import printable
from tui.cli import session
from tui.cli.lazy_group import LazyGroup
from tui.cli.options import (
    COMPLETE_VARIABLE,
    Options,
    general_options,
    interval,
    max_hold_option,
    settings_options,
    spelled_out,
)
from tui.shared.terminal_features import on_terminal

FAILED = 1
BAD_INPUT = 2
UNKNOWN = 3


@click.group(cls=LazyGroup, invoke_without_command=True)
@general_options
@click.option(
    "--read-only/--no-read-only",
    "read_only",
    default=None,
    help="Look only: nothing is frozen or thawed.",
)
@click.option(
    "--interval",
    "interval_s",
    callback=interval,
    metavar="SECONDS",
    help=f"Between two visits to each guest's agent; default {DEFAULT_POLICY.agent_interval_s:g}.",
)
@max_hold_option
@click.option(
    "--bell/--no-bell",
    "bell",
    default=None,
    help="Ring, and have the terminal notify, when a freeze is lost or left, also others'.",
)
@click.option("--or-drill", is_flag=True, help="Where no VM is found, open a drill.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=lambda ctx, _, wanted: _print_version(ctx) if wanted else None,
    help="Print the version and exit.",
)
@click.pass_context
def cli(
    ctx: click.Context,
    /,
    *,
    read_only: bool | None,
    interval_s: float | None,
    max_hold: float | None,
    bell: bool | None,
    **general: Any,
) -> int:
    """Freeze the file systems of QEMU/KVM guests, and watch long freezes.

    Without a command it opens the console; without a terminal it prints what `list` prints.
    """
    given = {"read_only": read_only, "agent_interval": interval_s, "max_hold": max_hold}
    ctx.obj = Options(**general, given={**given, "bell": bell})
    if ctx.invoked_subcommand is not None:
        return 0
    options = ctx.obj.checked().configured()
    if options.or_drill and not session.has_vms(options):
        options = options._replace(drill=options.general.drill_guests)
    if on_terminal():
        return _open_console(options)
    return _tell(options)


def _tell(options: Options) -> int:
    """Say in plain lines what the console would have shown."""
    if options.or_drill and options.drill:
        return int(load("tui.cli.commands.play_drill", "play")(options))
    return int(load("tui.cli.commands.list_vms", "list_vms")(options))


def main() -> None:
    """Run the command line and exit; every bad input is one sentence and code 2."""
    _open_standard_streams()
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # Whoever started us does not want to know how its children end; we do.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    completes = os.environ.get(COMPLETE_VARIABLE)
    if completes:  # a shell, in which somebody has pressed Tab
        sys.exit(load("tui.cli.completion", "answer")(cli, completes))
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line, and return its exit code."""
    try:
        # Not `cli.main`: it would end the process by itself when nobody reads stdout.
        with cli.make_context("frostwatch", spelled_out(arguments)) as ctx:
            result = cli.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as wish:
        return wish.exit_code
    except click.ClickException as problem:
        return _failed(arguments, _said(problem), BAD_INPUT)
    except BadInput as problem:
        return _failed(arguments, str(problem), BAD_INPUT)
    except BrokenPipeError:
        return _unwritable(arguments, "nobody reads our output any more", BAD_INPUT)
    except (FrostwatchError, OSError) as problem:
        why = _why_unwritable(problem)
        if why is not None:
            return _unwritable(arguments, f"our output can't be written: {why}", FAILED)
        return _failed(arguments, str(problem), FAILED)
    except (click.Abort, KeyboardInterrupt):
        return _failed(arguments, "interrupted", FAILED)
    return result if isinstance(result, int) else 0


def _said(problem: click.ClickException) -> str:
    """Return click's sentence; for a word that is none of an option's with what may be meant."""
    said = problem.format_message()
    kind = getattr(getattr(problem, "param", None), "type", None)
    word = re.match(r"'([^']*)'", getattr(problem, "message", ""))
    if word is None or not isinstance(kind, click.Choice):
        return said
    known = [str(one) for one in kind.choices]
    meant = load("agentclient.model.suggestions", "did_you_mean")(word[1], known)
    return f"{said.rstrip('.')}{meant}" if meant else said


def _failed(arguments: list[str], sentence: str, code: int) -> int:
    """Tell a person why nothing was done; or the monitoring system that runs us as a plugin."""
    if not _is_plugin(arguments):
        return _complain(sentence, code)
    try:
        load("tui.cli.vm_check", "tell_unknown")(sentence)
    except OSError:
        return _unwritable(arguments, sentence, code)
    return UNKNOWN


_WRITERS: Final = (click.echo.__module__, __name__)  # whoever writes to stdout


def _is_plugin(arguments: list[str]) -> bool:
    """Return whether a monitoring system runs us, to which 1 and 2 are findings."""
    return "--format=nagios" in arguments or ("--format", "nagios") in pairwise(arguments)


def _unwritable(arguments: list[str], sentence: str, code: int) -> int:
    """Tell on stderr that nothing can be told on stdout."""
    load("tui.cli.stdout", "forget")()
    return _complain(sentence, UNKNOWN if _is_plugin(arguments) else code)


def _why_unwritable(problem: Exception) -> str | None:
    """Return why stdout can't be written, if that is where an error comes from; else None."""
    step = problem.__traceback__
    if not isinstance(problem, OSError) or problem.filename is not None or step is None:
        return None
    while step.tb_next is not None:
        step = step.tb_next
    written_by = step.tb_frame.f_globals.get("__name__")
    return problem.strerror if written_by in _WRITERS else None


def _complain(sentence: str, code: int) -> int:
    with contextlib.suppress(OSError):  # nobody may read stderr either
        load("tui.cli.tell", "note")(printable(sentence, 2000))
    return code


def _print_version(ctx: click.Context) -> None:
    number = load("agentclient.model.version", "VERSION")
    click.echo(f"frostwatch {number}")
    ctx.exit()


def _open_console(options: Options) -> int:
    # Nothing of what is built until the first screen is garbage; then the console enables it.
    gc.disable()
    look = load("tui.cli.look", "look_of")(options)
    with session.engine_for(options) as engine:
        from tui.console.run import run as run_console  # noqa: PLC0415 - only here with Textual

        return run_console(
            engine.fleet,
            engine,
            engine.watcher,
            jobs=lambda: engine.jobs,
            read_only=options.read_only,
            interval_s=options.policy.agent_interval_s,
            drill=engine.drill is not None,
            notify=load("tui.shared.notify", "Notify").of(options.general),
            schedule=Schedule.of(options.policy),
            copy_to=options.general.copy_to,
            journal=engine.journal.path if engine.journal is not None else None,
            handover=lambda: load("agentclient.journal.handover", "HandoverBook")(engine.journal),
            journal_options=settings_options(options),
            **look,
        )


def _open_standard_streams() -> None:
    """Make sure that 0, 1 and 2 are open, and that no character can fail to be written.

    Without this the first socket to a guest would get the number of a closed stdout or stderr, and
    a stray message would go to the guest.
    """
    missing = [number for number in (0, 1, 2) if not _is_open(number)]
    for _ in missing:
        os.open(os.devnull, os.O_RDWR)
    if 1 in missing:
        sentence = "stdout is closed: there is nobody to tell the outcome"
        sys.exit(_unwritable(sys.argv[1:], sentence, BAD_INPUT))
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
