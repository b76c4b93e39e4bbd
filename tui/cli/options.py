"""The options that commands share, and the types of their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import Any

import click

from agentclient.durations import parse_duration
from agentclient.errors import BadInput

SHORTEST_INTERVAL_S = 0.5  # a polite visitor (P5): nobody reads faster than that


@dataclass(frozen=True, slots=True)
class Options:
    """What every command takes.

    Attributes:
        specs: the VMs named with ``--vm``, as they were written.
        read_only: nothing is frozen and nothing is thawed.
        interval_s: seconds between two visits to a guest's agent; None for the default.
    """

    specs: tuple[str, ...] = ()
    read_only: bool = False
    interval_s: float | None = None


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds that an option's value means: a callback of click's."""
    if value is None:
        return None
    try:
        return parse_duration(value)
    except BadInput as problem:
        raise click.BadParameter(str(problem), ctx, param) from None


def interval(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds between two visits, unless they are too few to be polite."""
    seconds = duration(ctx, param, value)
    if seconds is not None and seconds < SHORTEST_INTERVAL_S:
        raise click.BadParameter(f"visits every {seconds:g} s would not be polite", ctx, param)
    return seconds


vm_option = click.option(
    "--vm",
    "specs",
    metavar="SPEC",
    multiple=True,
    help="A VM by its sockets: name=N,agent=PATH,monitor=PATH (repeatable).",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line on stdout."
)


def with_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a subcommand ``--vm``, and its function the `Options` of group and subcommand."""

    def command(*, specs: tuple[str, ...], **arguments: Any) -> int:
        general = click.get_current_context().find_object(Options) or Options()
        options = replace(general, specs=general.specs + specs)
        return function(options=options, **arguments)

    wrapped: Callable[..., int] = vm_option(update_wrapper(command, function))
    return wrapped
