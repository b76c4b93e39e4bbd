"""``frostwatch freeze VM… -- COMMAND``: runs a command while VMs are frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from agentclient.jobs.command.request import CommandRequest
from agentclient.model.command import OnOverrun, ThawWhen
from agentclient.model.errors import BadInput
from agentclient.model.job import FreezePolicy
from agentclient.model.vm import Vm
from tui.cli.command_runner import CommandRunner

if TYPE_CHECKING:
    from agentclient.engine import Engine

_POLICIES = (FreezePolicy.REQUIRE.value, FreezePolicy.PREFER.value)


class CommandOptions(NamedTuple):
    """The options that are for a command alone; None where one is not given.

    Attributes:
        command: the command and its arguments; None without ``--``.
        policy: what is done where a freeze fails.
        thaw_when: when the guests are thawed.
        on_overrun: what becomes of a command that outlasts a window.
        disks: whose block jobs are waited for.
    """

    command: tuple[str, ...] | None
    policy: str | None
    thaw_when: str | None
    on_overrun: str | None
    disks: tuple[str, ...]

    def checked(self) -> CommandOptions:
        """Return them unchanged, if they go together.

        Raises:
            BadInput: there is no command, and one is needed.
        """
        if self.command is not None and not self.command:
            raise BadInput("there is no command: write it after --")
        if self.command is None:
            given = {
                "--policy": self.policy,
                "--thaw-when": self.thaw_when,
                "--on-overrun": self.on_overrun,
                "--disk": self.disks,
            }
            for name, value in given.items():
                if value:
                    raise BadInput(f"{name} is for a command: write it after --")
        return self


def command_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a subcommand the options that are for a command alone."""
    for option in (
        click.option(
            "--disk",
            "disks",
            metavar="NAME",
            multiple=True,
            help="With --thaw-when=job-started: a disk that is copied (repeatable); default all.",
        ),
        click.option(
            "--on-overrun",
            type=click.Choice([one.value for one in OnOverrun]),
            help="What becomes of a COMMAND that outlasts its window; default warn.",
        ),
        click.option(
            "--thaw-when",
            type=click.Choice([one.value for one in ThawWhen]),
            help="Thaw when COMMAND has ended (the default), or when a block job copies each disk.",
        ),
        click.option(
            "--policy",
            type=click.Choice(_POLICIES),
            help="Where a freeze fails: don't run COMMAND (require, the default), or run it.",
        ),
    ):
        function = option(function)
    return function


def run_frozen(
    engine: Engine,
    vms: Sequence[Vm],
    options: CommandOptions,
    freeze: dict[str, Any],
    at_once: int,
    *,
    as_json: bool,
) -> int:
    """Freeze VMs, run the command, thaw them, and return the exit code.

    Args:
        engine: what does it.
        vms: the VMs.
        options: the command, and the options for it.
        freeze: the other arguments of `CommandRequest`, which are of any freeze.
        at_once: how many VMs are frozen at once at the most.
        as_json: whether the events go to stdout as JSON.

    Raises:
        BadInput: they can't all be frozen at the same time, or there is no such command.
    """
    if len(vms) > at_once:
        raise BadInput(f"{len(vms)} VMs can't be frozen for a command with --at-once {at_once}")
    assert options.command is not None, "it was asked for"
    request = CommandRequest(
        argv=options.command,
        policy=FreezePolicy(options.policy or FreezePolicy.REQUIRE),
        thaw_when=ThawWhen(options.thaw_when or ThawWhen.COMMAND_ENDED),
        on_overrun=OnOverrun(options.on_overrun or OnOverrun.WARN),
        disks=options.disks,
        **freeze,
    )
    return CommandRunner(engine, vms, as_json=as_json).run_command(request)
