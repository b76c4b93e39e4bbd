"""A subcommand that takes a command of the operator's behind ``--``."""

from __future__ import annotations

from typing import Final

import click

# The parameter that takes what stands behind `--`: None if there is no `--` at all.
COMMAND: Final = "command"


class TakesCommand(click.Command):
    """A subcommand whose function gets the words behind ``--`` as `command`, as they stand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before ``--``, and keep the rest."""
        command: tuple[str, ...] | None = None
        if "--" in args:
            at = args.index("--")
            args, command = args[:at], tuple(args[at + 1 :])
        rest = super().parse_args(ctx, args)
        ctx.params[COMMAND] = command
        return rest
