"""The options that commands share which copy disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agentclient.model.errors import BadInput
from agentclient.model.job import FreezePolicy
from agentclient.model.sizes import parse_rate
from tui.cli.options import completion_item

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def rate(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    """Return the bytes a second that an option's value means, 0 for no limit: a callback."""
    if value is None:
        return 0
    try:
        return parse_rate(value)
    except BadInput as problem:
        raise click.BadParameter(str(problem), ctx, param) from None


def folders(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete a folder: a callback of click's."""
    return [completion_item(incomplete, "dir")]


rate_option = click.option(
    "--rate",
    "limit",
    metavar="R",
    callback=rate,
    help="Copy at the most so many bytes a second for each disk: 500K, 10M, 1G (K is 1024); 0 for "
    "no limit.",
)

to_option = click.option(
    "--to",
    "folder",
    metavar="DIR",
    shell_complete=folders,
    help="The folder of all copies; it must exist. Each has a folder of its own: DIR/VM/TIME. "
    "Default: the setting copy_to.",
)


def check_strict(policy: str, *, strict: bool) -> None:
    """Check that strictness is asked of a copy that is to be frozen.

    Raises:
        BadInput: it isn't.
    """
    if strict and policy == FreezePolicy.NEVER:
        raise BadInput("--strict is about the freeze, and with --policy never there is none")
