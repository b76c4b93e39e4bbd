"""The subcommands by name; each is imported when it is used, so that none slows the others down.

For `--help` none is imported: what it says of each of them is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from agentclient.late import load
from agentclient.model.suggestions import did_you_mean

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "list": "tui.cli.commands.list_vms:list_command",
        "freeze": "tui.cli.commands.freeze:freeze_command",
        "backup": "tui.cli.commands.backup:backup_command",
        "thaw": "tui.cli.commands.thaw:thaw_command",
        "extend": "tui.cli.commands.extend:extend_command",
        "attach": "tui.cli.commands.attach:attach_command",
        "mirror": "tui.cli.commands.mirror:mirror_command",
        "rescue": "tui.cli.commands.rescue:rescue_command",
        "snapshot": "tui.cli.commands.snapshot:snapshot_command",
        "history": "tui.cli.commands.history:history_command",
        "replay": "tui.plays.replay:replay_command",
        "jobs": "tui.cli.commands.jobs:jobs_command",
        "watch": "tui.cli.commands.watch:watch_command",
        "web": "tui.cli.commands.web:web_command",
        "drill": "tui.plays.drill:drill_command",
        "doctor": "tui.cli.commands.doctor:doctor_command",
        "explain": "tui.cli.commands.explain:explain_command",
        "config": "tui.cli.commands.config:config_command",
        "completion": "tui.cli.commands.completion:completion_command",
    }
)


SHORT_HELP: Final[Mapping[str, str]] = MappingProxyType(
    {
        "list": "List the VMs, their agents and freezes.",
        "freeze": "Freeze VMs, prove it, hold it or run a command, and thaw them.",
        "backup": "Copy disks as of one moment, and verify such copies.",
        "thaw": "Thaw VMs.",
        "extend": "Hold for longer what another frostwatch holds.",
        "attach": "Take over what a frostwatch has left frozen to its holder.",
        "mirror": "Copy disks until the files are equal, and complete them in one freeze.",
        "rescue": "Rescue a VM that stays frozen.",
        "snapshot": "Take, list and delete snapshots of a VM's disks.",
        "history": "Tell past freezes and thaws.",
        "replay": "Show again, in the console, what the journal has of an incident.",
        "jobs": "Tell which copies run, and end what was left.",
        "watch": "Tell what happens to the VMs, one line each.",
        "web": "Open the console in a browser, on this machine alone.",
        "drill": "Play a scenario with simulated guests, and tell how it went.",
        "doctor": "Say what is seen here, and what to do.",
        "explain": "Explain a word of the screen, and what to do about it.",
        "config": "Tell what is set, and where.",
        "completion": "Print what a shell reads to complete names of VMs.",
    }
)


class LazyGroup(click.Group):
    """A group of commands, each of which is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names, as `--help` shows them."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names of the commands with what each of them does."""
        rows = [(name, SHORT_HELP[name]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin as was typed; no command is imported."""
        item = load("click.shell_completion", "CompletionItem")
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        found = [item(name, help=SHORT_HELP[name]) for name in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for.

        Raises:
            UsageError: there is no such command; its sentence names similar ones.
        """
        unknown = args and args[0] not in COMMANDS and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:
            alike = did_you_mean(args[0], COMMANDS)
            known = ", ".join(COMMANDS)
            raise click.UsageError(
                f"no command is called {args[0]!r}{alike}; there are: {known}", ctx
            )
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None if there is no such one."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = place.partition(":")
        found: click.Command = load(module, name)
        found.short_help = SHORT_HELP[cmd_name]
        return found
