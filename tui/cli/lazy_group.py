"""The subcommands by name; each is imported when it is used, so that none slows the others down."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

import click

from agentclient.model.suggestions import did_you_mean

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "list": "tui.cli.commands.list_vms:list_command",
        "freeze": "tui.cli.commands.freeze:freeze_command",
        "thaw": "tui.cli.commands.thaw:thaw_command",
        "rescue": "tui.cli.commands.rescue:rescue_command",
        "history": "tui.cli.commands.history:history_command",
        "doctor": "tui.cli.commands.doctor:doctor_command",
    }
)


class Commands(click.Group):
    """A group whose commands are in files that are read when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names, as `--help` shows them."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for.

        Raises:
            UsageError: there is no such one; its sentence names those that are alike.
        """
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
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
        found: click.Command = getattr(import_module(module), name)
        return found
